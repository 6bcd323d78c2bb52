"""The table of sessions."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, cast
from uuid import UUID

from sqlalchemy import ForeignKey, Integer, and_, bindparam, or_, select, update
from sqlalchemy.orm import Mapped, mapped_column

from crypto.fields import FieldContext, Owner
from service.domain.ids import service_owner
from service.store.authentic import (
    change,
    delete_rows,
    holding,
    insert_later,
    one,
    reading,
    sound,
)
from service.store.base import Base, table_of
from service.store.dropping import PAGE
from service.store.engine import Tx
from service.store.personal_data import Personal, as_json, without
from service.store.sealed import encrypted_optional, encrypted_text, seal_value
from service.store.shapes import Authentic


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
    expires_at: Mapped[datetime]
    idle_seconds: Mapped[int]
    revoked_at: Mapped[datetime | None]
    taken_up_at: Mapped[datetime | None]
    replaces: Mapped[UUID | None] = mapped_column(index=True)
    device_id: Mapped[UUID | None]
    evidence = encrypted_text(
        "service", bound=("subject_id", "client_id", "expires_at", "idle_seconds")
    )
    origin = encrypted_optional("service", bound=("subject_id", "client_id"))

    def field_owner(self) -> Owner:
        """Return the reserved owner of sessions, which has a key in every process."""
        return service_owner("sessions")


_ROWS: Final = table_of(SessionRow)
_OWNER: Final = service_owner("sessions")
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
    row = cast("UUID", values["id"])
    bound = [
        str(values[name]) for name in ("subject_id", "client_id", "expires_at", "idle_seconds")
    ]
    cells: dict[str, bytes | None] = {
        "evidence": _sealed(tx, row, column="evidence", bound=bound, text=evidence),
        "origin": None,
    }
    if origin is not None:
        cells["origin"] = _sealed(tx, row, column="origin", bound=bound[:2], text=origin)
    insert_later(tx, SessionRow, {**values, **cells})


def _sealed(tx: Tx, row: UUID, *, column: str, bound: Sequence[str], text: str) -> bytes:
    """Seal a cell as the descriptor of its column does."""
    context = FieldContext(
        table="session",
        column=column,
        owner=_OWNER,
        row=row,
        extra="|".join(bound).encode(),
    )
    return seal_value(tx, "service", context, text.encode())


def get(tx: Tx, session: UUID) -> SessionRow | None:
    """Return a session by id, as currently stored."""
    return tx.get(SessionRow, session, populate_existing=True)


def owner(tx: Tx, session: UUID) -> UUID | None:
    """Return the owner of a session; it never changes, so it may be read before a lock."""
    query = select(_ROWS.c.subject_id).where(_ROWS.c.id == session)
    return tx.execute(query).scalar()


def heir(tx: Tx, session: UUID) -> UUID | None:
    """Return the session that replaced another, if one did."""
    rows = holding(tx, SessionRow, _HEIRS, {"b_id": session})
    return next((row.id for row in rows), None)


def take_up(tx: Tx, session: UUID, now: datetime) -> bool:
    """Activate a session; return False if it was activated before or has ended."""
    row = one(tx, SessionRow, _FOR_CHANGE, {"b_id": session})
    if row is None or row.taken_up_at is not None or row.revoked_at is not None:
        return False
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
) -> list[SessionRow]:
    """Return a page of the same sessions, after an id."""
    query = select(SessionRow).where(
        SessionRow.subject_id == subject,
        SessionRow.revoked_at.is_(None),
        SessionRow.expires_at > now,
    )
    if after is not None:
        query = query.where(SessionRow.id > after)
    return sound(tx, query.order_by(SessionRow.id).limit(limit))


def revoke(tx: Tx, session: UUID, now: datetime) -> bool:
    """End a session; return False if it had already ended."""
    row = one(tx, SessionRow, _FOR_CHANGE, {"b_id": session})
    return row is not None and row.revoked_at is None and _over(tx, row, now)


def idlest(tx: Tx, subject: UUID, now: datetime, keep: int) -> Sequence[UUID]:
    """Return the active sessions beyond a maximum, those with the oldest last use."""
    values = {"b_subject": subject, "b_now": now, "b_keep": keep}
    return tx.execute(_IDLEST, values).scalars().all()


def touch(tx: Tx, session: UUID, now: datetime) -> None:
    """Record that a session was used."""
    row = one(tx, SessionRow, _FOR_CHANGE, {"b_id": session})
    if row is not None:
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
