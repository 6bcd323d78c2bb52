"""The table of attempt counters."""

from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import String, UniqueConstraint, Update, bindparam, or_, select, update
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql.dml import ReturningUpdate

from service.store.base import Base, table_of
from service.store.engine import Tx, insert_once
from service.throttling.model import HARD_TOTAL, Counter, limit


class Bucket(Base):
    """The counters of one account in one lane; the name is a keyed digest."""

    __tablename__ = "throttle"
    __table_args__ = (UniqueConstraint("bucket", "lane"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    bucket: Mapped[str] = mapped_column(String(64))
    lane: Mapped[str] = mapped_column(String(16))
    knowledge: Mapped[int]
    other: Mapped[int]
    face: Mapped[int]
    total: Mapped[int]
    locked_until: Mapped[datetime | None]
    updated_at: Mapped[datetime]


class Count(NamedTuple):
    """A counter after it was raised."""

    row: UUID
    failures: int


_TABLE: Final = table_of(Bucket)
_KEY: Final = (_TABLE.c.bucket == bindparam("b_bucket"), _TABLE.c.lane == bindparam("b_lane"))


def _raising(counter: Counter) -> ReturningUpdate[Any]:
    column = _TABLE.c[counter.value]
    free = or_(_TABLE.c.locked_until.is_(None), _TABLE.c.locked_until <= bindparam("b_now"))
    return (
        update(_TABLE)
        .where(*_KEY, free, column < limit(counter), _TABLE.c.total < HARD_TOTAL)
        .values({column: column + 1, _TABLE.c.total: _TABLE.c.total + 1,
                 _TABLE.c.updated_at: bindparam("b_now")})
        .returning(_TABLE.c.id, column)
    )  # fmt: skip


def _lowering(counter: Counter) -> Update:
    column = _TABLE.c[counter.value]
    return (
        update(_TABLE)
        .where(_TABLE.c.id == bindparam("b_id"), column > 0)
        .values(
            {column: column - 1, _TABLE.c.total: _TABLE.c.total - 1, _TABLE.c.locked_until: None}
        )
    )


_RAISE: Final = {counter: _raising(counter) for counter in Counter}
_LOWER: Final = {counter: _lowering(counter) for counter in Counter}
_UNTIL: Final = select(_TABLE.c.locked_until).where(*_KEY)


def ensure(tx: Tx, row: UUID, bucket: str, lane: str, now: datetime) -> bool:
    """Make the row of a bucket; False when there is one."""
    values = {
        "id": row, "bucket": bucket, "lane": lane, "knowledge": 0, "other": 0, "face": 0,
        "total": 0, "locked_until": None, "updated_at": now,
    }  # fmt: skip
    return insert_once(tx, _TABLE, values)


def raise_count(tx: Tx, bucket: str, lane: str, counter: Counter, now: datetime) -> Count | None:
    """Count one attempt in a guarded update; None when the bucket is locked, full or missing."""
    values = {"b_bucket": bucket, "b_lane": lane, "b_now": now}
    found = tx.execute(_RAISE[counter], values).first()
    return Count(found[0], found[1]) if found else None


def lower_count(tx: Tx, row: UUID, counter: Counter) -> None:
    """Take one attempt back and end the wait that it began."""
    tx.execute(_LOWER[counter], {"b_id": row})


def lock(tx: Tx, row: UUID, until: datetime) -> None:
    """Make a bucket wait."""
    tx.execute(update(_TABLE).where(_TABLE.c.id == row).values(locked_until=until))


def locked_until(tx: Tx, bucket: str, lane: str) -> datetime | None:
    """Return the end of the wait."""
    return tx.execute(_UNTIL, {"b_bucket": bucket, "b_lane": lane}).scalar()


def clear(tx: Tx, bucket: str, lane: str | None) -> int:
    """Set the counters of a bucket to zero, in one lane or in all; return how many rows."""
    statement = update(_TABLE).where(_TABLE.c.bucket == bucket)
    if lane is not None:
        statement = statement.where(_TABLE.c.lane == lane)
    zero = {"knowledge": 0, "other": 0, "face": 0, "total": 0, "locked_until": None}
    return len(tx.execute(statement.values(**zero).returning(_TABLE.c.id)).all())
