"""Tables of subjects, blind-index digests, verification codes, consents and suspensions."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    UniqueConstraint,
    bindparam,
    exists,
    func,
    select,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from crypto.fields import Owner
from service.domain.ids import subject_owner
from service.store.ahead import PlannedRead
from service.store.authentic import (
    cells_hold,
    change,
    delete_rows,
    holding,
    insert_once,
    reading,
    refused,
    sound,
)
from service.store.base import Base, table_of
from service.store.driver_sql import Cells
from service.store.dropping import PAGE
from service.store.engine import Tx
from service.store.part import Part
from service.store.personal_data import Personal, as_json, plainly
from service.store.prepared import DriverRead
from service.store.sealed import encrypted_bytes, encrypted_optional
from service.store.shapes import Authentic


class Subject(Authentic, Base):
    """A person, with personal data sealed field by field."""

    __tablename__ = "subject"
    __table_args__ = (Index("ix_subject_listed", "segment", "status", "id"),)
    __members__ = ("status", "segment", "client_id", "created_at", "first_login_at")
    __personal__ = Personal(
        purpose="who the person is, how they are reached and found",
        retention="until erasure",
        of=lambda columns, whose: columns.id == whose.subject,
        shown={"username": plainly, "email": plainly, "phone": plainly, "profile": as_json},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(String(16))
    segment: Mapped[str] = mapped_column(String(64))
    client_id: Mapped[UUID]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    first_login_at: Mapped[datetime | None]
    username = encrypted_optional("contact")
    email = encrypted_optional("contact")
    phone = encrypted_optional("contact")
    profile = encrypted_optional("identity")

    def field_owner(self) -> Owner:
        """Return the subject itself."""
        return subject_owner(self.id)


class SubjectIndex(Authentic, Base):
    """A subject's claim to an identifier: its blind-index digest, and when it was verified.

    Several subjects may claim an address; the one that verifies it owns it. A username, to which no
    code can be sent, is verified by being registered first.
    """

    __tablename__ = "subject_index"
    __members__ = ("field", "key_version", "digest", "subject_id", "verified_at", "form")
    __table_args__ = (
        UniqueConstraint("subject_id", "field", "key_version"),
        Index(None, "field", "key_version", "digest"),
        Index(
            "uq_subject_index_verified",
            "field",
            "key_version",
            "digest",
            unique=True,
            sqlite_where=text("verified_at IS NOT NULL"),
            postgresql_where=text("verified_at IS NOT NULL"),
        ),
    )
    __personal__ = Personal(
        purpose="to find the person by an identifier without storing it in the clear",
        retention="until the identifier changes, or erasure",
        withheld={"digest": "a keyed digest of the identifier, which is given with the subject"},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    field: Mapped[str] = mapped_column(String(16))
    key_version: Mapped[int]
    digest: Mapped[bytes] = mapped_column(LargeBinary(16))
    subject_id: Mapped[UUID] = mapped_column(ForeignKey("subject.id"), index=True)
    verified_at: Mapped[datetime | None]
    form: Mapped[int]


class VerificationCode(Authentic, Base):
    """A code sent to an address to verify it; sealed together with the address."""

    __tablename__ = "verification_code"
    __members__ = ("subject_id", "field", "expires_at")
    __until__ = "expires_at"
    __table_args__ = (UniqueConstraint("subject_id", "field"),)
    __personal__ = Personal(
        purpose="to verify that the person reads the address",
        retention="until another code is sent, the address changes or is verified, or erasure; "
        "it counts for 10 minutes",
        withheld={"code": "the code verifies the address, and was sent there"},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    subject_id: Mapped[UUID] = mapped_column(ForeignKey("subject.id"))
    field: Mapped[str] = mapped_column(String(16))
    expires_at: Mapped[datetime] = mapped_column(index=True)
    code = encrypted_bytes("factor", bound=("field",))

    def field_owner(self) -> Owner:
        """Return the subject that owns the address."""
        return subject_owner(self.subject_id)


class Consent(Authentic, Base):
    """A consent: its purpose, wording, time and channel; and its withdrawal."""

    __tablename__ = "consent"
    __members__ = (
        "subject_id",
        "purpose",
        "version",
        "text_hash",
        "locale",
        "channel",
        "given_at",
        "withdrawn_at",
    )
    __table_args__ = (
        Index(
            "uq_consent_in_force",
            "subject_id",
            "purpose",
            unique=True,
            sqlite_where=text("withdrawn_at IS NULL"),
            postgresql_where=text("withdrawn_at IS NULL"),
        ),
    )
    __personal__ = Personal(
        purpose="to prove consent and its withdrawal",
        retention="until erasure; of withdrawn consents the newest 200, "
        "as the log records the others",
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    subject_id: Mapped[UUID] = mapped_column(ForeignKey("subject.id"), index=True)
    purpose: Mapped[str] = mapped_column(String(64))
    version: Mapped[str] = mapped_column(String(64))
    text_hash: Mapped[str] = mapped_column(String(128))
    locale: Mapped[str] = mapped_column(String(35))
    channel: Mapped[str] = mapped_column(String(64))
    given_at: Mapped[datetime]
    withdrawn_at: Mapped[datetime | None]


class Suspension(Authentic, Base):
    """A capability that a subject may not use until the suspension is lifted."""

    __tablename__ = "suspension"
    __members__ = ("subject_id", "capability", "reason", "since")
    __table_args__ = (UniqueConstraint("subject_id", "capability"),)
    __personal__ = Personal(
        purpose="to keep a capability from being used", retention="until it is lifted"
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    subject_id: Mapped[UUID] = mapped_column(ForeignKey("subject.id"))
    capability: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(String(64))
    since: Mapped[datetime]


_INDEX: Final = table_of(SubjectIndex)


def suspend(tx: Tx, values: Mapping[str, object]) -> bool:
    """Suspend a capability; return False if it is already suspended."""
    return insert_once(tx, model=Suspension, values=values)


def lift(tx: Tx, subject: UUID, capability: str) -> bool:
    """Lift a suspension; return False if there is none."""
    which = (Suspension.subject_id == subject, Suspension.capability == capability)
    return delete_rows(tx, Suspension, *which) > 0


def suspensions(
    tx: Tx, subject: UUID, after: UUID | None = None, limit: int | None = None
) -> list[Suspension]:
    """Return the suspensions of a subject, oldest first: all, or a page after an id."""
    query = select(Suspension).where(Suspension.subject_id == subject).order_by(Suspension.id)
    if after is not None:
        query = query.where(Suspension.id > after)
    return sound(tx, query.limit(limit))


def add_digest(tx: Tx, values: Mapping[str, object]) -> bool:
    """Add a digest of a claim; return False if another subject holds the identifier."""
    return insert_once(tx, model=SubjectIndex, values=values)


def drop_contact(tx: Tx, subject: UUID) -> None:
    """Delete a subject's digests and verification codes."""
    delete_rows(tx, SubjectIndex, _INDEX.c.subject_id == subject)
    delete_rows(tx, VerificationCode, VerificationCode.subject_id == subject)


