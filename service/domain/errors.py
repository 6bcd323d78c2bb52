"""What can go wrong, in the words of the domain; only `service.web.problems` knows HTTP."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing to mend in the input: a JSON pointer, a stable code and a sentence."""

    pointer: str
    code: str
    detail: str


def set_aside(faults: Sequence[Fault]) -> dict[str, Any]:
    """Return the member of an answer that names what of the input counted for nothing."""
    return {"set_aside": [asdict(fault) for fault in faults]} if faults else {}


def noticed(notices: Sequence[Fault]) -> dict[str, Any]:
    """Return the member of an answer that tells what refuses nothing but should be known."""
    return {"notices": [asdict(notice) for notice in notices]} if notices else {}


class LaminaError(Exception):
    """Base of every expected refusal.

    Args:
        code: A stable snake_case name that callers may test.
        detail: A sentence for people that holds no secret and no personal data.
        extra: Members added to the problem document.
    """

    def __init__(self, code: str, detail: str, **extra: Any) -> None:  # noqa: ANN401 - JSON members of any kind
        super().__init__(code)
        self.code = code
        self.detail = detail
        self.extra = extra


class BadInput(LaminaError):
    """The request can be understood but not accepted; `faults` point at what to mend."""

    def __init__(self, *faults: Fault, code: str = "invalid_input") -> None:
        first = faults[0] if faults else Fault("", code, "The input is not valid.")
        super().__init__(code, f"{first.pointer} {first.detail}".strip())
        self.faults = faults


class Malformed(LaminaError):
    """The bytes are no request of this kind at all."""


class TooLarge(LaminaError):
    """The input passes a stated limit."""


class TooSlow(LaminaError):
    """The input did not arrive in the time it may take."""


class Unauthorized(LaminaError):
    """The caller's own token is missing, wrong or expired."""


class Forbidden(LaminaError):
    """The caller is known and may not do this."""


class Denied(Forbidden):
    """Policy ended the flow."""


class NotFound(LaminaError):
    """There is no such thing, or none that this caller may know of."""


class Conflict(LaminaError):
    """The state of things does not allow it."""


class Expired(LaminaError):
    """It was valid once."""


class VerificationFailed(LaminaError):
    """What was presented does not verify; the reason goes to audit, not to the caller.

    Args:
        reason: A stable name for the audit.
        holder: Members that may be told in a flow of somebody who is signed in, and in no other.
    """

    def __init__(self, reason: str, **holder: Any) -> None:  # noqa: ANN401 - JSON members of any kind
        super().__init__("verification_failed", "What was presented does not verify.")
        self.reason = reason
        self.holder = holder


class Throttled(LaminaError):
    """Too many attempts; `retry_after` in seconds."""

    def __init__(
        self,
        retry_after: int,
        code: str = "too_many_attempts",
        detail: str = "Too many attempts; try again later.",
    ) -> None:
        super().__init__(code, detail)
        self.retry_after = max(1, retry_after)


class TooMany(Throttled):
    """A stated bound on what one owner may have or ask for is reached."""

    def __init__(self, code: str, detail: str, retry_after: int) -> None:
        super().__init__(retry_after)
        self.args = (code,)
        self.code = code
        self.detail = detail


class Unavailable(LaminaError):
    """A part the answer depends on is away; must be taken as not allowed."""

    def __init__(self, code: str, detail: str, retry_after: int = 5) -> None:
        super().__init__(code, detail)
        self.retry_after = retry_after


class Busy(Unavailable):
    """The database let others go first; nothing of the unit of work was kept.

    Args:
        again: Whether the same may be tried at once: it was ended, not kept waiting.
    """

    def __init__(self, *, again: bool) -> None:
        super().__init__("database_busy", "The database is busy; try again.", 1)
        self.again = again


class RowRefused(Unavailable):
    """A stored row is not as the service wrote it; nothing is decided on it."""


class OAuthError(LaminaError):
    """A refusal at an OAuth endpoint, which has its own form (RFC 6749 section 5.2)."""

    def __init__(self, code: str, detail: str, status: int = 400) -> None:
        super().__init__(code, detail)
        self.status = status


class SetupError(LaminaError):
    """The service cannot start or the command cannot run; the detail says what to mend."""


@contextmanager
def naming(setting: str) -> Iterator[None]:
    """Put the name of a setting before what is wrong with the file that it names."""
    try:
        yield
    except SetupError as error:
        raise SetupError(error.code, f"{setting}: {error.detail}") from None
