"""Who calls: a client service, and the operator it speaks for where there is one."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final
from uuid import UUID

SERVICE: Final = "service"
"""Who acts where nobody calls: the background work."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A service account behind a valid access token.

    Args:
        operator: The signed-in operator whose token it is; None for the client's own.
    """

    client: UUID
    scopes: frozenset[str]
    first_party: bool = False
    asserts_context: bool = False
    segments: tuple[str, ...] = ("default",)
    operator: UUID | None = None

    @property
    def actor(self) -> str:
        """Return the name that the audit log keeps."""
        return f"operator:{self.operator}" if self.operator else str(self.client)


_ACTING: ContextVar[Caller | None] = ContextVar("acting", default=None)


@contextmanager
def acting(caller: Caller | None) -> Iterator[None]:
    """Let what is done inside be done in a caller's name: the audit log asks `who_acts`."""
    before = _ACTING.set(caller)
    try:
        yield
    finally:
        _ACTING.reset(before)


def who_acts() -> Caller | None:
    """Return in whose name this thread acts now; None for the service's own."""
    return _ACTING.get()
