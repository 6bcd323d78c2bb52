"""The table of attempt counters."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import String, UniqueConstraint, or_, select, update
from sqlalchemy.orm import Mapped, mapped_column

from service.store.base import Base
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


def ensure(tx: Tx, row: UUID, bucket: str, lane: str, now: datetime) -> None:
    """Make the row of a bucket when there is none."""
    values = {
        "id": row, "bucket": bucket, "lane": lane, "knowledge": 0, "other": 0, "face": 0,
        "total": 0, "locked_until": None, "updated_at": now,
    }  # fmt: skip
    insert_once(tx, Bucket.metadata.tables["throttle"], values)


def raise_count(tx: Tx, bucket: str, lane: str, counter: Counter, now: datetime) -> Count | None:
    """Count one attempt in a guarded update; None when the bucket is locked or full."""
    column = Bucket.__table__.c[counter.value]
    found = tx.execute(
        update(Bucket)
        .where(
            Bucket.bucket == bucket,
            Bucket.lane == lane,
            or_(Bucket.locked_until.is_(None), Bucket.locked_until <= now),
            column < limit(counter),
            Bucket.total < HARD_TOTAL,
        )
        .values({column: column + 1, Bucket.total: Bucket.total + 1, Bucket.updated_at: now})
        .returning(Bucket.id, column)
    ).first()
    return Count(found[0], found[1]) if found else None


def lower_count(tx: Tx, row: UUID, counter: Counter) -> None:
    """Take one attempt back and end the wait that it began."""
    column = Bucket.__table__.c[counter.value]
    tx.execute(
        update(Bucket)
        .where(Bucket.id == row, column > 0)
        .values({column: column - 1, Bucket.total: Bucket.total - 1, Bucket.locked_until: None})
    )


def lock(tx: Tx, row: UUID, until: datetime) -> None:
    """Make a bucket wait."""
    tx.execute(update(Bucket).where(Bucket.id == row).values(locked_until=until))


def locked_until(tx: Tx, bucket: str, lane: str) -> datetime | None:
    """Return the end of the wait."""
    query = select(Bucket.locked_until).where(Bucket.bucket == bucket, Bucket.lane == lane)
    return tx.scalars(query).first()


def clear(tx: Tx, bucket: str, lane: str | None) -> int:
    """Set the counters of a bucket to zero, in one lane or in all; return how many rows."""
    statement = update(Bucket).where(Bucket.bucket == bucket)
    if lane is not None:
        statement = statement.where(Bucket.lane == lane)
    zero = {"knowledge": 0, "other": 0, "face": 0, "total": 0, "locked_until": None}
    return len(tx.execute(statement.values(**zero).returning(Bucket.id)).all())
