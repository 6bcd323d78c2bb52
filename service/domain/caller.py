"""The authenticated caller: a client service, and the operator it acts for, if any."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final
from uuid import UUID

SERVICE: Final = "service"
"""The actor of background work, which has no caller."""


@dataclass(kw_only=True, frozen=True, slots=True)
class Caller:
    """A client behind a valid access token.

    Args:
        operator: The signed-in operator the token was issued to; None for the client's own token.
    """

    client: UUID
    scopes: frozenset[str]
    first_party: bool = False
    asserts_context: bool = False
    segments: tuple[str, ...] = ("default",)
    operator: UUID | None = None

    @property
    def actor(self) -> str:
        """Return the actor name recorded in the audit log."""
        return f"operator:{self.operator}" if self.operator else str(self.client)


_ACTING: ContextVar[Caller | None] = ContextVar("acting", default=None)


@contextmanager
def acting(caller: Caller | None) -> Iterator[None]:
    """Set the caller of the enclosed code, which `who_acts` returns to the audit log."""
    before = _ACTING.set(caller)
    try:
        yield
    finally:
        _ACTING.reset(before)


def who_acts() -> Caller | None:
    """Return the caller of this thread; None for background work."""
    return _ACTING.get()
