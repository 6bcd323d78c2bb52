"""Match a TOTP code to its time step, within the allowed clock drift."""

import hmac
import unicodedata
from typing import Final, NamedTuple

import pyotp

PERIOD: Final = 30
WINDOW: Final = 1
LARGEST_OFFSET: Final = 2
DIGITS: Final = 6
MOST_DIGITS: Final = 8
KEPT_STEPS: Final = 20
LONGEST_NAME: Final = 64
LONGEST_ISSUER: Final = 32
_HEAD: Final = 40


class CodeForm(NamedTuple):
    """How the codes of one generator look: settings when it was enrolled, and its own since."""

    digits: int = DIGITS
    period: int = PERIOD


class MatchedStep(NamedTuple):
    """A step that matched: its number, the newest acceptable one, and the drift it shows.

    Steps are stored by their beginning, counted in steps of 30 seconds: whatever the period, no
    two of them have one number, a later one has the larger, and one bound on their age holds for
    all.
    """

    number: int
    newest: int
    offset: int
    period: int = PERIOD

    @property
    def stored(self) -> int:
        """Return the number that the step is stored under."""
        return self.number * self.period // PERIOD

    @property
    def newest_stored(self) -> int:
        """Return the number that the newest acceptable step would be stored under."""
        return self.newest * self.period // PERIOD


def shown_issuer(name: str) -> str:
    """Return the name of the service as an authenticator app can show it, as `shown_name` does."""
    return name.replace(":", "-")[:LONGEST_ISSUER].strip()


def shown_name(label: str) -> str:
    """Return an account name that an authenticator app can display.

    A colon separates issuer and account in the URI's label, so the account name must contain none.
    A long name is cut in its middle: a letter may take twelve characters of the URI, and a QR code
    of more than a few hundred is too fine for a camera, or cannot be generated at all.
    """
    name = label.replace(":", "-")
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[:_HEAD]}…{name[_HEAD + 1 - LONGEST_NAME :]}"


def read_name(text: str) -> str:
    """Return the trimmed name of a code generator; raises ValueError."""
    name = unicodedata.normalize("NFC", text).strip()
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise ValueError(f"must be 1 to {LONGEST_NAME} visible characters")
    return name


def clean(code: str) -> str:
    """Return the code without spaces, which people and apps add."""
    return "".join(code.split())


_USUAL: Final = CodeForm()


def match(
    secret: str, *, code: str, unix_now: int, offset: int, form: CodeForm = _USUAL
) -> MatchedStep | None:
    """Find the step of a code among the three around now plus the learned offset.

    Every step is compared, so that the time does not reveal which one matched.
    """
    totp = pyotp.TOTP(secret, digits=form.digits, interval=form.period)
    center = unix_now // form.period + offset
    found = None
    for delta in range(-WINDOW, WINDOW + 1):
        expected = totp.generate_otp(center + delta)
        if hmac.compare_digest(expected.encode(), clean(code).encode()):
            drift = max(-LARGEST_OFFSET, min(LARGEST_OFFSET, offset + delta))
            found = MatchedStep(center + delta, center + WINDOW, drift, form.period)
    return found


def next_in(matched: MatchedStep, newest_used: int, unix_now: int) -> int:
    """Return the seconds until a usable code is shown; 0 if the current one is usable.

    Args:
        matched: The step of a right code that cannot be used any more.
        newest_used: The newest step that was used, by the number that it is stored under.
        unix_now: The time.
    """
    period = matched.period
    shown = matched.newest - WINDOW
    newest = -(-newest_used * PERIOD // period)
    return max(0, (newest + 1 - shown) * period - unix_now % period)
