"""What is kept of an answer, so that a request sent again gets the same one."""

from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class About:
    """Of whom an answer tells, and of which classes of data: it is erased with any of them."""

    subject: UUID
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """A stored answer."""

    status: int
    body: bytes = field(repr=False)
    content_type: str
    about: About | None = field(default=None, compare=False)


class AnswerStore(Protocol):
    """Keeps answers for requests that are sent again."""

    def begin(self, caller: UUID, operation: str, key: str, body: bytes) -> Answer | None:
        """Return the first answer, or claim the key; raises Conflict, BadInput or Expired."""

    def finish(self, caller: UUID, operation: str, key: str, answer: Answer, secret: bool) -> None:  # noqa: FBT001 - a flag of the operation
        """Keep the answer."""

    def abandon(self, caller: UUID, operation: str, key: str) -> None:
        """Free the key, so that the request can be tried again."""
