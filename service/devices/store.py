"""The table of known devices."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ForeignKey, bindparam, delete, func, select
from sqlalchemy.orm import Mapped, mapped_column

from service.store import dropping
from service.store.ahead import PlannedRead
from service.store.authentic import change, delete_rows, forgotten, insert_later
from service.store.base import Base, table_of
from service.store.dropping import PAGE, drop_page
from service.store.engine import Tx
from service.store.personal_data import Personal
from service.store.shapes import Authentic


class KnownDevice(Authentic, Base):
    """A device that completed a login; only the newest generation of its token is valid."""

    __tablename__ = "known_device"
    __members__ = ("subject_id", "generation", "created_at", "expires_at")
    __until__ = "expires_at"
    __personal__ = Personal(
        purpose="to recognize a device that signed in before",
        retention="180 days after its last login",
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    subject_id: Mapped[UUID] = mapped_column(ForeignKey("subject.id"), index=True)
    generation: Mapped[int]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]


_TABLE: Final = table_of(KnownDevice)
_COUNT: Final = select(func.count().label("devices")).where(
    _TABLE.c.subject_id == bindparam("b_subject")
)
_SURPLUS: Final = delete(_TABLE).where(
    _TABLE.c.id.in_(
        select(_TABLE.c.id)
        .where(_TABLE.c.subject_id == bindparam("b_subject"))
        .order_by(_TABLE.c.expires_at.desc(), _TABLE.c.id.desc())
        .limit(PAGE)
        .offset(bindparam("b_keep"))
    )
)


def get(tx: Tx, device: UUID) -> KnownDevice | None:
    """Return a known device."""
    return tx.get(KnownDevice, device)


def rotate(tx: Tx, device: UUID, generation: int, expires_at: datetime) -> bool:
    """Advance a device to its next generation; return False if another request did."""
    row = get(tx, device)
    if row is None or row.generation != generation:
        return False
    return change(tx, KnownDevice, row, generation=generation + 1, expires_at=expires_at)


def drop(tx: Tx, subject: UUID, but: UUID | None) -> int:
    """Delete the devices of a subject, optionally except one; return how many."""
    which = [_TABLE.c.subject_id == subject]
    if but is not None:
        which.append(_TABLE.c.id != but)
    return delete_rows(tx, KnownDevice, *which)


def drop_all(tx: Tx) -> int:
    """Delete all devices; return how many."""
    return dropping.drop_all(tx, _TABLE)


def add(tx: Tx, values: Mapping[str, object]) -> None:
    """Insert a device, with the last writes of the transaction."""
    insert_later(tx, KnownDevice, values)


def count_ahead(subject: UUID) -> PlannedRead:
    """Return what `count` reads."""
    return PlannedRead(_COUNT, {"b_subject": subject})


def count(tx: Tx, subject: UUID) -> int:
    """Return the number of devices of a subject."""
    found: int = tx.execute(*count_ahead(subject)).scalar_one()
    return found


def drop_surplus(tx: Tx, subject: UUID, keep: int) -> None:
    """Delete the devices of a subject beyond a limit, least recently used first."""
    forgotten(tx, KnownDevice, _SURPLUS, {"b_subject": subject, "b_keep": keep})


def drop_expired(tx: Tx, now: datetime) -> int:
    """Delete a page of expired devices; return how many."""
    return drop_page(tx, _TABLE, _TABLE.c.expires_at <= now)
