"""The table of behavioral samples."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, String, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from crypto.fields import Owner
from service.domain.ids import subject_owner
from service.store.base import Base
from service.store.engine import Tx
from service.store.sealed import encrypted_bytes


class Sample(Base):
    """One sample, sealed like a secret: timing tells something about the password."""

    __tablename__ = "behavior_sample"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    subject_id: Mapped[UUID] = mapped_column(ForeignKey("subject.id"), index=True)
    flow: Mapped[str] = mapped_column(String(36), index=True)
    field: Mapped[str] = mapped_column(String(32))
    received_at: Mapped[datetime]
    content = encrypted_bytes("behavior", bound=("field",))

    def field_owner(self) -> Owner:
        """Return the subject who typed."""
        return subject_owner(self.subject_id)


def count(tx: Tx, subject: UUID) -> int:
    """Return how many samples there are, at most 200."""
    query = select(Sample.id).where(Sample.subject_id == subject)
    return len(tx.scalars(query.limit(200)).all())


def drop(tx: Tx, subject: UUID) -> int:
    """Forget every sample of a subject; return how many."""
    gone = delete(Sample).where(Sample.subject_id == subject)
    return len(tx.execute(gone.returning(Sample.id)).all())
