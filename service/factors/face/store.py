"""The table of secrets that transform face templates."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, delete, func, select
from sqlalchemy.orm import Mapped, mapped_column

from crypto.fields import Owner
from service.domain.ids import subject_owner
from service.store.base import Base
from service.store.engine import Tx
from service.store.personal_data import Personal
from service.store.sealed import encrypted_bytes, encrypted_optional_bytes


class TemplateSecret(Base):
    """The 32 random bytes of one template; never derived from a key, and stored separately."""

    __tablename__ = "face_template_secret"
    __personal__ = Personal(
        purpose="to keep a stolen face template from being compared with other faces",
        retention="as long as the template; until consent is withdrawn",
        withheld={
            "secret": "random bytes that the template is transformed with",
            "seen": "marks of the pictures accepted last, so that none counts twice",
        },
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    authenticator_id: Mapped[UUID] = mapped_column(ForeignKey("authenticator.id"), unique=True)
    subject_id: Mapped[UUID] = mapped_column(ForeignKey("subject.id"), index=True)
    created_at: Mapped[datetime]
    secret = encrypted_bytes("biometric", bound=("authenticator_id",))
    seen = encrypted_optional_bytes("biometric", bound=("authenticator_id",))
    """Marks of the pictures that were accepted last, the newest at the end."""

    def field_owner(self) -> Owner:
        """Return the subject that owns the template."""
        return subject_owner(self.subject_id)


def secret_of(tx: Tx, authenticator: UUID, *, lock: bool = False) -> TemplateSecret | None:
    """Return the secret of a template; locked if concurrent requests could change it."""
    query = select(TemplateSecret).where(TemplateSecret.authenticator_id == authenticator)
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    return tx.scalars(query).first()


def subjects(tx: Tx, after: UUID | None, limit: int) -> list[UUID]:
    """Return subjects with a template, ordered by id."""
    query = select(TemplateSecret.subject_id).distinct().order_by(TemplateSecret.subject_id)
    if after is not None:
        query = query.where(TemplateSecret.subject_id > after)
    return list(tx.scalars(query.limit(limit)))


def count(tx: Tx) -> int:
    """Return the number of stored templates."""
    return int(tx.scalar(select(func.count()).select_from(TemplateSecret)) or 0)


def drop(tx: Tx, subject: UUID, keep: UUID | None = None) -> int:
    """Delete the secrets of a subject, except one; return how many."""
    gone = delete(TemplateSecret).where(TemplateSecret.subject_id == subject)
    if keep is not None:
        gone = gone.where(TemplateSecret.authenticator_id != keep)
    return len(tx.execute(gone.returning(TemplateSecret.id)).all())
