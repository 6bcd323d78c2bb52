"""The table of recoveries by the help desk."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple, Protocol, cast
from uuid import UUID

from sqlalchemy import (
    ForeignKey,
    Index,
    LargeBinary,
    Select,
    String,
    and_,
    bindparam,
    literal,
    or_,
    select,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from service.factors.help_desk.model import OPEN, RecoveryState
from service.store.ahead import PlannedRead
from service.store.authentic import (
    change,
    delete_rows,
    holding,
    insert_once,
    joined_columns,
    joined_row_holds,
    reading,
)
from service.store.base import Base, table_of
from service.store.dropping import drop_page
from service.store.engine import Tx
from service.store.personal_data import Personal, anybody
from service.store.shapes import Authentic

_UNDER_WAY: Final = "status IN ('asked', 'waiting', 'sent')"
_PAGE: Final = 100


class Recovery(Authentic, Base):
    """A recovery: its operators, the act that it allows, and the digest of its code.

    `address` is a keyed digest of the address that was verified at the request: the code goes only
    there. `ends_at` is when the current state expires.
    """

    __tablename__ = "subject_recovery"
    __members__ = (
        "subject_id",
        "approval_id",
        "act",
        "status",
        "asked_by",
        "approved_by",
        "asked_at",
        "due_at",
        "ends_at",
        "address",
        "digest",
    )
    __table_args__ = (
        Index(
            "uq_subject_recovery_open",
            "subject_id",
            unique=True,
            sqlite_where=text(_UNDER_WAY),
            postgresql_where=text(_UNDER_WAY),
        ),
    )
    __personal__ = Personal(
        purpose="to restore access to a person without authenticators, once two operators agreed",
        retention="400 days after its end, or until erasure; the log, permanently",
        withheld={
            "address": "a keyed digest of the address, which is given with the subject",
            "digest": "a keyed digest of the code, which was sent to the address",
        },
        shown={"asked_by": anybody, "approved_by": anybody},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    subject_id: Mapped[UUID] = mapped_column(ForeignKey("subject.id"), index=True)
    approval_id: Mapped[UUID]
    act: Mapped[str] = mapped_column(String(32))
    status: Mapped[str] = mapped_column(String(16))
    asked_by: Mapped[str] = mapped_column(String(128))
    approved_by: Mapped[str | None] = mapped_column(String(128))
    asked_at: Mapped[datetime]
    due_at: Mapped[datetime | None]
    ends_at: Mapped[datetime]
    address: Mapped[bytes] = mapped_column(LargeBinary(32))
    digest: Mapped[bytes | None] = mapped_column(LargeBinary(32))


_TABLE: Final = table_of(Recovery)
_ROWS: Final = reading(Recovery)
_OPEN: Final = _ROWS.where(
    _TABLE.c.subject_id == bindparam("b_subject"),
    or_(*(_TABLE.c.status == state for state in OPEN)),
)
_ONE: Final = _ROWS.where(_TABLE.c.id == bindparam("b_id"))
_ONE_ROW: Final = select(literal(1).label("one")).subquery()
_SENT: Final = select(*joined_columns(Recovery)).select_from(
    _ONE_ROW.outerjoin(
        _TABLE,
        and_(_TABLE.c.subject_id == bindparam("b_subject"), _TABLE.c.status == RecoveryState.SENT),
    )
)


class RecoveryRow(Protocol):
    """The columns of a recovery by name."""

    id: UUID
    subject_id: UUID
    approval_id: UUID
    act: str
    status: str
    asked_by: str
    approved_by: str | None
    due_at: datetime | None
    ends_at: datetime
    address: bytes


class SentCode(NamedTuple):
    """The recovery that a code was sent for, and the digest of the code."""

    number: UUID
    digest: bytes | None


def add(tx: Tx, values: Mapping[str, object]) -> bool:
    """Add a recovery; return False if the subject has an open one."""
    return insert_once(tx, model=Recovery, values=values)


def under_way_ahead(subject: UUID) -> PlannedRead:
    """Return what `under_way` reads."""
    return PlannedRead(_OPEN, {"b_subject": subject})


def under_way(tx: Tx, subject: UUID) -> RecoveryRow | None:
    """Return the open recovery of a subject."""
    return next(iter(_rows(tx, _OPEN, b_subject=subject)), None)


def find(tx: Tx, number: UUID) -> RecoveryRow | None:
    """Return a recovery."""
    return next(iter(_rows(tx, _ONE, b_id=number)), None)


def read(tx: Tx, number: UUID) -> RecoveryRow:
    """Return a recovery that this transaction changed; raises LookupError if there is none."""
    row = find(tx, number)
    if row is None:
        raise LookupError("the recovery is not stored")
    return row


def sent(tx: Tx, subject: UUID) -> SentCode | None:
    """Return the recovery with a sent code of a subject; finding none takes the same time."""
    row = tx.execute(_SENT, {"b_subject": subject}).one()
    if not joined_row_holds(tx, Recovery, row) or row.lead_id is None:
        return None
    return SentCode(row.lead_id, row.lead_digest)


def _rows(tx: Tx, statement: Select[tuple[object, ...]], **values: UUID) -> Sequence[RecoveryRow]:
    # A row has the columns of its statement, which mypy cannot see.
    return cast("Sequence[RecoveryRow]", holding(tx, Recovery, statement, values))


def move(tx: Tx, row: RecoveryRow, state: RecoveryState, **values: object) -> bool:
    """Change the state of a recovery; return False if another request did."""
    return change(tx, Recovery, row, status=state.value, **values)


def due(tx: Tx, now: datetime, after: UUID) -> Sequence[UUID]:
    """Return a page of the subjects with due codes after an id, by ascending id."""
    query = select(_TABLE.c.subject_id).where(
        _TABLE.c.status == RecoveryState.WAITING,
        _TABLE.c.due_at <= now,
        _TABLE.c.subject_id > after,
    )
    return tx.execute(query.order_by(_TABLE.c.subject_id).limit(_PAGE)).scalars().all()


def over(tx: Tx, now: datetime, after: UUID) -> Sequence[UUID]:
    """Return a page of the subjects with an expired recovery after an id, by ascending id."""
    query = select(_TABLE.c.subject_id).where(
        _TABLE.c.status.in_(OPEN), _TABLE.c.ends_at <= now, _TABLE.c.subject_id > after
    )
    return tx.execute(query.order_by(_TABLE.c.subject_id).limit(_PAGE)).scalars().all()


def all_open(tx: Tx) -> Sequence[RecoveryRow]:
    """Return all open recoveries."""
    return _rows(tx, _ROWS.where(_TABLE.c.status.in_(OPEN)))


def drop_old(tx: Tx, before: datetime) -> int:
    """Delete a page of recoveries that ended before a time; return how many."""
    return drop_page(tx, _TABLE, _TABLE.c.ends_at <= before, _TABLE.c.status.not_in(OPEN))


def delete_for(tx: Tx, subject: UUID) -> int:
    """Delete the recoveries of a subject; return how many."""
    return delete_rows(tx, Recovery, _TABLE.c.subject_id == subject)
