"""Table of deliveries: one per message and target, until delivered or dead."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    ForeignKey,
    Index,
    String,
    UniqueConstraint,
    func,
    insert,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.orm import Mapped, mapped_column

from service.notifications.model import DeliveryState
from service.notifications.store.outbox import Outgoing
from service.store.base import Base, table_of
from service.store.engine import AnyRow, Tx
from service.store.personal_data import Personal, through

_WAITS = "state = 'waiting'"


class Delivery(Base):
    """The progress of one message to one target."""

    __tablename__ = "delivery"
    __table_args__ = (
        UniqueConstraint("message_id", "target"),
        Index(
            "ix_delivery_waiting",
            "target",
            "until",
            sqlite_where=text(_WAITS),
            postgresql_where=text(_WAITS),
        ),
    )
    __personal__ = Personal(
        purpose="to deliver a message once and tell what became of it",
        retention="as long as the message",
        of=through("message_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    message_id: Mapped[UUID] = mapped_column(ForeignKey("outbox.id", ondelete="CASCADE"))
    target: Mapped[str] = mapped_column(String(48))
    state: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int]
    next_at: Mapped[datetime]
    until: Mapped[datetime]
    error: Mapped[str | None] = mapped_column(String(32))
    """The code of the last failure; never text from the other side."""
    ended_at: Mapped[datetime | None]


class Depth(NamedTuple):
    """The deliveries of one channel in one state.

    Args:
        channel: The first five letters of the channel.
        state: Waiting or dead.
        number: How many.
        oldest: The time of the oldest message.
    """

    channel: str
    state: str
    number: int
    oldest: datetime


_TABLE = table_of(Delivery)
_MESSAGES = table_of(Outgoing)
_WAITING = _TABLE.c.state == DeliveryState.WAITING.value


def add(tx: Tx, rows: list[dict[str, object]]) -> None:
    """Insert waiting deliveries."""
    if rows:
        tx.execute(insert(_TABLE), rows)


def due_targets(tx: Tx, now: datetime, beyond: datetime) -> list[str]:
    """Return the targets of due deliveries.

    Args:
        tx: A transaction.
        now: The time.
        beyond: A retry later than this was scheduled by a wrong clock, and counts as due.
    """
    query = select(_TABLE.c.target).where(_WAITING, _is_due(now, beyond)).distinct()
    return list(tx.execute(query).scalars())


def claim(
    tx: Tx, *, target: str, now: datetime, beyond: datetime, until: datetime
) -> AnyRow | None:
    """Claim a due delivery for a target; no other process can claim it before `until`.

    The message that expires first, usually a code, comes first.
    """
    ids = select(_TABLE.c.id).where(_WAITING, _TABLE.c.target == target, _is_due(now, beyond))
    first = ids.order_by(_TABLE.c.until, _TABLE.c.id).limit(1).with_for_update(skip_locked=True)
    taken = (
        update(_TABLE)
        .where(_TABLE.c.id.in_(first))
        .values(attempts=_TABLE.c.attempts + 1, next_at=until)
        .returning(_TABLE.c.id, _TABLE.c.message_id, _TABLE.c.attempts, _TABLE.c.until)
    )
    return tx.execute(taken).first()


def settle(tx: Tx, delivery: UUID, attempts: int, values: Mapping[str, object]) -> bool:
    """Record the result of an attempt; False if the delivery was claimed again or deleted."""
    same = (_TABLE.c.id == delivery, _TABLE.c.attempts == attempts, _WAITING)
    done = update(_TABLE).where(*same).values(**values).returning(_TABLE.c.id)
    return tx.execute(done).first() is not None


def states(tx: Tx, message: UUID) -> set[str]:
    """Return the states of all deliveries of a message; lock the message first."""
    query = select(_TABLE.c.state).where(_TABLE.c.message_id == message)
    return set(tx.execute(query).scalars())


def of_messages(tx: Tx, messages: Collection[UUID]) -> list[AnyRow]:
    """Return the deliveries of messages, by message and target."""
    query = select(*_TABLE.c).where(_TABLE.c.message_id.in_(messages))
    return list(tx.execute(query.order_by(_TABLE.c.message_id, _TABLE.c.target)).all())


def dead(tx: Tx, limit: int) -> list[UUID]:
    """Return the messages with a dead delivery, oldest first."""
    query = select(_TABLE.c.message_id).where(_TABLE.c.state == DeliveryState.DEAD.value).distinct()
    return list(tx.execute(query.order_by(_TABLE.c.message_id).limit(limit)).scalars())


def revive(tx: Tx, messages: Iterable[UUID], now: datetime, until: datetime) -> int:
    """Set the dead deliveries of messages to waiting; return how many."""
    statement = (
        update(_TABLE)
        .where(_TABLE.c.message_id.in_(list(messages)), _TABLE.c.state == DeliveryState.DEAD.value)
        .values(
            state=DeliveryState.WAITING.value, attempts=0, next_at=now, until=until, ended_at=None
        )
        .returning(_TABLE.c.id)
    )
    return len(tx.execute(statement).all())


def depths(tx: Tx) -> list[Depth]:
    """Return how many deliveries are waiting and dead, by channel."""
    # An id must not be a label: five letters identify the channel.
    channel = func.substr(_TABLE.c.target, 1, 5)
    query = (
        select(channel, _TABLE.c.state, func.count(), func.min(_MESSAGES.c.at))
        .join(_MESSAGES, _MESSAGES.c.id == _TABLE.c.message_id)
        .where(_TABLE.c.state != DeliveryState.DELIVERED.value)
        .group_by(channel, _TABLE.c.state)
    )
    return [Depth(*row) for row in tx.execute(query)]


def _is_due(now: datetime, beyond: datetime) -> ColumnElement[bool]:
    return or_(_TABLE.c.next_at <= now, _TABLE.c.next_at > beyond)