def mark_erased(tx: Tx, subject: UUID, status: str, now: datetime) -> None:
    """Set the final status of a subject and withdraw its consents."""
    row = get(tx, subject)
    if row is not None:
        row.status = status
        row.updated_at = now
    for consent in consents(tx, subject):
        consent.withdrawn_at = consent.withdrawn_at or now
    tx.flush()


def get(tx: Tx, subject: UUID) -> Subject | None:
    """Return a subject by id."""
    return tx.get(Subject, subject)


_SUBJECTS: Final = table_of(Subject)
_SUSPENSIONS: Final = table_of(Suspension)
_CONSENTS: Final = table_of(Consent)
PLAIN_COLUMNS: Final = reading(Subject).add_columns(
    exists()
    .where(_SUSPENSIONS.c.subject_id == _SUBJECTS.c.id, _SUSPENSIONS.c.capability == "login")
    .label("suspended"),
)
_ACCOUNT: Final = tuple(PLAIN_COLUMNS.selected_columns)
_PLAIN: Final = DriverRead(PLAIN_COLUMNS.where(_SUBJECTS.c.id == bindparam("b_id")))
_STATUS: Final = select(_SUBJECTS.c.status).where(_SUBJECTS.c.id == bindparam("b_id"))
# FOR NO KEY UPDATE: rows that only refer to the subject can still be inserted.
_LOCK: Final = _STATUS.with_for_update(key_share=True)
_LOCKED: Final = "lamina_locked"
_IN_FORCE: Final = reading(Consent).where(
    _CONSENTS.c.subject_id == bindparam("b_id"),
    _CONSENTS.c.purpose == bindparam("b_purpose"),
    _CONSENTS.c.withdrawn_at.is_(None),
)
_HELD: Final = _IN_FORCE.with_for_update(read=True)


class AccountCells(NamedTuple):
    """A subject without its sealed columns, and whether its login is suspended."""

    id: UUID
    status: str
    segment: str
    client_id: UUID
    created_at: datetime
    first_login_at: datetime | None
    mac: bytes
    suspended: bool


Digests = Sequence[tuple[int, bytes]]
"""One digest per live version of the index key."""


