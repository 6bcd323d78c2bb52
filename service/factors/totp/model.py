"""The comparison that tells which time step matched, and how far a clock may drift."""

import hmac
import unicodedata
from typing import Final, NamedTuple

import pyotp

PERIOD: Final = 30
WINDOW: Final = 1
LARGEST_OFFSET: Final = 2
DIGITS: Final = 6
KEPT_STEPS: Final = 20
LONGEST_NAME: Final = 64
_HEAD: Final = 40


class MatchedStep(NamedTuple):
    """A step that matched: its number, the newest acceptable one, and the drift it shows."""

    number: int
    newest: int
    offset: int


def shown_name(label: str) -> str:
    """Return the name of an account as an authenticator app can show it.

    The label of the URI parts issuer and account by its one colon, so the account holds none. A
    long name is cut in its middle: each letter may take twelve characters of a URI, and a picture
    of more than some hundred is too fine for a camera, or cannot be made at all.
    """
    name = label.replace(":", "-")
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[:_HEAD]}…{name[_HEAD + 1 - LONGEST_NAME :]}"


def read_name(text: str) -> str:
    """Return the name of a code generator without the space around it; raises ValueError."""
    name = unicodedata.normalize("NFC", text).strip()
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise ValueError(f"must be 1 to {LONGEST_NAME} characters that can be seen")
    return name


def clean(code: str) -> str:
    """Return the code without the spaces that people and apps put into it."""
    return "".join(code.split())


def match(secret: str, code: str, unix_now: int, offset: int) -> MatchedStep | None:
    """Find the step of a code among the three around now plus the learned offset.

    Every step is compared, so that the time does not tell which one matched.
    """
    totp = pyotp.TOTP(secret, digits=DIGITS, interval=PERIOD)
    center = unix_now // PERIOD + offset
    found = None
    for delta in range(-WINDOW, WINDOW + 1):
        expected = totp.generate_otp(center + delta)
        if hmac.compare_digest(expected.encode(), clean(code).encode()):
            drift = max(-LARGEST_OFFSET, min(LARGEST_OFFSET, offset + delta))
            found = MatchedStep(center + delta, center + WINDOW, drift)
    return found


def next_in(matched: MatchedStep, newest_used: int, unix_now: int) -> int:
    """Return the seconds until a code is shown that can still be used; 0 where one is shown now.

    Args:
        matched: The step of a right code that cannot be used any more.
        newest_used: The newest step that was used.
        unix_now: The time.
    """
    shown = matched.newest - WINDOW
    return max(0, (newest_used + 1 - shown) * PERIOD - unix_now % PERIOD)
