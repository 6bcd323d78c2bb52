"""Views of authenticators for callers and other features, and their errors."""

from typing import Any, Protocol
from uuid import UUID

from service.domain.authenticator import Authenticator, Status
from service.domain.clock import rfc3339
from service.domain.errors import Conflict, NotFound
from service.store.engine import Tx


def as_value(row: Any) -> Authenticator:  # noqa: ANN401 - a row of named columns
    """Return a row as a value without its verifier."""
    return Authenticator(
        id=row.id,
        subject=row.subject_id,
        type=row.type,
        status=Status(row.status),
        created_at=row.created_at,
        last_used_at=row.last_used_at,
    )


def shown(row: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
    """Return the list view of a row."""
    return {
        "id": str(row.id),
        "type": row.type,
        "name": row.name,
        "status": row.status,
        "created_at": rfc3339(row.created_at),
        "last_used_at": rfc3339(row.last_used_at) if row.last_used_at else None,
    }


def not_pending() -> Conflict:
    """Return the error for confirming an authenticator that is not pending."""
    detail = "This authenticator is not pending; enroll another."
    return Conflict("not_pending", detail)


class Access(Protocol):
    """The access that depends on authenticators."""

    def stands(self, tx: Tx, session: UUID) -> bool:
        """Return whether a session, or its successor, is active."""

    def security_changed(self, tx: Tx, subject: UUID, acting: UUID | None) -> None:
        """End access that must not outlive an authenticator, except the acting session."""


def no_authenticator() -> NotFound:
    """Return the error for an authenticator that the subject does not have."""
    return NotFound("authenticator_not_found", "This subject has no such authenticator.")
