"""The table of secrets that face templates are transformed with."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from crypto.fields import Owner
from service.domain.ids import subject_owner
from service.store.base import Base
from service.store.engine import Tx
from service.store.sealed import encrypted_bytes


class TemplateSecret(Base):
    """32 random bytes of one template; never derived from a key, and in a row of their own."""

    __tablename__ = "face_template_secret"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    authenticator_id: Mapped[UUID] = mapped_column(ForeignKey("authenticator.id"), unique=True)
    subject_id: Mapped[UUID] = mapped_column(ForeignKey("subject.id"), index=True)
    created_at: Mapped[datetime]
    secret = encrypted_bytes("biometric", bound=("authenticator_id",))

    def field_owner(self) -> Owner:
        """Return the subject whose template it belongs to."""
        return subject_owner(self.subject_id)


def secret_of(tx: Tx, authenticator: UUID) -> TemplateSecret | None:
    """Return the secret of a template."""
    query = select(TemplateSecret).where(TemplateSecret.authenticator_id == authenticator)
    return tx.scalars(query).first()


def drop(tx: Tx, subject: UUID, keep: UUID | None = None) -> int:
    """Forget the secrets of a subject, but one; return how many."""
    gone = delete(TemplateSecret).where(TemplateSecret.subject_id == subject)
    if keep is not None:
        gone = gone.where(TemplateSecret.authenticator_id != keep)
    return len(tx.execute(gone.returning(TemplateSecret.id)).all())
