"""The interface for storing responses, so that a repeated request gets the same one."""

from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class About:
    """The subject and key classes of a response, which is erased with any of them."""

    subject: UUID
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """A stored response."""

    status: int
    body: bytes = field(repr=False)
    content_type: str
    about: About | None = field(default=None, compare=False)


class AnswerStore(Protocol):
    """Stores responses for repeated requests."""

    def begin(self, caller: UUID, operation: str, key: str, body: bytes) -> Answer | None:
        """Return the stored response, or claim the key; raises Conflict, BadInput or Expired."""

    def finish(
        self, caller: UUID, operation: str, key: str, *, answer: Answer, secret: bool
    ) -> None:
        """Store the response."""

    def abandon(self, caller: UUID, operation: str, key: str) -> None:
        """Release the key, so that the request can be retried."""
