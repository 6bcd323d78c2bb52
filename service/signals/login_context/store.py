"""Tables of the login context: sealed histories, population counts, failures."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final, cast
from uuid import UUID

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Double,
    ForeignKey,
    Index,
    LargeBinary,
    ScalarSelect,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, mapped_column

from crypto.fields import FieldContext, Owner
from service.domain.ids import subject_owner
from service.store.ahead import PlannedRead
from service.store.base import Base, table_of
from service.store.dropping import drop_page
from service.store.engine import AnySelect, Tx, insert_once
from service.store.later import later
from service.store.personal_data import Personal, Unlinked
from service.store.sealed import encrypted_bytes, open_value, seal_value

CLASS: Final = "behavior"
MOST_VALUES: Final = 8192
"""Maximum number of population values; the rarest are dropped."""
MOST_COUNTED: Final = 200
"""Maximum number of counted failures."""


class HistoryRow(Base):
    """The history of a subject: keyed digests and weights, sealed."""

    __tablename__ = "login_context_history"
    __personal__ = Personal(
        purpose="to distinguish a usual place and device from an unusual one",
        retention="each value fades with a half-life of 90 days; "
        "400 days after the last login in all",
        withheld={"content": "keyed digests with weights; which values they were is not stored"},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    subject_id: Mapped[UUID] = mapped_column(ForeignKey("subject.id"), unique=True)
    updated_at: Mapped[datetime]
    content = encrypted_bytes(CLASS)

    def field_owner(self) -> Owner:
        """Return the subject who signed in."""
        return subject_owner(self.subject_id)


class SeenRow(Base):
    """The addition of one login to the population counts, merged and deleted within minutes."""

    __tablename__ = "login_context_seen"
    __personal__ = Unlinked(
        "how common places and devices are in the population",
        "minutes",
        "keyed digests without any name",
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    digests: Mapped[bytes] = mapped_column(LargeBinary)


class PopulationRow(Base):
    """The population count of a value; new weights grow with time instead of old ones fading."""

    __tablename__ = "login_context_population"

    digest: Mapped[bytes] = mapped_column(LargeBinary(9), primary_key=True)
    weight: Mapped[float] = mapped_column(Double)


class FailureRow(Base):
    """A failure with keyed digests; deleted after an hour."""

    __tablename__ = "login_context_failure"
    __table_args__ = (Index(None, "subject_digest", "at"), Index(None, "network_digest", "at"))
    __personal__ = Unlinked(
        "to detect attacks on many accounts", "an hour", "eight bytes of a keyed digest each"
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    subject_digest: Mapped[bytes] = mapped_column(LargeBinary(8))
    network_digest: Mapped[bytes] = mapped_column(LargeBinary(8))
    known_device: Mapped[bool]


class TallyRow(Base):
    """The number of failures in a time window."""

    __tablename__ = "login_context_tally"

    window: Mapped[datetime] = mapped_column(primary_key=True)
    failures: Mapped[int]


_HISTORY: Final = table_of(HistoryRow)
_SEEN: Final = table_of(SeenRow)
_POPULATION: Final = table_of(PopulationRow)
_FAILURE: Final = table_of(FailureRow)
_TALLY: Final = table_of(TallyRow)
_FIND: Final = select(_HISTORY.c.id, _HISTORY.c.content).where(
    _HISTORY.c.subject_id == bindparam("b_subject")
)
_SAVE: Final = (
    update(_HISTORY)
    .where(_HISTORY.c.id == bindparam("b_id"))
    .values(updated_at=bindparam("b_now"), content=bindparam("b_content"))
)


def _counted(*conditions: ColumnElement[bool]) -> ScalarSelect[int]:
    after = _FAILURE.c.at > bindparam("b_since")
    rows = select(_FAILURE.c.id).where(*conditions, after).limit(MOST_COUNTED).subquery()
    return select(func.count()).select_from(rows).scalar_subquery()


_FAILURES: Final = select(
    _counted(
        _FAILURE.c.subject_digest == bindparam("b_subject"),
        or_(_FAILURE.c.known_device, bindparam("b_any", type_=Boolean)),
    ).label("of_subject"),
    _counted(_FAILURE.c.network_digest == bindparam("b_network")).label("from_network"),
)
_FAIL: Final = insert(_FAILURE)
_SEE: Final = insert(_SEEN)


def history_ahead(subject: UUID) -> PlannedRead:
    """Return what `history` reads."""
    return PlannedRead(_FIND, {"b_subject": subject})


def history(tx: Tx, subject: UUID) -> tuple[UUID, bytes] | None:
    """Return the row id and the opened history of a subject.

    Raises:
        OpenError: The row was changed.
        KeyUnavailable: This process does not hold the class.
    """
    row = tx.execute(_FIND, {"b_subject": subject}).first()
    if row is None:
        return None
    return row.id, open_value(tx, CLASS, _context(row.id, subject), row.content)


def row_of(tx: Tx, subject: UUID) -> UUID | None:
    """Return the row id of a subject, whether it opens or not."""
    row = tx.execute(_FIND, {"b_subject": subject}).first()
    return row.id if row else None


def add(tx: Tx, row: UUID, *, subject: UUID, now: datetime, content: bytes) -> bool:
    """Insert the first history of a subject; return False if another request did first."""
    values = {
        "id": row,
        "subject_id": subject,
        "updated_at": now,
        "content": seal_value(tx, CLASS, _context(row, subject), content),
    }
    return insert_once(tx, _HISTORY, values)


def save(tx: Tx, row: UUID, *, subject: UUID, now: datetime, content: bytes) -> None:
    """Store the next state of a history."""
    sealed = seal_value(tx, CLASS, _context(row, subject), content)
    later(tx, _SAVE, {"b_id": row, "b_now": now, "b_content": sealed})


def drop(tx: Tx, subject: UUID) -> int:
    """Delete the history of a subject; return the number of rows."""
    gone = delete(HistoryRow).where(HistoryRow.subject_id == subject)
    return len(tx.execute(gone.returning(HistoryRow.id)).all())


def drop_older(tx: Tx, before: datetime) -> int:
    """Delete a page of histories not updated since a time; return how many."""
    return drop_page(tx, _HISTORY, _HISTORY.c.updated_at <= before)


def _context(row: UUID, subject: UUID) -> FieldContext:
    """Return the associated data of a history, equal to that of the column's descriptor."""
    return FieldContext(
        table="login_context_history",
        column="content",
        owner=subject_owner(subject),
        row=row,
        extra=b"",
    )


