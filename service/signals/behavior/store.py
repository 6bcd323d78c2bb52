"""The table of behavior profiles."""

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Final
from uuid import UUID

from sqlalchemy import (
    ForeignKey,
    String,
    UniqueConstraint,
    bindparam,
    delete,
    select,
    update,
)
from sqlalchemy.orm import Mapped, mapped_column

from crypto.fields import FieldContext, Owner
from service.domain.ids import subject_owner
from service.store.ahead import PlannedRead
from service.store.base import Base, table_of
from service.store.dropping import drop_page
from service.store.engine import Tx, insert_once
from service.store.personal_data import Personal
from service.store.sealed import encrypted_bytes, open_value, seal_value

CLASS: Final = "behavior"


class ProfileRow(Base):
    """The profile of a subject's typing of one password on one class of device, sealed.

    Timing reveals something about the password, so the profile opens with its password only.
    """

    __tablename__ = "behavior_profile"
    __table_args__ = (UniqueConstraint("subject_id", "device_class", "signal"),)
    __personal__ = Personal(
        purpose="to distinguish the person's typing and handling from another's",
        retention="400 days after its last sample; until consent is withdrawn",
        withheld={"content": "template vectors: a forger could imitate them"},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    subject_id: Mapped[UUID] = mapped_column(ForeignKey("subject.id"))
    device_class: Mapped[str] = mapped_column(String(16))
    signal: Mapped[str] = mapped_column(String(16))
    password_id: Mapped[UUID]
    samples: Mapped[int]
    absent: Mapped[int]
    updated_at: Mapped[datetime]
    content = encrypted_bytes(CLASS, bound=("device_class", "signal", "password_id"))

    def field_owner(self) -> Owner:
        """Return the subject who typed."""
        return subject_owner(self.subject_id)


@dataclass(frozen=True, slots=True)
class ProfileKey:
    """The key of a profile: subject, password, device class and signal.

    Args:
        password: Authenticator id of the password, which changes with each new password.
    """

    subject: UUID
    password: UUID
    device_class: str
    signal: str


@dataclass(kw_only=True, frozen=True, slots=True)
class Sealed:
    """A profile as stored.

    Args:
        samples: Number of samples it was ever made of.
        absent: Number of consecutive strong logins without a sample.
    """

    id: UUID
    place: ProfileKey
    samples: int
    absent: int
    content: bytes = field(repr=False)

    @property
    def state(self) -> Hashable:
        """A value that identifies the state of the profile, with a digest of its content."""
        digest = hashlib.sha256(self.content).digest()
        return self.id, self.place, self.samples, self.absent, digest

    def open(self, tx: Tx) -> bytes:
        """Open the content; raises OpenError or KeyUnavailable."""
        return open_value(tx, CLASS, _context(self.id, self.place), self.content)


_TABLE: Final = table_of(ProfileRow)
_FIND: Final = select(_TABLE).where(_TABLE.c.subject_id == bindparam("b_subject"))
_FIND_LOCKED: Final = _FIND.order_by(_TABLE.c.id).with_for_update()
_SAVE: Final = (
    update(_TABLE)
    .where(_TABLE.c.id == bindparam("b_id"))
    .values(
        password_id=bindparam("b_password"),
        samples=bindparam("b_samples"),
        absent=0,
        updated_at=bindparam("b_now"),
        content=bindparam("b_content"),
    )
)
_MISS: Final = (
    update(_TABLE)
    .where(
        _TABLE.c.subject_id == bindparam("b_subject"),
        _TABLE.c.device_class.in_(bindparam("b_classes", expanding=True)),
        _TABLE.c.signal.in_(bindparam("b_signals", expanding=True)),
    )
    .values(absent=_TABLE.c.absent + 1)
)


def of_subject_ahead(subject: UUID) -> PlannedRead:
    """Return what `of_subject` reads without a lock."""
    return PlannedRead(_FIND, {"b_subject": subject})


def of_subject(tx: Tx, subject: UUID, *, lock: bool = False) -> list[Sealed]:
    """Return the profiles of a subject; `lock` locks the rows, always in the same order."""
    # SQLite has one writer at a time and no row locks.
    rows = tx.execute(_FIND_LOCKED if lock else _FIND, {"b_subject": subject}).all()
    return [
        Sealed(
            id=row.id,
            place=ProfileKey(subject, row.password_id, row.device_class, row.signal),
            samples=row.samples,
            absent=row.absent,
            content=row.content,
        )
        for row in sorted(rows, key=attrgetter("id"))
    ]


def add(
    tx: Tx, row: UUID, *, place: ProfileKey, now: datetime, samples: int, content: bytes
) -> bool:
    """Insert a profile; return False if another request did first."""
    values = {
        "id": row,
        "subject_id": place.subject,
        "device_class": place.device_class,
        "signal": place.signal,
        "password_id": place.password,
        "samples": samples,
        "absent": 0,
        "updated_at": now,
        "content": seal_value(tx, CLASS, _context(row, place), content),
    }
    return insert_once(tx, _TABLE, values)


def save(
    tx: Tx, row: UUID, *, place: ProfileKey, now: datetime, samples: int, content: bytes
) -> None:
    """Store the next state of a profile after a sample."""
    values = {
        "b_id": row,
        "b_password": place.password,
        "b_samples": samples,
        "b_now": now,
        "b_content": seal_value(tx, CLASS, _context(row, place), content),
    }
    tx.execute(_SAVE, values)


def missed(tx: Tx, subject: UUID, classes: Sequence[str], signals: Sequence[str]) -> None:
    """Count a strong login without a sample, where the subject has such a profile."""
    places = [row.place for row in of_subject(tx, subject)]
    if not any(place.device_class in classes and place.signal in signals for place in places):
        return
    values = {"b_subject": subject, "b_classes": list(classes), "b_signals": list(signals)}
    tx.execute(_MISS, values)


def drop(tx: Tx, subject: UUID) -> int:
    """Delete all profiles of a subject; return how many."""
    gone = delete(ProfileRow).where(ProfileRow.subject_id == subject)
    return len(tx.execute(gone.returning(ProfileRow.id)).all())


def drop_rows(tx: Tx, rows: Sequence[UUID]) -> None:
    """Delete single profiles."""
    tx.execute(delete(ProfileRow).where(ProfileRow.id.in_(rows)))


def drop_older(tx: Tx, before: datetime) -> int:
    """Delete a page of profiles not updated since a time; return how many."""
    table = table_of(ProfileRow)
    return drop_page(tx, table, table.c.updated_at <= before)


def _context(row: UUID, place: ProfileKey) -> FieldContext:
    """Return the associated data of a profile, equal to that of the column's descriptor."""
    bound = f"{place.device_class}|{place.signal}|{place.password}".encode()
    return FieldContext(
        table="behavior_profile",
        column="content",
        owner=subject_owner(place.subject),
        row=row,
        extra=bound,
    )
