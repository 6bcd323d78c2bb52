"""The table of rate-limit counts."""

from datetime import datetime
from types import SimpleNamespace
from typing import Final
from uuid import UUID

from sqlalchemy import Boolean, String, and_, bindparam, case, or_, select, update
from sqlalchemy.orm import Mapped, mapped_column

from service.domain.clock import SKEW
from service.domain.ids import new_id
from service.store.authentic import insert_once, record
from service.store.base import Base, table_of
from service.store.dropping import drop_page
from service.store.engine import Tx
from service.store.personal_data import Unlinked
from service.store.shapes import Noted, shape_of
from service.throttling.model import AttemptLimit


class Limit(Noted, Base):
    """The recent uses of an operation; the bucket name is a keyed digest."""

    __tablename__ = "limit_count"
    __members__ = ("bucket", "times", "next_at", "ends_at")
    __revision__ = "changes"
    __followed__ = True
    __personal__ = Unlinked(
        "to bound how often codes are sent to an address and guessed",
        "until the count ends, a day after the last code",
        why="a keyed digest of the address, alone or with the subject, is all that names it",
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    """A new id for each insert, so that the log can tell the row from an expired one."""
    bucket: Mapped[str] = mapped_column(String(64), unique=True)
    times: Mapped[int]
    next_at: Mapped[datetime]
    ends_at: Mapped[datetime] = mapped_column(index=True)
    changes: Mapped[int]
    was_times: Mapped[int | None]
    """The row before the last change, which the log records."""
    was_next_at: Mapped[datetime | None]
    was_ends_at: Mapped[datetime | None]


_LIMITS: Final = table_of(Limit)
_NOW: Final = bindparam("b_now", type_=_LIMITS.c.ends_at.type)
# A count that ends later than any could was written by a wrong clock: it has expired.
_FAR: Final = bindparam("b_far", type_=_LIMITS.c.ends_at.type)
_ENDED: Final = or_(_LIMITS.c.ends_at <= _NOW, _LIMITS.c.ends_at > _FAR)
_TAKING: Final = (
    update(_LIMITS)
    .where(
        _LIMITS.c.bucket == bindparam("b_bucket"),
        or_(_ENDED, and_(_LIMITS.c.next_at <= _NOW, _LIMITS.c.times < bindparam("b_most"))),
    )
    .values(
        times=case((_ENDED, 1), else_=_LIMITS.c.times + 1),
        ends_at=case(
            (
                or_(_ENDED, bindparam("b_rolling", type_=Boolean())),
                bindparam("b_ends", type_=_LIMITS.c.ends_at.type),
            ),
            else_=_LIMITS.c.ends_at,
        ),
        was_times=_LIMITS.c.times,
        was_next_at=_LIMITS.c.next_at,
        was_ends_at=_LIMITS.c.ends_at,
    )
    .returning(_LIMITS.c.times)
)


_TAKEN: Final = (
    update(_LIMITS)
    .where(_LIMITS.c.bucket == bindparam("b_bucket"))
    .values(
        next_at=bindparam("b_next", type_=_LIMITS.c.next_at.type), changes=_LIMITS.c.changes + 1
    )
    .returning(
        *shape_of(Limit).columns,
        _LIMITS.c.was_times,
        _LIMITS.c.was_next_at,
        _LIMITS.c.was_ends_at,
    )
)


def take(tx: Tx, bucket: str, rule: AttemptLimit, now: datetime) -> int | None:
    """Count one use by a guarded update; return None if it is not allowed or the row is missing."""
    values = {
        "b_bucket": bucket,
        "b_now": now,
        "b_most": rule.most,
        "b_rolling": rule.rolling,
        "b_ends": now + rule.span,
        "b_far": now + rule.span + SKEW,
    }
    count: int | None = tx.execute(_TAKING, values).scalar()
    if count is not None:
        values = {"b_bucket": bucket, "b_next": now + rule.gap(count)}
        row = tx.execute(_TAKEN, values).one()
        before = SimpleNamespace(
            id=row.id,
            bucket=row.bucket,
            times=row.was_times,
            next_at=row.was_next_at,
            ends_at=row.was_ends_at,
        )
        record(tx, Limit, row, before)
    return count


def ensure_limit(tx: Tx, bucket: str, now: datetime) -> None:
    """Insert the row of a count if it is missing."""
    values = {
        "id": new_id(now),
        "bucket": bucket,
        "times": 0,
        "next_at": now,
        "ends_at": now,
        "changes": 1,
    }
    insert_once(tx, model=Limit, values=values)


def free_at(tx: Tx, bucket: str, rule: AttemptLimit, now: datetime) -> datetime | None:
    """Return when the next use is allowed, possibly in the past; None if nothing was counted."""
    query = select(_LIMITS.c.times, _LIMITS.c.next_at, _LIMITS.c.ends_at)
    found = tx.execute(query.where(_LIMITS.c.bucket == bucket)).first()
    if found is None or found.ends_at > now + rule.span + SKEW:
        return None
    at: datetime = found.ends_at if found.times >= rule.most else min(found.next_at, found.ends_at)
    return at


def drop_ended(tx: Tx, now: datetime) -> int:
    """Delete a page of expired counts; return how many."""
    return drop_page(tx, _LIMITS, _LIMITS.c.ends_at <= now)
