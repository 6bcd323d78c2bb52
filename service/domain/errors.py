"""Errors of the domain; only `service.web.problems` maps them to HTTP."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Fault:
    """One invalid part of the input: a JSON pointer, a stable code and a sentence."""

    pointer: str
    code: str
    detail: str


class LaminaError(Exception):
    """Base class of all expected errors.

    Args:
        code: A stable snake_case name that clients may test.
        detail: A sentence for people, without secrets or personal data.
        extra: Additional members of the problem document.
    """

    def __init__(self, code: str, detail: str, **extra: Any) -> None:  # noqa: ANN401 - JSON members of any kind
        super().__init__(code)
        self.code = code
        self.detail = detail
        self.extra = extra


class BadInput(LaminaError):
    """The request is well-formed but not acceptable; `faults` point at what to correct."""

    def __init__(self, *faults: Fault, code: str = "invalid_input") -> None:
        first = faults[0] if faults else Fault("", code, "The input is not valid.")
        super().__init__(code, f"{first.pointer} {first.detail}".strip())
        self.faults = faults


class Malformed(LaminaError):
    """The body cannot be parsed as a request."""


class TooLarge(LaminaError):
    """The input exceeds a documented limit."""


class TooSlow(LaminaError):
    """The input did not arrive in time."""


class Unauthorized(LaminaError):
    """The caller's own token is missing, invalid or expired."""


class Forbidden(LaminaError):
    """The caller is authenticated but not authorized."""


class Denied(Forbidden):
    """The policy denied the flow."""


class NotFound(LaminaError):
    """The resource does not exist, or the caller may not know of it."""


class Conflict(LaminaError):
    """The current state of the resource does not allow the operation."""


class Expired(LaminaError):
    """The resource was valid once and has expired."""


class VerificationFailed(LaminaError):
    """Verification failed; the reason is recorded in the audit log but not disclosed to the caller.

    Args:
        reason: A stable code for the audit log.
        holder: Members disclosed only in flows of a signed-in person.
    """

    def __init__(self, reason: str, **holder: Any) -> None:  # noqa: ANN401 - JSON members of any kind
        super().__init__("verification_failed", "What was presented does not verify.")
        self.reason = reason
        self.holder = holder


class Throttled(LaminaError):
    """Too many attempts; the client may retry after `retry_after` seconds."""

    def __init__(
        self,
        retry_after: int,
        code: str = "too_many_attempts",
        detail: str = "Too many attempts; try again later.",
    ) -> None:
        super().__init__(code, detail)
        self.retry_after = max(1, retry_after)


class TooMany(Throttled):
    """A documented limit per owner is reached."""

    def __init__(self, code: str, detail: str, retry_after: int) -> None:
        super().__init__(retry_after)
        self.args = (code,)
        self.code = code
        self.detail = detail


class Unavailable(LaminaError):
    """A dependency is unavailable; callers must treat this as not allowed."""

    def __init__(self, code: str, detail: str, retry_after: int = 5) -> None:
        super().__init__(code, detail)
        self.retry_after = retry_after


class Busy(Unavailable):
    """The database aborted the transaction in favor of others; nothing was committed.

    Args:
        again: Whether an immediate retry makes sense: it was aborted, not timed out.
    """

    def __init__(self, *, again: bool) -> None:
        super().__init__("database_busy", "The database is busy; try again.", 1)
        self.again = again


class RowRefused(Unavailable):
    """A stored row fails its integrity check; no decision uses it."""


class OAuthError(LaminaError):
    """An error of an OAuth endpoint, which has its own response format (RFC 6749 section 5.2)."""

    def __init__(self, code: str, detail: str, status: int = 400) -> None:
        super().__init__(code, detail)
        self.status = status


class SetupError(LaminaError):
    """The service cannot start or the command cannot run; the detail says what to correct."""


@contextmanager
def naming(setting: str) -> Iterator[None]:
    """Prefix setup errors of a file with the name of its setting."""
    try:
        yield
    except SetupError as error:
        raise SetupError(error.code, f"{setting}: {error.detail}") from None
