"""The table of the outbox."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import String, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from crypto.fields import Owner
from service.domain.ids import service_owner, subject_owner
from service.store.base import Base
from service.store.engine import Tx
from service.store.personal import Personal, without
from service.store.sealed import encrypted_text


class Outgoing(Base):
    """One event or notice that waits for delivery; addresses and codes are sealed."""

    __tablename__ = "outbox"
    __personal__ = Personal(
        "to tell the person or other services what happened",
        "until erasure, delivered or not",
        withheld={"payload.code": "a code proves that its address is read"},
        shown={"payload": without("code", "token")},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(64))
    subject_id: Mapped[UUID | None]
    payload = encrypted_text("contact", bound=("kind",))
    delivered_at: Mapped[datetime | None]

    def field_owner(self) -> Owner:
        """Return the subject the message is about, else the service."""
        return subject_owner(self.subject_id) if self.subject_id else service_owner("outbox")


def waiting(tx: Tx, limit: int) -> list[Outgoing]:
    """Return what has not been delivered, oldest first."""
    query = select(Outgoing).where(Outgoing.delivered_at.is_(None)).order_by(Outgoing.id)
    return list(tx.scalars(query.limit(limit)))


def forget(tx: Tx, subject: UUID) -> None:
    """Delete what waits about a subject."""
    tx.execute(delete(Outgoing).where(Outgoing.subject_id == subject))