def note_seen(tx: Tx, row: UUID, now: datetime, digests: bytes) -> None:
    """Queue an addition to the population counts by an insert, which never waits."""
    later(tx, _SEE, {"id": row, "at": now, "digests": digests})


def take_seen(tx: Tx, most: int) -> list[bytes]:
    """Remove and return the queued additions, oldest first."""
    oldest = select(_SEEN.c.id).order_by(_SEEN.c.at).limit(most)
    gone = delete(_SEEN).where(_SEEN.c.id.in_(oldest)).returning(_SEEN.c.digests)
    return [row.digests for row in tx.execute(gone)]


def fold(tx: Tx, weights: Mapping[bytes, float]) -> None:
    """Add to the counts; only the worker does, so that no request waits for a row."""
    if not weights:
        return
    dialect = sqlite if tx.get_bind().dialect.name == "sqlite" else postgresql
    rows = [{"digest": digest, "weight": weight} for digest, weight in sorted(weights.items())]
    statement = dialect.insert(_POPULATION)
    added = {"weight": _POPULATION.c.weight + statement.excluded.weight}
    tx.execute(statement.on_conflict_do_update(index_elements=["digest"], set_=added), rows)


def prune(tx: Tx, least: float) -> int:
    """Delete values below a weight, and the rarest beyond `MOST_VALUES`; return how many."""
    column = _POPULATION.c.weight
    floor = tx.scalar(select(column).order_by(column.desc()).offset(MOST_VALUES).limit(1))
    gone = delete(_POPULATION).where(column <= max(least, floor or 0.0))
    return len(tx.execute(gone.returning(_POPULATION.c.digest)).all())


def population(tx: Tx) -> list[tuple[bytes, float]]:
    """Return all counts."""
    return [(row.digest, row.weight) for row in tx.execute(select(_POPULATION))]


def add_failure(tx: Tx, values: Mapping[str, object]) -> None:
    """Record a failure by an insert, which never waits."""
    later(tx, _FAIL, values)


def failures_ahead(
    subject: bytes, network: bytes, since: datetime, *, known_only: bool
) -> PlannedRead:
    """Return what `failures` reads.

    Args:
        subject: The digest of a subject.
        network: The digest of a network; an empty one has no failures.
        since: From when on they count.
        known_only: Whether only failures of the subject on known devices count.
    """
    values = {
        "b_subject": subject,
        "b_network": network,
        "b_since": since,
        "b_any": not known_only,
    }
    return PlannedRead(cast("AnySelect", _FAILURES), values)


def failures(tx: Tx, wanted: PlannedRead) -> tuple[int, int]:
    """Return the failures of a subject and from a network, each at most `MOST_COUNTED`."""
    found = tx.execute(*wanted).one()
    return found.of_subject, found.from_network


def drop_failures(tx: Tx, before: datetime) -> int:
    """Delete a page of failures that no longer count; return how many."""
    return drop_page(tx, _FAILURE, _FAILURE.c.at <= before)


def forget_failures(tx: Tx, digest: bytes) -> None:
    """Delete the failures of a subject."""
    tx.execute(delete(_FAILURE).where(_FAILURE.c.subject_digest == digest))


def failed_between(tx: Tx, start: datetime, end: datetime) -> int:
    """Return the number of failures among all subjects in [start, end)."""
    query = select(func.count()).where(_FAILURE.c.at >= start, _FAILURE.c.at < end)
    return tx.scalar(query) or 0


def set_tallies(tx: Tx, tallies: Iterable[tuple[datetime, int]]) -> None:
    """Replace the counts of some windows."""
    for window, failures in tallies:
        tx.execute(delete(_TALLY).where(_TALLY.c.window == window))
        tx.execute(_TALLY.insert(), {"window": window, "failures": failures})


def tallies(tx: Tx) -> list[tuple[datetime, int]]:
    """Return the counts of all windows, oldest first."""
    query = select(_TALLY.c.window, _TALLY.c.failures).order_by(_TALLY.c.window)
    return [(row.window, row.failures) for row in tx.execute(query)]


def drop_tallies(tx: Tx, before: datetime) -> int:
    """Delete windows that are no longer compared; return how many."""
    gone = delete(_TALLY).where(_TALLY.c.window < before)
    return len(tx.execute(gone.returning(_TALLY.c.window)).all())
