"""The table of attempt counters."""

import operator
from collections.abc import Collection
from datetime import datetime, timedelta
from functools import reduce
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import (
    Boolean,
    ColumnElement,
    String,
    UniqueConstraint,
    Update,
    and_,
    bindparam,
    case,
    false,
    literal,
    not_,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql.dml import ReturningUpdate

from service.domain.clock import SKEW
from service.store.base import Base, table_of
from service.store.dropping import drop_page
from service.store.engine import Tx, insert_once
from service.store.personal import Personal, Unlinked
from service.throttling.model import (
    FIRST_DELAY,
    FREE,
    HARD_TOTAL,
    LONGEST_DELAY,
    Counter,
    Rule,
    free,
    limit,
)


class Bucket(Base):
    """The counters of one account in one lane; the name is a keyed digest."""

    __tablename__ = "throttle"
    __table_args__ = (UniqueConstraint("bucket", "lane"),)
    __personal__ = Personal(
        "to bound guessing",
        "until a login completes; 30 days after fewer than five failures, 730 after more",
        of=lambda columns, whose: columns.bucket == whose.bucket,
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    bucket: Mapped[str] = mapped_column(String(64))
    lane: Mapped[str] = mapped_column(String(16))
    knowledge: Mapped[int]
    other: Mapped[int]
    face: Mapped[int]
    strict: Mapped[bool] = mapped_column(server_default=false())
    total: Mapped[int]
    era: Mapped[int] = mapped_column(server_default="0")
    """How often the row was set to zero: what was counted before cannot be given back after."""
    locked_until: Mapped[datetime | None]
    updated_at: Mapped[datetime]


class Count(NamedTuple):
    """A counter after it was raised.

    Args:
        row: Its bucket.
        failures: How many in a row, with this one.
        free: How many of them wait for nothing.
        era: The era of its bucket.
    """

    row: UUID
    failures: int
    free: int
    era: int


class Ends(NamedTuple):
    """Since when a row was not used that ends now.

    Args:
        empty: Where it holds no failure.
        few: Where it holds fewer than make anybody wait.
        many: Where it holds more.
    """

    empty: datetime
    few: datetime
    many: datetime


_TABLE: Final = table_of(Bucket)
_SHORTEST: Final = timedelta(seconds=FIRST_DELAY)
_LONGEST: Final = timedelta(seconds=LONGEST_DELAY) + SKEW
_KEY: Final = (_TABLE.c.bucket == bindparam("b_bucket"), _TABLE.c.lane == bindparam("b_lane"))


_Rule = tuple[ColumnElement[bool], ColumnElement[bool]]
"""When a counter may be raised, and whether its row is strict from then on."""


def _raising(counter: Counter) -> ReturningUpdate[Any]:
    column = _TABLE.c[counter.column]
    until = _TABLE.c.locked_until
    # A wait longer than the longest was begun by a clock that went wrong: it holds nobody up.
    open_ = or_(until.is_(None), until <= bindparam("b_now"), until > bindparam("b_beyond"))
    allowed, strict = _RULES.get(counter, _plain)(counter)
    return (
        update(_TABLE)
        .where(*_KEY, open_, allowed, _TABLE.c.total < HARD_TOTAL)
        .values({column: column + 1, _TABLE.c.total: _TABLE.c.total + 1,
                 _TABLE.c.strict: strict, _TABLE.c.updated_at: bindparam("b_now")})
        .returning(_TABLE.c.id, column, _TABLE.c.strict, _TABLE.c.era)
    )  # fmt: skip


def _plain(counter: Counter) -> _Rule:
    return _TABLE.c[counter.column] < limit(counter), _TABLE.c.strict


def _face(counter: Counter) -> _Rule:
    """A face without a command makes the row strict; late in a free row it waits, as it would."""
    column = _TABLE.c[counter.column]
    due = or_(
        _TABLE.c.strict, column < FREE,
        _TABLE.c.updated_at <= bindparam("b_before", type_=_TABLE.c.updated_at.type),
        _TABLE.c.updated_at > bindparam("b_beyond", type_=_TABLE.c.updated_at.type),
    )  # fmt: skip
    return and_(column < limit(counter), due), true()


def _live_face(counter: Counter) -> _Rule:
    column = _TABLE.c[counter.column]
    free_row = and_(not_(_TABLE.c.strict), column < limit(counter))
    return or_(column < limit(Counter.FACE), free_row), _TABLE.c.strict


def _lowering(counter: Counter) -> Update:
    column = _TABLE.c[counter.column]
    until = _TABLE.c.locked_until
    # While a wait lasts nobody else can begin one, so that an equal time is the attempt's own.
    left = case((until == bindparam("b_until", type_=until.type), None), else_=until)
    lowered = {column: column - 1, _TABLE.c.total: _TABLE.c.total - 1, until: left}
    if column is _TABLE.c.face:
        # A row that holds no face any more is as if it had been nothing but free.
        lowered[_TABLE.c.strict] = and_(_TABLE.c.strict, column > 1)
    return (
        update(_TABLE)
        .where(_TABLE.c.id == bindparam("b_id"), _TABLE.c.era == bindparam("b_era"), column > 0)
        .values(lowered)
    )


_COUNTED: Final = sorted({counter.column for counter in Counter})
_RULES: Final = {Counter.FACE: _face, Counter.LIVE_FACE: _live_face}


_RAISE: Final = {counter: _raising(counter) for counter in Counter}
_LOWER: Final = {counter: _lowering(counter) for counter in Counter}
_UNTIL: Final = select(
    _TABLE.c.locked_until, _TABLE.c.face, _TABLE.c.strict, _TABLE.c.updated_at
).where(*_KEY)


def ensure(tx: Tx, row: UUID, bucket: str, lane: str, now: datetime) -> None:
    """Make the row of a bucket where there is none."""
    values = {
        "id": row, "bucket": bucket, "lane": lane, "knowledge": 0, "other": 0, "face": 0,
        "strict": False, "total": 0, "era": 0, "locked_until": None, "updated_at": now,
    }  # fmt: skip
    insert_once(tx, _TABLE, values)


def raise_count(tx: Tx, bucket: str, lane: str, counter: Counter, now: datetime) -> Count | None:
    """Count one attempt in a guarded update; None when the bucket is locked, full or missing."""
    values = {"b_bucket": bucket, "b_lane": lane, "b_now": now, "b_beyond": now + _LONGEST}
    if counter is Counter.FACE:
        values["b_before"] = now - _SHORTEST
    found = tx.execute(_RAISE[counter], values).first()
    if found is None:
        return None
    return Count(found[0], found[1], free(counter, strict=found[2]), found[3])


def lower_count(tx: Tx, row: UUID, counter: Counter, era: int, until: datetime | None) -> None:
    """Take one attempt back, with the wait that it began itself and with no other."""
    tx.execute(_LOWER[counter], {"b_id": row, "b_era": era, "b_until": until})


def lock(tx: Tx, row: UUID, until: datetime) -> None:
    """Make a bucket wait, in the unit of work that counted: its row is locked since."""
    tx.execute(update(_TABLE).where(_TABLE.c.id == row).values(locked_until=until))


def locked_until(tx: Tx, bucket: str, lane: str, counter: Counter) -> datetime | None:
    """Return the end of the wait; None where no wait is long enough."""
    found = tx.execute(_UNTIL, {"b_bucket": bucket, "b_lane": lane}).first()
    if found is None:
        return None
    if counter is Counter.FACE and not found.strict and FREE <= found.face < limit(counter):
        due: datetime = found.updated_at + _SHORTEST
        return max(due, found.locked_until or due)
    until: datetime | None = found.locked_until
    return until


def clear_some(tx: Tx, bucket: str, lane: str, columns: Collection[str]) -> None:
    """Set some counters of a bucket to zero; the total counts what is left."""
    left = [_TABLE.c[name] for name in _COUNTED if name not in columns]
    total: ColumnElement[int] = reduce(operator.add, left, literal(0))
    statement = update(_TABLE).where(_TABLE.c.bucket == bucket, _TABLE.c.lane == lane)
    # What was counted before has nothing left to give back.
    values = dict.fromkeys(columns, 0) | {"total": total, "era": _TABLE.c.era + 1}
    if Counter.FACE.value in columns:
        values |= {"strict": False}
    tx.execute(statement.values(**values))


def row_of(tx: Tx, bucket: str, lane: str) -> tuple[UUID, int] | None:
    """Return id and era of the row of a bucket, if there is one."""
    query = select(_TABLE.c.id, _TABLE.c.era).where(
        _TABLE.c.bucket == bucket, _TABLE.c.lane == lane
    )
    found = tx.execute(query).first()
    return (found.id, found.era) if found else None


def drop_unused(tx: Tx, ends: Ends) -> int:
    """Forget a page of rows that were not used since what they hold says; return how many."""
    unused, total = _TABLE.c.updated_at, _TABLE.c.total
    over = or_(
        and_(total <= 0, unused <= ends.empty),
        and_(total < FREE, unused <= ends.few),
        unused <= ends.many,
    )
    return drop_page(tx, _TABLE, over)


def clear(tx: Tx, bucket: str, lane: str | None) -> int:
    """Set the counters of a bucket to zero, in one lane or in all; return how many rows."""
    statement = update(_TABLE).where(_TABLE.c.bucket == bucket)
    if lane is not None:
        statement = statement.where(_TABLE.c.lane == lane)
    zero = {
        "knowledge": 0, "other": 0, "face": 0, "strict": False, "total": 0, "locked_until": None,
        "era": _TABLE.c.era + 1,
    }  # fmt: skip
    return len(tx.execute(statement.values(**zero).returning(_TABLE.c.id)).all())


class Limit(Base):
    """How often one thing was done of late; the name is a keyed digest."""

    __tablename__ = "limit_count"
    __personal__ = Unlinked(
        "to bound how often codes are sent to an address and guessed",
        "until the count ends, a day after the last code",
        why="a keyed digest of the address, alone or with the subject, is all that names it",
    )

    bucket: Mapped[str] = mapped_column(String(64), primary_key=True)
    times: Mapped[int]
    next_at: Mapped[datetime]
    ends_at: Mapped[datetime] = mapped_column(index=True)


_LIMITS: Final = table_of(Limit)
_NOW: Final = bindparam("b_now", type_=_LIMITS.c.ends_at.type)
# A count that ends later than any does was begun by a clock that went wrong: it is over.
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
            (or_(_ENDED, bindparam("b_rolling", type_=Boolean())),
             bindparam("b_ends", type_=_LIMITS.c.ends_at.type)),
            else_=_LIMITS.c.ends_at,
        ),
    )
    .returning(_LIMITS.c.times)
)  # fmt: skip


