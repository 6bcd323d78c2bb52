"""The table of sessions."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import chain
from types import SimpleNamespace
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    ForeignKey,
    FromClause,
    Index,
    Integer,
    ScalarSelect,
    and_,
    bindparam,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.orm import Mapped, mapped_column

from crypto.fields import Owner
from service.domain.ids import service_owner
from service.store.authentic import (
    cells_hold,
    change,
    delete_rows,
    holding,
    insert_later,
    one,
    reading,
    refused,
    sound,
)
from service.store.base import Base, table_of
from service.store.driver_sql import Cells
from service.store.dropping import PAGE
from service.store.engine import AnyRow, AnySelect, Tx
from service.store.part import Part
from service.store.personal_data import Personal, as_json, without
from service.store.prepared import DriverRead
from service.store.sealed import encrypted_optional, encrypted_text
from service.store.shapes import Authentic


def _partial(name: str, column: str, which: str) -> Index:
    return Index(name, column, sqlite_where=text(which), postgresql_where=text(which))


class SessionRow(Authentic, Base):
    """A session; its evidence is sealed, so that no level can be written into the database.

    It becomes active when its completion code is exchanged (`taken_up_at`); `replaces` names the
    session that ends at that moment, and `device_id` the known device on which it started. The kind
    of device and the network, `origin`, are deleted when it ends.
    """

    __tablename__ = "session"
    __members__ = (
        "subject_id",
        "client_id",
        "created_at",
        "last_seen_at",
        "expires_at",
        "idle_seconds",
        "revoked_at",
        "taken_up_at",
        "replaces",
        "device_id",
    )
    __until__ = "expires_at"
    __table_args__ = (
        _partial("ix_session_revoked_at", "revoked_at", "revoked_at IS NOT NULL"),
        _partial("ix_session_untaken", "created_at", "taken_up_at IS NULL"),
        _partial("ix_session_replaces", "replaces", "replaces IS NOT NULL"),
    )
    __personal__ = Personal(
        purpose="the person's sign-in: its evidence, and the device and network where it started",
        retention="a day after its end; device and network until it is ended",
        withheld={"evidence.llr": "the similarity of the face: it would guide a forger"},
        shown={"evidence": without("llr"), "origin": as_json},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    subject_id: Mapped[UUID] = mapped_column(ForeignKey("subject.id"), index=True)
    client_id: Mapped[UUID]
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    idle_seconds: Mapped[int]
    revoked_at: Mapped[datetime | None]
    taken_up_at: Mapped[datetime | None]
    replaces: Mapped[UUID | None]
    device_id: Mapped[UUID | None]
    evidence = encrypted_text(
        "service", bound=("subject_id", "client_id", "expires_at", "idle_seconds")
    )
    origin = encrypted_optional("service", bound=("subject_id", "client_id"))

    def field_owner(self) -> Owner:
        """Return the reserved owner of sessions, which has a key in every process."""
        return _KEYS


class SessionCells(NamedTuple):
    """A session that was read without its object; what is sealed opens with `evidence`."""

    id: UUID
    subject_id: UUID
    client_id: UUID
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    idle_seconds: int
    revoked_at: datetime | None
    taken_up_at: datetime | None
    replaces: UUID | None
    device_id: UUID | None
    mac: bytes
    evidence: bytes
    origin: bytes | None


_ROWS: Final = table_of(SessionRow)
ID: Final[ColumnElement[UUID]] = _ROWS.c.id
OWNER: Final[ColumnElement[UUID]] = _ROWS.c.subject_id
_CELLS: Final = tuple(_ROWS.c[name] for name in SessionCells._fields)
WIDTH: Final = len(_CELLS)
"""How many cells of a row that `finding` gives are those of the session."""
_COVERED: Final = SessionCells._fields.index("mac") + 1
_KEYS: Final = service_owner("sessions")
_BY_ID: Final = _ROWS.c.id == bindparam("b_id")
_IDLEST: Final = (
    select(_ROWS.c.id)
    .where(
        _ROWS.c.subject_id == bindparam("b_subject"),
        _ROWS.c.revoked_at.is_(None),
        _ROWS.c.taken_up_at.is_not(None),
        _ROWS.c.expires_at > bindparam("b_now"),
    )
    .order_by(_ROWS.c.last_seen_at.desc(), _ROWS.c.id.desc())
    .limit(PAGE)
    .offset(bindparam("b_keep", type_=Integer))
)
_LISTED: Final = (
    select(*_CELLS)
    .where(
        _ROWS.c.subject_id == bindparam("b_subject"),
        _ROWS.c.revoked_at.is_(None),
        _ROWS.c.expires_at > bindparam("b_now"),
    )
    .order_by(_ROWS.c.id)
    .limit(bindparam("b_limit", type_=Integer))
)
_FIRST: Final = DriverRead(_LISTED)
_AFTER: Final = DriverRead(_LISTED.where(_ROWS.c.id > bindparam("b_after")))
_FOR_CHANGE: Final = reading(SessionRow).where(SessionRow.id == bindparam("b_id")).with_for_update()
_HEIRS: Final = reading(SessionRow).where(
    _ROWS.c.replaces == bindparam("b_id"), _ROWS.c.taken_up_at.is_not(None)
)
_OPEN: Final = reading(SessionRow).where(SessionRow.revoked_at.is_(None)).with_for_update()


def add(tx: Tx, values: Mapping[str, object], *, evidence: str, origin: str | None) -> None:
    """Insert a session, with the last writes of the transaction.

    Args:
        tx: A transaction.
        values: The columns that are not sealed.
        evidence: The evidence, to be sealed.
        origin: The device and network where it began, to be sealed; None for none.
    """
    row = SimpleNamespace(**values)
    cells = {
        "evidence": SessionRow.evidence.sealed(tx, row, _KEYS, evidence),
        "origin": SessionRow.origin.sealed(tx, row, _KEYS, origin) if origin is not None else None,
    }
    insert_later(tx, SessionRow, {**values, **cells})


def get(tx: Tx, session: UUID) -> SessionRow | None:
    """Return a session by id, as currently stored."""
    return tx.get(SessionRow, session, populate_existing=True)


def finding(
    parts: Sequence[Part],
    *,
    lead: Part | None = None,
    but: ColumnElement[bool] | None = None,
) -> DriverRead:
    """Return a statement that reads a session with rows of other features.

    Args:
        parts: What it adds; a session without such a row has empty cells for it.
        lead: A table before it, whose row leads to the session; None to look it up as `b_id`.
        but: If it holds, nothing is read; None for no such condition.
    """
    source: FromClause = _ROWS if lead is None else lead.table.join(_ROWS, lead.on)
    for part in parts:
        source = source.outerjoin(part.table, part.on)
    first = () if lead is None else lead.columns
    others = chain.from_iterable(part.columns for part in parts)
    query: AnySelect = select().add_columns(*first, *_CELLS, *others).select_from(source)
    if lead is None:
        query = query.where(_BY_ID)
    return DriverRead(query if but is None else query.where(~but))


def owner_behind(lead: Part) -> ScalarSelect[UUID]:
    """Return a query for the owner of the session that a row of another table leads to."""
    joined = lead.table.join(_ROWS, lead.on)
    return select(_ROWS.c.subject_id).select_from(joined).scalar_subquery()


def cells_of(tx: Tx, cells: Cells) -> SessionCells:
    """Return the session at the start of some cells; raises RowRefused on an invalid MAC."""
    if not cells_hold(tx, SessionRow, cells[:_COVERED]):
        raise refused()
    return SessionCells(*cells[:WIDTH])


def evidence(tx: Tx, row: SessionCells) -> str:
    """Return the evidence of a session."""
    return SessionRow.evidence.opened(tx, row, _KEYS)


def origin(tx: Tx, row: SessionCells) -> str | None:
    """Return the origin of a session."""
    return SessionRow.origin.opened(tx, row, _KEYS)


def owner(tx: Tx, session: UUID) -> UUID | None:
    """Return the owner of a session; it never changes, so it may be read before a lock."""
    query = select(_ROWS.c.subject_id).where(_ROWS.c.id == session)
    return tx.execute(query).scalar()


def heir(tx: Tx, session: UUID) -> UUID | None:
    """Return the session that replaced another, if one did."""
    rows = holding(tx, SessionRow, _HEIRS, {"b_id": session})
    return next((row.id for row in rows), None)


def waiting(tx: Tx, session: UUID) -> AnyRow | None:
    """Return a session that was not activated and has not ended, locked; None for any other."""
    row = one(tx, SessionRow, _FOR_CHANGE, {"b_id": session})
    if row is None or row.taken_up_at is not None or row.revoked_at is not None:
        return None
    return row


def take_up(tx: Tx, row: AnyRow, now: datetime) -> bool:
    """Activate a session; return False if it was changed since it was read."""
    return change(tx, SessionRow, row, taken_up_at=now, last_seen_at=now)


def of_subject(tx: Tx, subject: UUID, now: datetime) -> list[SessionRow]:
    """Return the sessions of a subject that are neither revoked nor expired, oldest first.

    This includes sessions with a completion code that is not exchanged yet.
    """
    query = select(SessionRow).where(
        SessionRow.subject_id == subject,
        SessionRow.revoked_at.is_(None),
        SessionRow.expires_at > now,
    )
    return sound(tx, query.order_by(SessionRow.id))


def page(
    tx: Tx, subject: UUID, *, now: datetime, after: UUID | None, limit: int
) -> list[SessionCells]:
    """Return a page of the same sessions, after an id; those with an invalid MAC are left out."""
    values: dict[str, object] = {"b_subject": subject, "b_now": now, "b_limit": limit}
    if after is None:
        found = _FIRST.rows(tx, values)
    else:
        found = _AFTER.rows(tx, {**values, "b_after": after})
    held = (cells for cells in found if cells_hold(tx, SessionRow, cells[:_COVERED]))
    return [SessionCells(*cells) for cells in held]


def revoke(tx: Tx, session: UUID, now: datetime) -> bool:
    """End a session; return False if it had already ended."""
    row = one(tx, SessionRow, _FOR_CHANGE, {"b_id": session})
    return row is not None and row.revoked_at is None and _over(tx, row, now)


def idlest(tx: Tx, subject: UUID, now: datetime, keep: int) -> Sequence[UUID]:
    """Return the active sessions beyond a maximum, those with the oldest last use."""
    values = {"b_subject": subject, "b_now": now, "b_keep": keep}
    return tx.execute(_IDLEST, values).scalars().all()


def touch(tx: Tx, row: SessionCells, now: datetime) -> None:
    """Record that a session was used, unless it has changed since it was read."""
    change(tx, SessionRow, row, last_seen_at=now)


def ended(tx: Tx, before: datetime) -> list[UUID]:
    """Return a page of sessions that ended before a time, or were never activated.

    They are locked, so that nothing is added to them.
    """
    never = and_(SessionRow.taken_up_at.is_(None), SessionRow.created_at <= before)
    over = or_(SessionRow.expires_at <= before, SessionRow.revoked_at <= before, never)
    page = select(SessionRow.id).where(over).limit(PAGE)
    return list(tx.scalars(page.with_for_update(skip_locked=True)))


def drop(tx: Tx, sessions: Sequence[UUID]) -> None:
    """Delete sessions."""
    delete_rows(tx, SessionRow, _ROWS.c.id.in_(sessions))


def revoke_all(tx: Tx, now: datetime) -> int:
    """End all active sessions; return how many."""
    rows = holding(tx, SessionRow, _OPEN, {})
    return sum(_over(tx, row, now) for row in rows)


def forget_origins(tx: Tx, subject: UUID) -> None:
    """Delete the origins of all sessions of a subject."""
    with_origin = (_ROWS.c.subject_id == subject, _ROWS.c.origin.is_not(None))
    tx.execute(update(_ROWS).where(*with_origin).values(origin=None))


def _over(tx: Tx, row: object, now: datetime) -> bool:
    return change(tx, SessionRow, row, revoked_at=now, origin=None)
