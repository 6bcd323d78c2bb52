"""Who calls: a client service, and the operator it speaks for where there is one."""

from dataclasses import dataclass
from uuid import UUID


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