def take(tx: Tx, bucket: str, rule: Rule, now: datetime) -> int | None:
    """Count one time in a guarded update; None when it is not allowed, or there is no row."""
    values = {
        "b_bucket": bucket, "b_now": now, "b_most": rule.most, "b_rolling": rule.rolling,
        "b_ends": now + rule.span, "b_far": now + rule.span + SKEW,
    }  # fmt: skip
    count: int | None = tx.execute(_TAKING, values).scalar()
    if count is not None:
        row = update(_LIMITS).where(_LIMITS.c.bucket == bucket)
        tx.execute(row.values(next_at=now + rule.gap(count)))
    return count


def ensure_limit(tx: Tx, bucket: str, now: datetime) -> None:
    """Make the row of a count where there is none."""
    insert_once(tx, _LIMITS, {"bucket": bucket, "times": 0, "next_at": now, "ends_at": now})


def free_at(tx: Tx, bucket: str, rule: Rule, now: datetime) -> datetime | None:
    """Return when it may be done again, which may be over; None where nothing was counted."""
    query = select(_LIMITS.c.times, _LIMITS.c.next_at, _LIMITS.c.ends_at)
    found = tx.execute(query.where(_LIMITS.c.bucket == bucket)).first()
    if found is None or found.ends_at > now + rule.span + SKEW:
        return None
    at: datetime = found.ends_at if found.times >= rule.most else min(found.next_at, found.ends_at)
    return at


def drop_ended(tx: Tx, now: datetime) -> int:
    """Delete a page of the counts that have ended; return how many."""
    return drop_page(tx, _LIMITS, _LIMITS.c.ends_at <= now)
