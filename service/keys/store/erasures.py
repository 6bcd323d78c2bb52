"""Tables of erasures, legal holds and canaries, and the data keys that an erasure deletes."""

from collections.abc import Collection
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import (
    ForeignKey,
    String,
    Text,
    delete,
    select,
)
from sqlalchemy.orm import Mapped, mapped_column

from crypto.fields import OwnerKind
from service.keys.store.hierarchy import Dek
from service.store.base import Base, table_of
from service.store.engine import Tx
from service.store.personal_data import Personal
from service.store.shapes import Authentic


class Tombstone(Base):
    """A record of an erasure, with the time until which a backup could restore the data."""

    __tablename__ = "tombstone"
    __personal__ = Personal(
        purpose="to prove what was erased, and to repeat it on a restored backup",
        retention="always",
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    subject_id: Mapped[UUID] = mapped_column(index=True)
    classes: Mapped[list[str]]
    erased_at: Mapped[datetime]
    horizon: Mapped[datetime]
    certificate: Mapped[str] = mapped_column(Text)


class LegalHold(Authentic, Base):
    """A legal hold: an obligation to retain a subject's data; it refuses erasure until a date."""

    __tablename__ = "legal_hold"
    __members__ = ("until", "reason", "set_at")
    __until__ = "until"
    __personal__ = Personal(
        purpose="a duty to keep the data",
        retention="until the date",
        withheld={"reason": "the duty may forbid disclosure; ask the controller"},
    )

    subject_id: Mapped[UUID] = mapped_column(ForeignKey("subject.id"), primary_key=True)
    until: Mapped[datetime]
    reason: Mapped[str] = mapped_column(String(128))
    set_at: Mapped[datetime]


class Canary(Base):
    """A subject that no one has a reason to open; opening it raises an alarm."""

    __tablename__ = "canary"
    __personal__ = Personal(
        purpose="to find out who opens data without need", retention="until erasure"
    )

    subject_id: Mapped[UUID] = mapped_column(ForeignKey("subject.id"), primary_key=True)
    created_at: Mapped[datetime]


_DEKS: Final = table_of(Dek)


def canaries(tx: Tx) -> frozenset[UUID]:
    """Return the canary subjects."""
    return frozenset(tx.execute(select(table_of(Canary).c.subject_id)).scalars())


def erased_since(tx: Tx, subject: UUID, moment: datetime) -> bool:
    """Return whether any data of a subject was erased at or after a time."""
    query = select(Tombstone.id).where(
        Tombstone.subject_id == subject, Tombstone.erased_at >= moment
    )
    return tx.execute(query.limit(1)).first() is not None


def tombstones(tx: Tx) -> list[Tombstone]:
    """Return all erasures, oldest first."""
    return list(tx.scalars(select(Tombstone).order_by(Tombstone.id)))


def drop_subject_deks(
    tx: Tx, subject: UUID, classes: Collection[str], before: datetime | None = None
) -> int:
    """Delete the data keys of a subject's classes; return how many."""
    statement = delete(_DEKS).where(
        _DEKS.c.owner_id == subject,
        _DEKS.c.owner_kind == int(OwnerKind.SUBJECT),
        _DEKS.c.key_class.in_(classes),
    )
    if before is not None:
        statement = statement.where(_DEKS.c.created_at <= before)
    return len(tx.execute(statement.returning(_DEKS.c.id)).all())
