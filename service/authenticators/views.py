"""What callers and other features see of authenticators, and what they are refused with."""

from typing import Any, Protocol
from uuid import UUID

from service.domain.authenticator import Authenticator, Status
from service.domain.clock import rfc3339
from service.domain.errors import Conflict, NotFound
from service.store.engine import Tx


def as_value(row: Any) -> Authenticator:  # noqa: ANN401 - a row of named columns
    """Return a row as a value without its verifier."""
    return Authenticator(
        row.id, row.subject_id, row.type, Status(row.status), row.created_at, row.last_used_at
    )


def shown(row: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
    """Return a row as a list shows it."""
    return {
        "id": str(row.id),
        "type": row.type,
        "name": row.name,
        "status": row.status,
        "created_at": rfc3339(row.created_at),
        "last_used_at": rfc3339(row.last_used_at) if row.last_used_at else None,
    }


def not_pending() -> Conflict:
    """Return the refusal to confirm what waits for no confirmation."""
    detail = "This authenticator is not waiting for confirmation; enroll another."
    return Conflict("not_pending", detail)


class Access(Protocol):
    """A person's access, of which authenticators are the ground."""

    def stands(self, tx: Tx, session: UUID) -> bool:
        """Tell whether a session, or the one that took its place, is in force."""

    def security_changed(self, tx: Tx, subject: UUID, acting: UUID | None) -> None:
        """End what must not outlive an authenticator; a session that acts goes on."""


def no_authenticator() -> NotFound:
    """Return the refusal of what a subject does not have."""
    return NotFound("authenticator_not_found", "This subject has no such authenticator.")
