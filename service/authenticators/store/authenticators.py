"""Tables of authenticators, used TOTP steps and grants."""

from collections.abc import Collection, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ForeignKey,
    Index,
    LargeBinary,
    String,
    UniqueConstraint,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.orm import Mapped, mapped_column

from crypto.fields import FieldContext, Owner
from service.authenticators.store.codes import RecoveryCode
from service.domain.ids import subject_owner
from service.store.authentic import (
    change,
    delete_rows,
    holding,
    holds,
    insert_once,
    one,
    reading,
    sound,
    unchanged,
)
from service.store.base import Base, table_of
from service.store.dropping import drop_all, drop_page
from service.store.engine import Tx
from service.store.personal_data import Personal, plainly, through
from service.store.sealed import ClassBy, encrypted_bytes, encrypted_optional, open_value
from service.store.shapes import Authentic, Noted

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


class UsedStep(Noted, Base):
    """A TOTP time step that was accepted; it is never accepted again."""

    __tablename__ = "totp_used_step"
    __personal__ = Personal(
        purpose="to accept each code once",
        retention="10 minutes; the newest, as long as the authenticator",
        of=through("authenticator_id"),
    )

    authenticator_id: Mapped[UUID] = mapped_column(ForeignKey("authenticator.id"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class Grant(Authentic, Base):
    """A permission for one act on one subject, usable once within five minutes.

    It is valid only while the session that earned it is active; a grant from a recovery has no
    session.
    """

    __tablename__ = "grant"
    __members__ = (
        "digest",
        "subject_id",
        "client_id",
        "act",
        "session_id",
        "expires_at",
        "used_at",
    )
    __until__ = "expires_at"
    __table_args__ = (UniqueConstraint("digest"),)
    __personal__ = Personal(
        purpose="to allow one change, once",
        retention="5 minutes",
        withheld={"digest": "a digest of the grant, which was shown once"},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    subject_id: Mapped[UUID] = mapped_column(ForeignKey("subject.id"))
    client_id: Mapped[UUID]
    act: Mapped[str] = mapped_column(String(64))
    session_id: Mapped[UUID | None]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


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
_STEPS: Final = table_of(UsedStep)
_ACTIVE: Final = select(AuthenticatorRow).where(
    AuthenticatorRow.subject_id.in_(bindparam("b_subjects", expanding=True)),
    AuthenticatorRow.type == bindparam("b_type"),
    AuthenticatorRow.status == "active",
)
_VERIFIERS: Final = (
    reading(AuthenticatorRow)
    .add_columns(_ROWS.c.verifier)
    .where(
        _ROWS.c.subject_id.in_(bindparam("b_subjects", expanding=True)), _ROWS.c.status == "active"
    )
)
_TYPES: Final = reading(AuthenticatorRow).where(
    _ROWS.c.subject_id == bindparam("b_subject"), _ROWS.c.status == "active"
)
_SETTLED: Final = reading(AuthenticatorRow).where(
    _ROWS.c.id.in_(bindparam("b_ids", expanding=True)),
    _ROWS.c.status == "active",
    _ROWS.c.confirmed_at <= bindparam("b_before"),
)
_ONE: Final = reading(AuthenticatorRow).where(_ROWS.c.id == bindparam("b_id"))
_GRANT: Final = reading(Grant).where(Grant.digest == bindparam("b_digest"))
_READ: Final = "lamina_active_read"
_NEW_STEP: Final = select(
    bindparam("authenticator_id", type_=_STEPS.c.authenticator_id.type),
    bindparam("step", type_=_STEPS.c.step.type),
).where(
    ~exists().where(
        _STEPS.c.authenticator_id == bindparam("authenticator_id"),
        _STEPS.c.step >= bindparam("step"),
        _STEPS.c.step <= bindparam("b_newest"),
    )
)
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


def verifier(tx: Tx, subject: UUID, decoy: UUID, kind: str) -> Any:  # noqa: ANN401 - a row of named columns, or None
    """Return the active verifier row of a type, still sealed, or the decoy's.

    One row is authenticated, whether or not the subject exists. The same query reads all active
    rows, for `active_types` in the same transaction.
    """
    return _first(tx, _verifiers(tx, subject, decoy), subject, kind)


def set_of_codes(tx: Tx, subject: UUID, decoy: UUID, kind: str) -> tuple[Any, UUID | None]:
    """Return the set of codes as `verifier` does, and the id of the decoy's set."""
    rows = _verifiers(tx, subject, decoy)
    spare = (row.id for row in rows if row.type == kind and row.subject_id == decoy)
    return _first(tx, rows, subject, kind), next(spare, None)


def _first(tx: Tx, rows: Sequence[Any], subject: UUID, kind: str) -> Any:  # noqa: ANN401 - as above
    mine = sorted(rows, key=lambda row: bool(row.subject_id != subject))
    found = (row for row in mine if row.type == kind and holds(tx, AuthenticatorRow, row))
    return next(found, None)


def verifiers(
    tx: Tx, subject: UUID, *, decoy: UUID, kind: str, most: int
) -> tuple[list[Any], list[Any]]:
    """Return the active rows of a type, oldest first, and the decoy's for each one missing.

    The same number of rows is authenticated for every subject.
    """
    rows = [row for row in _verifiers(tx, subject, decoy) if row.type == kind]
    rows.sort(key=attrgetter("id"))
    own = [row for row in rows if row.subject_id == subject][:most]
    spare = [row for row in rows if row.subject_id == decoy][:1] * (most - len(own))
    return _holding(tx, own), _holding(tx, spare)


def _holding(tx: Tx, rows: Sequence[Any]) -> list[Any]:
    return [row for row in rows if holds(tx, AuthenticatorRow, row)]


def _verifiers(tx: Tx, subject: UUID, decoy: UUID) -> Sequence[Any]:
    rows = tx.execute(_VERIFIERS, {"b_subjects": [subject, decoy]}).all()
    if unchanged(tx, AuthenticatorRow):
        tx.info[_READ] = (subject, [row for row in rows if row.subject_id == subject])
    return rows


def opened(tx: Tx, row: Any) -> bytes:  # noqa: ANN401 - a row of named columns
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
    rows = _read_before(tx, subject)
    if rows is None:
        rows = holding(tx, AuthenticatorRow, _TYPES, {"b_subject": subject})
    else:
        rows = [row for row in rows if holds(tx, AuthenticatorRow, row)]
    return {row.id: row.type for row in rows}


def _read_before(tx: Tx, subject: UUID) -> Sequence[Any] | None:
    """Return the rows that `verifier` read, unless this transaction has changed any since."""
    owner, rows = tx.info.get(_READ, (None, ()))
    return rows if owner == subject and unchanged(tx, AuthenticatorRow) else None


def established(tx: Tx, authenticators: Collection[UUID], before: datetime) -> frozenset[UUID]:
    """Return the authenticators that are active and were confirmed by a given time."""
    values = {"b_ids": list(authenticators), "b_before": before}
    return frozenset(row.id for row in holding(tx, AuthenticatorRow, _SETTLED, values))


def use_step(tx: Tx, authenticator: UUID, step: int, newest: int) -> bool:
    """Accept a time step once; return False if it or a later acceptable one was used."""
    values = {"authenticator_id": authenticator, "step": step}
    return insert_once(
        tx, model=UsedStep, values=values, unless=_NEW_STEP, bound={"b_newest": newest}
    )


def newest_step(tx: Tx, authenticator: UUID) -> int:
    """Return the newest time step that was accepted; 0 if there is none."""
    query = select(func.max(_STEPS.c.step)).where(_STEPS.c.authenticator_id == authenticator)
    return tx.scalar(query) or 0


def touch(tx: Tx, authenticator: UUID, now: datetime) -> bool:
    """Record the time of use; return False if the authenticator is not active."""
    return tx.execute(_TOUCH, {"b_id": authenticator, "b_now": now}).first() is not None


def use_grant(  # noqa: PLR0913 - what a grant is bound to
    tx: Tx, *, digest: bytes, subject: UUID, client: UUID, act: str, now: datetime, latest: datetime
) -> tuple[UUID | None] | None:
    """Use a grant; return None if it is expired, used, or not for this act.

    A grant that expires after the latest possible time was issued by a wrong clock and is refused.

    Returns:
        The session that earned it, if there is one.
    """
    row = one(tx, Grant, _GRANT, {"b_digest": digest})
    if row is None or row.used_at is not None or not now < row.expires_at <= latest:
        return None
    meant = (row.subject_id, row.client_id, row.act) == (subject, client, act)
    return (row.session_id,) if meant and change(tx, Grant, row, used_at=now) else None


def drop_recoveries(tx: Tx, subject: UUID) -> None:
    """Delete a subject's unused grants from recoveries."""
    earned = (Grant.subject_id == subject, Grant.session_id.is_(None), Grant.used_at.is_(None))
    delete_rows(tx, Grant, *earned)


def drop_grants(tx: Tx, now: datetime) -> int:
    """Delete a page of expired grants; return how many."""
    grants = table_of(Grant)
    return drop_page(tx, grants, grants.c.expires_at <= now)


def drop_all_grants(tx: Tx) -> int:
    """Delete all grants; return how many."""
    return drop_all(tx, table_of(Grant))


def drop_steps(tx: Tx, before: int) -> int:
    """Delete a page of used steps; return how many.

    The newest step of an authenticator is always kept: it blocks itself and all earlier ones, so a
    clock that ran ahead for a while cannot make a used code valid again.
    """
    later, ended = _STEPS.alias(), select(_ROWS.c.id).where(_ROWS.c.status == "revoked")
    newer = exists().where(
        later.c.authenticator_id == _STEPS.c.authenticator_id, later.c.step > _STEPS.c.step
    )
    over = or_(and_(_STEPS.c.step < before, newer), _STEPS.c.authenticator_id.in_(ended))
    return drop_page(tx, _STEPS, over)


def drop_rows(tx: Tx, pending: datetime, revoked: datetime) -> int:
    """Delete a page of authenticators: pending since a time, or revoked and unused since.

    Returns:
        The number of deleted rows.
    """
    unused = func.coalesce(_ROWS.c.last_used_at, _ROWS.c.created_at)
    over = or_(
        and_(_ROWS.c.status == "pending", _ROWS.c.created_at <= pending),
        and_(_ROWS.c.status == "revoked", unused <= revoked),
    )
    referring = (
        ~exists().where(table_of(model).c.authenticator_id == _ROWS.c.id)
        for model in (UsedStep, RecoveryCode)
    )
    return drop_page(tx, _ROWS, over, *referring)


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
