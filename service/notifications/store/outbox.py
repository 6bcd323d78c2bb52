"""Table of messages."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Index, String, and_, delete, func, or_, select, text, update
from sqlalchemy.orm import Mapped, mapped_column

from crypto.fields import Owner
from service.domain.ids import service_owner, subject_owner
from service.notifications.model import CODES
from service.store.base import Base, table_of
from service.store.dropping import drop_page
from service.store.engine import Tx
from service.store.personal_data import Personal, without
from service.store.sealed import encrypted_text

_UNROUTED = "routed_at IS NULL"


class Outgoing(Base):
    """An event or notice; addresses and codes are sealed."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index(
            "ix_outbox_unrouted",
            "id",
            sqlite_where=text(_UNROUTED),
            postgresql_where=text(_UNROUTED),
        ),
    )
    __personal__ = Personal(
        purpose="to tell the person or other services what happened",
        retention="7 days after delivery, 30 days without; one with a code, a day; until erasure",
        withheld={"payload.code": "a code proves that its address is read"},
        shown={"payload": without("code", "token")},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(64))
    subject_id: Mapped[UUID | None]
    payload = encrypted_text("contact", bound=("kind",))
    channel: Mapped[str | None] = mapped_column(String(16))
    """How it reaches the person; None if it has no address."""
    client_id: Mapped[UUID | None]
    """The client whose request caused it."""
    until: Mapped[datetime]
    """When it becomes useless."""
    routed_at: Mapped[datetime | None]
    """When its targets were determined."""
    delivered_at: Mapped[datetime | None]

    def field_owner(self) -> Owner:
        """Return the subject of the message as its owner, else the service."""
        return subject_owner(self.subject_id) if self.subject_id else service_owner("outbox")


class OutboxRetention(NamedTuple):
    """The latest times of messages that are deleted now, by class.

    Args:
        delivered: The time of delivery of a delivered message.
        code: The time of a message with a code.
        personal: The time of a message to or about a person.
        rest: The time of any other message, such as an alarm.
    """

    delivered: datetime
    code: datetime
    personal: datetime
    rest: datetime


_TABLE = table_of(Outgoing)


def waiting(tx: Tx, limit: int) -> list[Outgoing]:
    """Return undelivered messages, oldest first."""
    query = select(Outgoing).where(Outgoing.delivered_at.is_(None)).order_by(Outgoing.id)
    return list(tx.scalars(query.limit(limit)))


def depth(tx: Tx) -> tuple[int, datetime | None]:
    """Return how many messages are undelivered, and the time of the oldest."""
    query = select(func.count(), func.min(Outgoing.at)).where(Outgoing.delivered_at.is_(None))
    count, oldest = tx.execute(query).one()
    return int(count), oldest


def messages(tx: Tx, ids: Collection[UUID], *, lock: bool = False) -> list[Outgoing]:
    """Return messages by id, oldest first."""
    query = select(Outgoing).where(Outgoing.id.in_(ids)).order_by(Outgoing.id)
    return list(tx.scalars(query.with_for_update() if lock else query))


def lock(tx: Tx, message: UUID) -> bool:
    """Lock a message; False if it no longer exists."""
    query = select(_TABLE.c.id).where(_TABLE.c.id == message).with_for_update()
    return tx.execute(query).first() is not None


def unrouted(tx: Tx, limit: int) -> list[Outgoing]:
    """Return and lock messages without determined targets, oldest first."""
    query = select(Outgoing).where(Outgoing.routed_at.is_(None)).order_by(Outgoing.id).limit(limit)
    return list(tx.scalars(query.with_for_update(skip_locked=True)))


def mark_routed(tx: Tx, ids: Collection[UUID], at: datetime | None) -> int:
    """Set the routing time of messages; None routes them again."""
    statement = update(_TABLE).where(_TABLE.c.id.in_(ids)).values(routed_at=at)
    return len(tx.execute(statement.returning(_TABLE.c.id)).all())


def mark_delivered(tx: Tx, message: UUID, at: datetime) -> None:
    """Set the delivery time of a message that has reached all its targets."""
    tx.execute(update(_TABLE).where(_TABLE.c.id == message).values(delivered_at=at))


def drop(tx: Tx, ids: Collection[UUID]) -> int:
    """Delete messages with their deliveries; return how many."""
    return len(tx.execute(delete(_TABLE).where(_TABLE.c.id.in_(ids)).returning(_TABLE.c.id)).all())


def drop_old(tx: Tx, ends: OutboxRetention) -> int:
    """Delete a page of messages past their retention; return how many."""
    personal = _TABLE.c.subject_id.is_not(None)
    over = or_(
        _TABLE.c.delivered_at <= ends.delivered,
        and_(_TABLE.c.kind.in_(CODES), _TABLE.c.at <= ends.code),
        and_(personal, _TABLE.c.at <= ends.personal),
        _TABLE.c.at <= ends.rest,
    )
    return drop_page(tx, _TABLE, over)


def delete_for(tx: Tx, subject: UUID) -> None:
    """Delete the messages about a subject."""
    tx.execute(delete(Outgoing).where(Outgoing.subject_id == subject))
