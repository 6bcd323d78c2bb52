"""The table of the outbox."""

from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import String, and_, delete, or_, select
from sqlalchemy.orm import Mapped, mapped_column

from crypto.fields import Owner
from service.domain.ids import service_owner, subject_owner
from service.store.base import Base, table_of
from service.store.dropping import drop_page
from service.store.engine import Tx
from service.store.personal import Personal, without
from service.store.sealed import encrypted_text


class Outgoing(Base):
    """One event or notice that waits for delivery; addresses and codes are sealed."""

    __tablename__ = "outbox"
    __personal__ = Personal(
        "to tell the person or other services what happened",
        "7 days after delivery, 30 days without; one with a code, a day; until erasure",
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


class Ends(NamedTuple):
    """From what time a message that ends now is, at the latest.

    Args:
        delivered: One that was delivered; when it was.
        code: One that carries a code.
        personal: One to or about a person.
        rest: Any other, such as an alarm.
    """

    delivered: datetime
    code: datetime
    personal: datetime
    rest: datetime


CODE: Final = "identifier.verification"
"""The kind of message that carries a code."""


def waiting(tx: Tx, limit: int) -> list[Outgoing]:
    """Return what has not been delivered, oldest first."""
    query = select(Outgoing).where(Outgoing.delivered_at.is_(None)).order_by(Outgoing.id)
    return list(tx.scalars(query.limit(limit)))


def drop_old(tx: Tx, ends: Ends) -> int:
    """Forget a page of messages that have come to their end; return how many."""
    table = table_of(Outgoing)
    personal = table.c.subject_id.is_not(None)
    over = or_(
        table.c.delivered_at <= ends.delivered,
        and_(table.c.kind == CODE, table.c.at <= ends.code),
        and_(personal, table.c.at <= ends.personal),
        table.c.at <= ends.rest,
    )
    return drop_page(tx, table, over)


def forget(tx: Tx, subject: UUID) -> None:
    """Delete what waits about a subject."""
    tx.execute(delete(Outgoing).where(Outgoing.subject_id == subject))
