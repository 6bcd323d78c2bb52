"""The table of known devices."""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ForeignKey, delete, select, update
from sqlalchemy.orm import Mapped, mapped_column

from service.store.base import Base, table_of
from service.store.dropping import PAGE, drop_page
from service.store.engine import Tx
from service.store.personal import Personal


class KnownDevice(Base):
    """A device that completed a login; its token counts in its newest generation only."""

    __tablename__ = "known_device"
    __personal__ = Personal(
        "to recognize a device that signed in before", "180 days after its last login"
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    subject_id: Mapped[UUID] = mapped_column(ForeignKey("subject.id"), index=True)
    generation: Mapped[int]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]


_TABLE: Final = table_of(KnownDevice)


def get(tx: Tx, device: UUID) -> KnownDevice | None:
    """Return a known device."""
    return tx.get(KnownDevice, device)


def rotate(tx: Tx, device: UUID, generation: int, expires_at: datetime) -> bool:
    """Move a device to its next generation; False when another request did."""
    statement = (
        update(KnownDevice)
        .where(KnownDevice.id == device, KnownDevice.generation == generation)
        .values(generation=generation + 1, expires_at=expires_at)
        .returning(KnownDevice.id)
        .execution_options(synchronize_session=False)
    )
    return tx.execute(statement).first() is not None


def drop(tx: Tx, subject: UUID, but: UUID | None) -> int:
    """Forget the devices of a subject, but one; return how many."""
    gone = delete(KnownDevice).where(KnownDevice.subject_id == subject)
    if but is not None:
        gone = gone.where(KnownDevice.id != but)
    return len(tx.execute(gone.returning(KnownDevice.id)).all())


def drop_surplus(tx: Tx, subject: UUID, keep: int) -> None:
    """Forget the devices of a subject beyond so many, those that signed in last left out."""
    owned = select(_TABLE.c.id).where(_TABLE.c.subject_id == subject)
    surplus = owned.order_by(_TABLE.c.expires_at.desc(), _TABLE.c.id.desc())
    tx.execute(delete(_TABLE).where(_TABLE.c.id.in_(surplus.limit(PAGE).offset(keep))))


def drop_expired(tx: Tx, now: datetime) -> int:
    """Forget a page of devices that were not seen for long; return how many."""
    return drop_page(tx, _TABLE, _TABLE.c.expires_at <= now)
