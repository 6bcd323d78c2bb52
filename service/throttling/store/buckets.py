"""The table of attempt counters."""

import operator
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from functools import reduce
from types import SimpleNamespace
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    String,
    UniqueConstraint,
    Update,
    and_,
    bindparam,
    case,
    cast,
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
from service.store.ahead import PlannedRead
from service.store.authentic import insert_once, record
from service.store.base import Base, table_of
from service.store.dropping import drop_page
from service.store.engine import AnyRow, Tx
from service.store.personal_data import Personal
from service.store.shapes import Noted, shape_of
from service.throttling.model import (
    FIRST_DELAY,
    FREE,
    HARD_TOTAL,
    LONGEST_DELAY,
    Counter,
    limit,
)


class Bucket(Noted, Base):
    """The counters of an account in a lane; the bucket name is a keyed digest."""

    __tablename__ = "throttle"
    __members__ = (
        "bucket",
        "lane",
        "knowledge",
        "other",
        "face",
        "strict",
        "total",
        "era",
        "locked_until",
        "updated_at",
    )
    __revision__ = "changes"
    __followed__ = True
    __table_args__ = (UniqueConstraint("bucket", "lane"),)
    __personal__ = Personal(
        purpose="to bound guessing",
        retention="until a login completes; 30 days after fewer than five failures, 730 after more",
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
    """Number of resets of the row: attempts counted before a reset cannot be undone after it."""
    locked_until: Mapped[datetime | None]
    updated_at: Mapped[datetime]
    changes: Mapped[int] = mapped_column(server_default="1")
    was: Mapped[str | None] = mapped_column(String(120))
    """The counters before the last change, which the log records."""
    was_locked_until: Mapped[datetime | None]
    was_updated_at: Mapped[datetime | None]


class Count(NamedTuple):
    """A counter after an increment.

    Args:
        row: Id of the bucket row.
        failures: Number of consecutive failures, including this one.
        strict: Whether the bucket holds a face capture without commanded gestures.
        era: The era of the bucket.
        until: The end of an existing throttle delay, None if there is none.
    """

    row: UUID
    failures: int
    strict: bool
    era: int
    until: datetime | None


class CounterRetention(NamedTuple):
    """Times of last use before which rows expire.

    Args:
        empty: For rows without a failure.
        few: For rows with too few failures for a delay.
        many: For rows with more.
    """

    empty: datetime
    few: datetime
    many: datetime


_TABLE: Final = table_of(Bucket)
_NUMBERS: Final = ("knowledge", "other", "face", "total", "era")
_WAS: Final = (_TABLE.c.was, _TABLE.c.was_locked_until, _TABLE.c.was_updated_at)
_SHORTEST: Final = timedelta(seconds=FIRST_DELAY)
_LONGEST: Final = timedelta(seconds=LONGEST_DELAY) + SKEW
_KEY: Final = (_TABLE.c.bucket == bindparam("b_bucket"), _TABLE.c.lane == bindparam("b_lane"))


def _recorded(statement: Update) -> ReturningUpdate[AnyRow]:
    """Increment the revision of the row, and return its state before and after for the log."""
    was: ColumnElement[str] = case((_TABLE.c.strict, "1"), else_="0")
    for name in _NUMBERS:
        was = was + "," + cast(_TABLE.c[name], String)
    found = {
        _TABLE.c.changes: _TABLE.c.changes + 1,
        _TABLE.c.was_updated_at: _TABLE.c.updated_at,
        _TABLE.c.was: was,
        _TABLE.c.was_locked_until: _TABLE.c.locked_until,
    }
    return statement.values(found).returning(*shape_of(Bucket).columns, *_WAS)


def _note(tx: Tx, row: AnyRow) -> None:
    strict, *numbers = map(int, row.was.split(","))
    before = SimpleNamespace(
        id=row.id,
        bucket=row.bucket,
        lane=row.lane,
        strict=bool(strict),
        locked_until=row.was_locked_until,
        updated_at=row.was_updated_at,
        **dict(zip(_NUMBERS, numbers, strict=True)),
    )
    record(tx, Bucket, row, before)


_Rule = tuple[ColumnElement[bool], ColumnElement[bool]]
"""The condition for incrementing a counter, and the new value of `strict`."""


def _open(allowed: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return the condition that a row accepts an attempt that its counter allows."""
    until = _TABLE.c.locked_until
    # A delay longer than the maximum was written by a wrong clock and is ignored.
    over = or_(
        until.is_(None),
        until <= bindparam("b_now", type_=until.type),
        until > bindparam("b_beyond", type_=until.type),
    )
    return and_(over, allowed, _TABLE.c.total < HARD_TOTAL)


def _raising(counter: Counter, *, always: bool = False) -> ReturningUpdate[AnyRow]:
    column = _TABLE.c[counter.column]
    allowed, strict = _RULES.get(counter, _plain)(counter)
    return _recorded(
        update(_TABLE)
        .where(*_KEY, *(() if always else (_open(allowed),)))
        .values(
            {
                column: column + 1,
                _TABLE.c.total: _TABLE.c.total + 1,
                _TABLE.c.strict: strict,
                _TABLE.c.updated_at: bindparam("b_now"),
            }
        )
    )


def _plain(counter: Counter) -> _Rule:
    return _TABLE.c[counter.column] < limit(counter), _TABLE.c.strict


def _face(counter: Counter) -> _Rule:
    """Make the row strict for a face without liveness; a late one in a free row is delayed."""
    column = _TABLE.c[counter.column]
    due = or_(
        _TABLE.c.strict,
        column < FREE,
        _TABLE.c.updated_at <= bindparam("b_before", type_=_TABLE.c.updated_at.type),
        _TABLE.c.updated_at > bindparam("b_beyond", type_=_TABLE.c.updated_at.type),
    )
    return and_(column < limit(counter), due), true()


def _live_face(counter: Counter) -> _Rule:
    column = _TABLE.c[counter.column]
    free_row = and_(not_(_TABLE.c.strict), column < limit(counter))
    return or_(column < limit(Counter.FACE), free_row), _TABLE.c.strict


def _lowering(counter: Counter) -> ReturningUpdate[AnyRow]:
    column = _TABLE.c[counter.column]
    until = _TABLE.c.locked_until
    # During a delay no other can start, so an equal end time is the attempt's own.
    left = case((until == bindparam("b_until", type_=until.type), None), else_=until)
    lowered = {column: column - 1, _TABLE.c.total: _TABLE.c.total - 1, until: left}
    if column is _TABLE.c.face:
        # Without any counted face, the row is no longer strict.
        lowered[_TABLE.c.strict] = and_(_TABLE.c.strict, column > 1)
    return _recorded(
        update(_TABLE)
        .where(_TABLE.c.id == bindparam("b_id"), _TABLE.c.era == bindparam("b_era"), column > 0)
        .values(lowered)
    )


_COUNTED: Final = sorted({counter.column for counter in Counter})
_RULES: Final = {Counter.FACE: _face, Counter.LIVE_FACE: _live_face}


_RAISE: Final = {counter: _raising(counter) for counter in Counter}
_FAIL: Final = {counter: _raising(counter, always=True) for counter in Counter}
_OPEN: Final = {
    counter: select(_open(_RULES.get(counter, _plain)(counter)[0]).label("open")).where(*_KEY)
    for counter in Counter
}
_LOWER: Final = {counter: _lowering(counter) for counter in Counter}
_LOCK: Final = _recorded(
    update(_TABLE).where(_TABLE.c.id == bindparam("b_id")).values(locked_until=bindparam("b_until"))
)
_ZERO: Final = {
    "knowledge": 0,
    "other": 0,
    "face": 0,
    "strict": False,
    "total": 0,
    "locked_until": None,
    "era": _TABLE.c.era + 1,
}
_CLEAR: Final = _recorded(update(_TABLE).where(*_KEY).values(**_ZERO))
_CLEAR_ALL: Final = _recorded(
    update(_TABLE).where(_TABLE.c.bucket == bindparam("b_bucket")).values(**_ZERO)
)
_STATE: Final = select(_TABLE.c.knowledge, _TABLE.c.other, _TABLE.c.face, _TABLE.c.strict).where(
    *_KEY
)
_UNTIL: Final = select(
    _TABLE.c.locked_until, _TABLE.c.face, _TABLE.c.strict, _TABLE.c.updated_at
).where(*_KEY)


def ensure(tx: Tx, row: UUID, *, bucket: str, lane: str, now: datetime) -> None:
    """Insert the row of a bucket if it is missing."""
    values = {
        "id": row,
        "bucket": bucket,
        "lane": lane,
        "knowledge": 0,
        "other": 0,
        "face": 0,
        "strict": False,
        "total": 0,
        "era": 0,
        "locked_until": None,
        "updated_at": now,
        "changes": 1,
    }
    insert_once(tx, model=Bucket, values=values)


def raise_count(
    tx: Tx, *, bucket: str, lane: str, counter: Counter, now: datetime, always: bool = False
) -> Count | None:
    """Count an attempt by a guarded update; return None if the bucket is locked, full or missing.

    With `always`, the attempt has failed already and counts in a locked or full bucket too.
    """
    statement = (_FAIL if always else _RAISE)[counter]
    found = tx.execute(statement, _asked(bucket, lane, counter, now)).first()
    if found is None:
        return None
    _note(tx, found)
    failures = getattr(found, counter.column)
    until = found.locked_until
    waits = until if until and now < until <= now + _LONGEST else None
    return Count(found.id, failures, found.strict, found.era, waits)


def is_open(tx: Tx, asked: PlannedRead) -> bool:
    """Return whether an attempt may be counted, as `open_ahead` asks; true for a missing bucket."""
    found = tx.execute(*asked).first()
    return found is None or bool(found[0])


def _asked(bucket: str, lane: str, counter: Counter, now: datetime) -> dict[str, object]:
    values = {"b_bucket": bucket, "b_lane": lane, "b_now": now, "b_beyond": now + _LONGEST}
    if counter is Counter.FACE:
        values["b_before"] = now - _SHORTEST
    return values


def lower_count(tx: Tx, row: UUID, *, counter: Counter, era: int, until: datetime | None) -> None:
    """Undo an attempt, with the throttle delay that it started itself."""
    _change(tx, _LOWER[counter], {"b_id": row, "b_era": era, "b_until": until})


def lock(tx: Tx, row: UUID, until: datetime) -> None:
    """Delay a bucket, in the transaction that counted and so holds its row lock."""
    _change(tx, _LOCK, {"b_id": row, "b_until": until})


def locked_until(tx: Tx, bucket: str, lane: str, counter: Counter) -> datetime | None:
    """Return the end of the throttle delay; None if there is none."""
    found = tx.execute(_UNTIL, {"b_bucket": bucket, "b_lane": lane}).first()
    if found is None:
        return None
    if counter is Counter.FACE and not found.strict and FREE <= found.face < limit(counter):
        due: datetime = found.updated_at + _SHORTEST
        return max(due, found.locked_until or due)
    until: datetime | None = found.locked_until
    return until


def state_ahead(bucket: str, lane: str) -> PlannedRead:
    """Return what `clear_some` reads."""
    return PlannedRead(_STATE, {"b_bucket": bucket, "b_lane": lane})


def open_ahead(*, bucket: str, lane: str, counter: Counter, now: datetime) -> PlannedRead:
    """Return what `is_open` reads."""
    return PlannedRead(_OPEN[counter], _asked(bucket, lane, counter, now))


def clear_some(tx: Tx, bucket: str, lane: str, columns: Collection[str]) -> None:
    """Reset some counters of a bucket, unless all are zero; the total keeps the others."""
    found = tx.execute(*state_ahead(bucket, lane)).first()
    # One that an attempt raises meanwhile is that attempt's own, to count or to undo.
    strict = found and found.strict and Counter.FACE.value in columns
    if found is None or not (strict or any(getattr(found, name) for name in columns)):
        return
    left = [_TABLE.c[name] for name in _COUNTED if name not in columns]
    total: ColumnElement[int] = reduce(operator.add, left, literal(0))
    statement = update(_TABLE).where(_TABLE.c.bucket == bucket, _TABLE.c.lane == lane)
    # Attempts counted before can no longer be undone.
    values = dict.fromkeys(columns, 0) | {"total": total, "era": _TABLE.c.era + 1}
    if Counter.FACE.value in columns:
        values |= {"strict": False}
    _change(tx, _recorded(statement.values(**values)), {})


def row_of(tx: Tx, bucket: str, lane: str) -> tuple[UUID, int] | None:
    """Return id and era of the row of a bucket, if it exists."""
    query = select(_TABLE.c.id, _TABLE.c.era).where(
        _TABLE.c.bucket == bucket, _TABLE.c.lane == lane
    )
    found = tx.execute(query).first()
    return (found.id, found.era) if found else None


def drop_unused(tx: Tx, ends: CounterRetention) -> int:
    """Delete a page of rows unused for their retention time; return how many."""
    unused = _TABLE.c.updated_at
    total = _TABLE.c.total
    over = or_(
        and_(total <= 0, unused <= ends.empty),
        and_(total < FREE, unused <= ends.few),
        unused <= ends.many,
    )
    return drop_page(tx, _TABLE, over)


def clear(tx: Tx, bucket: str, lane: str | None) -> int:
    """Reset the counters of a bucket, in one lane or all; return the number of rows."""
    if lane is None:
        return _change(tx, _CLEAR_ALL, {"b_bucket": bucket})
    return _change(tx, _CLEAR, {"b_bucket": bucket, "b_lane": lane})


def _change(tx: Tx, statement: ReturningUpdate[AnyRow], values: Mapping[str, object]) -> int:
    changed = tx.execute(statement, dict(values)).all()
    for row in changed:
        _note(tx, row)
    return len(changed)
