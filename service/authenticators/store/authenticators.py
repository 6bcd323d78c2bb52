"""The table of authenticators."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Final, NamedTuple, Protocol, cast
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    ForeignKey,
    Index,
    String,
    and_,
    bindparam,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.orm import Mapped, mapped_column

from crypto.fields import FieldContext, Owner
from service.domain.ids import subject_owner
from service.store.ahead import PlannedRead, remembered
from service.store.authentic import (
    cells_hold,
    change,
    holding,
    holds,
    one,
    reading,
    sound,
    unchanged,
)
from service.store.base import Base, table_of
from service.store.driver_sql import Cells
from service.store.engine import Tx, changed
from service.store.later import later
from service.store.part import Part
from service.store.personal_data import Personal, plainly
from service.store.prepared import DriverRead
from service.store.sealed import ClassBy, encrypted_bytes, encrypted_optional, open_value
from service.store.shapes import Authentic, shape_of

_OVER: Final = "status <> 'active'"
_ONE_EACH: Final = "status = 'active' AND type <> 'totp'"
"""Several code generators are allowed; the subject's lock enforces their maximum."""


class AuthenticatorRow(Authentic, Base):
    """An authenticator; its verifier opens only with this id, subject, type and status.

    `session_id` is the session that earned the enrollment's grant and survives the change.
    `begun_by` is the client that began the enrollment; only this client may confirm it.
    """

    __tablename__ = "authenticator"
    __members__ = (
        "subject_id",
        "type",
        "status",
        "created_at",
        "confirmed_at",
        "session_id",
        "begun_by",
    )
    __table_args__ = (
        Index(
            "uq_authenticator_active",
            "subject_id",
            "type",
            unique=True,
            sqlite_where=text(_ONE_EACH),
            postgresql_where=text(_ONE_EACH),
        ),
        Index(
            "ix_authenticator_ended",
            "status",
            "created_at",
            sqlite_where=text(_OVER),
            postgresql_where=text(_OVER),
        ),
    )
    __personal__ = Personal(
        purpose="to verify that it is this person who signs in",
        retention="its verifier: until revoked or erased; the record of it: 400 days after "
        "its last use; unconfirmed, an hour",
        withheld={
            "verifier": "password: its hash; totp: the shared secret; face: template vectors. "
            "Anyone who has it could impersonate the person",
        },
        shown={"name": plainly},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    subject_id: Mapped[UUID] = mapped_column(ForeignKey("subject.id"), index=True)
    type: Mapped[str] = mapped_column(String(32))
    status: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    session_id: Mapped[UUID | None]
    begun_by: Mapped[UUID | None]
    verifier = encrypted_bytes(
        ClassBy("type", {"face": "biometric"}, "factor"), bound=("type", "status")
    )
    name = encrypted_optional("factor")

    def field_owner(self) -> Owner:
        """Return the subject who enrolled it."""
        return subject_owner(self.subject_id)


class _Known(NamedTuple):
    subject: UUID
    types: Mapping[UUID, str]


class SealedVerifier(Protocol):
    """The columns of an authenticator by name, with its verifier still sealed."""

    id: UUID
    subject_id: UUID
    type: str
    status: str
    verifier: bytes


class _Read(NamedTuple):
    subject: UUID
    rows: Sequence[SealedVerifier]


def get(tx: Tx, authenticator: UUID, *, lock: bool = False) -> AuthenticatorRow | None:
    """Return an authenticator by id; locked if its status decides a write."""
    return tx.get(AuthenticatorRow, authenticator, with_for_update=lock or None)


def page(tx: Tx, subject: UUID, after: UUID | None, limit: int) -> list[AuthenticatorRow]:
    """Return a page of a subject's active or pending authenticators, after an id."""
    query = select(AuthenticatorRow).where(
        AuthenticatorRow.subject_id == subject, AuthenticatorRow.status != "revoked"
    )
    if after is not None:
        query = query.where(AuthenticatorRow.id > after)
    return sound(tx, query.order_by(AuthenticatorRow.id).limit(limit))


def of_subject(tx: Tx, subject: UUID) -> list[AuthenticatorRow]:
    """Return the authenticators of a subject, oldest first."""
    query = select(AuthenticatorRow).where(AuthenticatorRow.subject_id == subject)
    return sound(tx, query.order_by(AuthenticatorRow.id))


_ROWS: Final = table_of(AuthenticatorRow)
_ACTIVE: Final = select(AuthenticatorRow).where(
    AuthenticatorRow.subject_id.in_(bindparam("b_subjects", expanding=True)),
    AuthenticatorRow.type == bindparam("b_type"),
    AuthenticatorRow.status == "active",
)
_VERIFIERS: Final = (
    reading(AuthenticatorRow)
    .add_columns(_ROWS.c.verifier)
    .where(
        or_(
            _ROWS.c.subject_id == bindparam("b_subject"), _ROWS.c.subject_id == bindparam("b_decoy")
        ),
        _ROWS.c.status == "active",
    )
)
_TYPES: Final = DriverRead(
    reading(AuthenticatorRow).where(
        _ROWS.c.subject_id == bindparam("b_subject"), _ROWS.c.status == "active"
    )
)
_TYPE: Final = shape_of(AuthenticatorRow).names.index("type")
_SETTLED: Final = reading(AuthenticatorRow).where(
    _ROWS.c.id.in_(bindparam("b_ids", expanding=True)),
    _ROWS.c.status == "active",
    _ROWS.c.confirmed_at <= bindparam("b_before"),
)
_ONE: Final = reading(AuthenticatorRow).where(_ROWS.c.id == bindparam("b_id"))
_READ: Final = "lamina_active_read"
_KNOWN: Final = "lamina_active_known"
_WAITING: Final = (
    select(_ROWS.c.created_at)
    .where(
        _ROWS.c.subject_id == bindparam("b_subject"),
        _ROWS.c.status == "pending",
        _ROWS.c.created_at > bindparam("b_since"),
    )
    .order_by(_ROWS.c.created_at.desc())
)
_TOUCH: Final = (
    update(_ROWS)
    .where(_ROWS.c.id == bindparam("b_id"), _ROWS.c.status == "active")
    .values(last_used_at=bindparam("b_now"))
    .returning(_ROWS.c.id)
)


def active(tx: Tx, subjects: tuple[UUID, ...], kind: str) -> list[AuthenticatorRow]:
    """Return the active authenticators of one type of some subjects."""
    return sound(tx, _ACTIVE.params(b_subjects=list(subjects), b_type=kind))


def verifiers_ahead(subject: UUID, decoy: UUID) -> PlannedRead:
    """Return what `verifier`, `verifiers` and `set_of_codes` read."""
    return PlannedRead(_VERIFIERS, {"b_subject": subject, "b_decoy": decoy})


def types_ahead(subject: UUID) -> PlannedRead:
    """Return what `active_types` reads."""
    return PlannedRead(_TYPES.statement, {"b_subject": subject})


def verifier(tx: Tx, subject: UUID, decoy: UUID, kind: str) -> SealedVerifier | None:
    """Return the active verifier row of a type, still sealed, or the decoy's.

    One row is authenticated, whether or not the subject exists. The same query reads all active
    rows, for `active_types` in the same transaction.
    """
    return _first(tx, _verifiers(tx, subject, decoy), subject, kind)


def set_of_codes(
    tx: Tx, subject: UUID, decoy: UUID, kind: str
) -> tuple[SealedVerifier | None, UUID | None]:
    """Return the set of codes as `verifier` does, and the id of the decoy's set."""
    rows = _verifiers(tx, subject, decoy)
    spare = (row.id for row in rows if row.type == kind and row.subject_id == decoy)
    return _first(tx, rows, subject, kind), next(spare, None)


def _first(
    tx: Tx, rows: Sequence[SealedVerifier], subject: UUID, kind: str
) -> SealedVerifier | None:
    mine = sorted(rows, key=lambda row: row.subject_id != subject)
    found = (row for row in mine if row.type == kind and holds(tx, AuthenticatorRow, row))
    return next(found, None)


def verifiers(
    tx: Tx, subject: UUID, *, decoy: UUID, kind: str, most: int
) -> tuple[list[SealedVerifier], list[SealedVerifier]]:
    """Return the active rows of a type, oldest first, and the decoy's for each one missing.

    The same number of rows is authenticated for every subject.
    """
    rows = [row for row in _verifiers(tx, subject, decoy) if row.type == kind]
    rows.sort(key=attrgetter("id"))
    own = [row for row in rows if row.subject_id == subject][:most]
    spare = [row for row in rows if row.subject_id == decoy][:1] * (most - len(own))
    return _holding(tx, own), _holding(tx, spare)


def _holding(tx: Tx, rows: Sequence[SealedVerifier]) -> list[SealedVerifier]:
    return [row for row in rows if holds(tx, AuthenticatorRow, row)]


def _verifiers(tx: Tx, subject: UUID, decoy: UUID) -> Sequence[SealedVerifier]:
    found = tx.execute(*verifiers_ahead(subject, decoy)).all()
    # A row has the columns of its statement, which mypy cannot see.
    rows = cast("Sequence[SealedVerifier]", found)
    if unchanged(tx, AuthenticatorRow):
        remembered(tx)[_READ] = _Read(subject, [row for row in rows if row.subject_id == subject])
    return rows


def opened(tx: Tx, row: SealedVerifier) -> bytes:
    """Return the verifier of a row; raises OpenError or KeyUnavailable."""
    bound = f"{row.type}|{row.status}".encode()
    context = FieldContext(
        table="authenticator",
        column="verifier",
        owner=subject_owner(row.subject_id),
        row=row.id,
        extra=bound,
    )
    return open_value(tx, AuthenticatorRow.verifier.key_class(row), context, row.verifier)


def waiting(tx: Tx, subject: UUID, since: datetime) -> Sequence[datetime]:
    """Return when the pending authenticators were added, newest first."""
    return tx.execute(_WAITING, {"b_subject": subject, "b_since": since}).scalars().all()


def pending(tx: Tx, subject: UUID, but: UUID | None) -> list[AuthenticatorRow]:
    """Return the pending authenticators, except those begun by one session."""
    query = select(AuthenticatorRow).where(
        AuthenticatorRow.subject_id == subject, AuthenticatorRow.status == "pending"
    )
    return [row for row in sound(tx, query) if but is None or row.session_id != but]


def active_types(tx: Tx, subject: UUID) -> dict[UUID, str]:
    """Return the ids and types of active authenticators."""
    known = _known(tx)
    if known is not None and known.subject == subject and unchanged(tx, AuthenticatorRow):
        return dict(known.types)
    read = _read_before(tx)
    if read is not None and read.subject == subject:
        types = {row.id: row.type for row in _holding(tx, read.rows)}
    else:
        found = _TYPES.rows(tx, {"b_subject": subject})
        held = (cells for cells in found if cells_hold(tx, AuthenticatorRow, cells))
        types = {cells[0]: cells[_TYPE] for cells in held}
    if unchanged(tx, AuthenticatorRow):
        remembered(tx)[_KNOWN] = _Known(subject, types)
    return dict(types)


def beside(subject: ColumnElement[UUID]) -> Part:
    """Return the active authenticators, for a statement that reads those of its own rows."""
    active = and_(_ROWS.c.subject_id == subject, _ROWS.c.status == "active")
    return Part(shape_of(AuthenticatorRow).columns, _ROWS, active)


def standing(tx: Tx, found: Iterable[Cells]) -> frozenset[UUID]:
    """Return the ids among the cells that `beside` selects, of rows with a valid MAC."""
    # The join gives a row of nothing for a subject without any.
    there = (cells for cells in found if cells[0] is not None)
    return frozenset(cells[0] for cells in there if cells_hold(tx, AuthenticatorRow, cells))


def _known(tx: Tx) -> _Known | None:
    return cast("_Known | None", remembered(tx).get(_KNOWN))


def _read_before(tx: Tx) -> _Read | None:
    """Return the rows that `verifier` read, unless this transaction has changed any since."""
    read = cast("_Read | None", remembered(tx).get(_READ))
    return read if unchanged(tx, AuthenticatorRow) else None


def established(tx: Tx, authenticators: Collection[UUID], before: datetime) -> frozenset[UUID]:
    """Return the authenticators that are active and were confirmed by a given time."""
    values = {"b_ids": list(authenticators), "b_before": before}
    return frozenset(row.id for row in holding(tx, AuthenticatorRow, _SETTLED, values))


def touch(tx: Tx, authenticator: UUID, now: datetime) -> bool:
    """Record the time of use; return False if the authenticator is not active.

    One that this transaction has read as active is written with other rows; the transaction ends
    with Conflict if it was revoked since.
    """
    values = {"b_id": authenticator, "b_now": now}
    if _read_as_active(tx, authenticator):
        later(tx, _TOUCH, values, else_raise=changed)
        return True
    return tx.execute(_TOUCH, values).first() is not None


def _read_as_active(tx: Tx, authenticator: UUID) -> bool:
    known = _known(tx)
    read = _read_before(tx)
    if known is not None and authenticator in known.types:
        return unchanged(tx, AuthenticatorRow)
    return read is not None and any(row.id == authenticator for row in read.rows)


def begin(tx: Tx, authenticator: UUID, client: UUID) -> None:
    """Record which client began an enrollment."""
    row = one(tx, AuthenticatorRow, _ONE, {"b_id": authenticator})
    if row is not None:
        change(tx, AuthenticatorRow, row, begun_by=client)


def begun_by(tx: Tx, authenticator: UUID, client: UUID) -> bool:
    """Return whether a client began the enrollment of an authenticator."""
    row = one(tx, AuthenticatorRow, _ONE, {"b_id": authenticator})
    return row is not None and row.begun_by == client


def mark_revoked(tx: Tx, row: AuthenticatorRow) -> None:
    """Mark an authenticator as revoked without opening its verifier, which will be erased."""
    change(tx, AuthenticatorRow, row, status="revoked")