def lock(tx: Tx, subject: UUID) -> str | None:
    """Lock a subject's row until the transaction ends; on SQLite the write lock already does.

    Returns:
        The subject's status, or an empty string if there is no such subject. None if this call
        acquired no lock.
    """
    locked: set[UUID] = tx.info.setdefault(_LOCKED, set())
    if subject in locked or tx.get_bind().dialect.name != "postgresql":
        return None
    tx.flush()
    found = tx.execute(_LOCK, {"b_id": subject}).scalar() or ""
    # Rows read earlier may have changed while this waited for the lock.
    tx.expire_all()
    locked.add(subject)
    return str(found)


def added(tx: Tx, subject: UUID) -> None:
    """Record that the transaction has locked a subject, or inserted it unseen."""
    tx.info.setdefault(_LOCKED, set()).add(subject)


def status(tx: Tx, subject: UUID) -> str | None:
    """Return a subject's status; None if there is no such subject."""
    return tx.execute(_STATUS, {"b_id": subject}).scalar()


def lock_all(tx: Tx, subjects: Collection[UUID]) -> None:
    """Lock the rows of several subjects, by ascending id."""
    if tx.get_bind().dialect.name == "postgresql":
        query = select(_SUBJECTS.c.id).where(_SUBJECTS.c.id.in_(list(subjects)))
        tx.execute(query.order_by(_SUBJECTS.c.id).with_for_update(key_share=True))


def plain_ahead(subject: UUID) -> PlannedRead:
    """Return what `plain` reads."""
    return PlannedRead(_PLAIN.statement, {"b_id": subject})


def plain(tx: Tx, subject: UUID) -> AccountCells | None:
    """Return the columns of a subject that are not sealed, and whether its login is suspended."""
    found = _PLAIN.rows(tx, {"b_id": subject})
    return plain_of(tx, found[0]) if found else None


def beside(subject: ColumnElement[UUID]) -> Part:
    """Return the columns of `plain`, for a statement that reads the subject of its own rows."""
    return Part(_ACCOUNT, _SUBJECTS, _SUBJECTS.c.id == subject)


def plain_of(tx: Tx, cells: Cells) -> AccountCells | None:
    """Return the cells that `beside` selects; None if the join found no subject.

    Raises:
        RowRefused: The row has no valid MAC.
    """
    if cells[0] is None:
        return None
    if not cells_hold(tx, Subject, cells[:-1]):
        raise refused()
    return AccountCells(*cells)


def consented(tx: Tx, subject: UUID, purpose: str, *, for_share: bool) -> bool:
    """Return whether a consent is active; `for_share` locks it until the transaction ends."""
    query = _HELD if for_share else _IN_FORCE
    return bool(holding(tx, Consent, query, {"b_id": subject, "b_purpose": purpose}))


def mark_login(tx: Tx, subject: UUID, now: datetime) -> None:
    """Record the first completed login."""
    row = plain(tx, subject)
    if row is not None and row.first_login_at is None:
        change(tx, Subject, row, first_login_at=now)


def in_force(tx: Tx, subject: UUID, purpose: str) -> list[Consent]:
    """Return the active consents to a purpose."""
    query = select(Consent).where(
        Consent.subject_id == subject, Consent.purpose == purpose, Consent.withdrawn_at.is_(None)
    )
    return sound(tx, query)


def count_in_force(tx: Tx, subject: UUID, most: int) -> int:
    """Count the active consents of a subject, up to a limit."""
    rows = select(_CONSENTS.c.id).where(
        _CONSENTS.c.subject_id == subject, _CONSENTS.c.withdrawn_at.is_(None)
    )
    return tx.scalar(select(func.count()).select_from(rows.limit(most).subquery())) or 0


def drop_consents(tx: Tx, subject: UUID, keep: int) -> None:
    """Delete the oldest withdrawn consents of a subject, except the newest `keep`."""
    over = select(_CONSENTS.c.id).where(
        _CONSENTS.c.subject_id == subject, _CONSENTS.c.withdrawn_at.is_not(None)
    )
    surplus = over.order_by(_CONSENTS.c.id.desc()).limit(PAGE).offset(keep)
    delete_rows(tx, Consent, _CONSENTS.c.id.in_(surplus))


def consents(
    tx: Tx, subject: UUID, after: UUID | None = None, limit: int | None = None
) -> list[Consent]:
    """Return the consents of a subject, oldest first: all, or a page after an id."""
    query = select(Consent).where(Consent.subject_id == subject).order_by(Consent.id)
    if after is not None:
        query = query.where(Consent.id > after)
    return sound(tx, query.limit(limit))
