"""Table of exports that can be collected."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, String, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from crypto.fields import Owner
from service.domain.ids import subject_owner
from service.store.base import Base, table_of
from service.store.dropping import drop_page
from service.store.engine import Tx
from service.store.personal_data import Personal, anybody
from service.store.sealed import encrypted_optional_bytes


class SubjectExport(Base):
    """An export: its requester, its expiry and its sealed content."""

    __tablename__ = "subject_export"
    __personal__ = Personal(
        purpose="to hand the person, or who asks for them, what is held",
        retention="an hour",
        withheld={"content": "an export like this one"},
        shown={"actor": anybody},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    subject_id: Mapped[UUID] = mapped_column(ForeignKey("subject.id"), index=True)
    actor: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    content = encrypted_optional_bytes("identity", bound=("subject_id", "actor", "expires_at"))

    def field_owner(self) -> Owner:
        """Return the subject as owner: destroying its keys erases the export."""
        return subject_owner(self.subject_id)


def get(tx: Tx, export: UUID, *, lock: bool = False) -> SubjectExport | None:
    """Return an export by id; lock it before filling it, so that no erasure intervenes."""
    return tx.get(SubjectExport, export, with_for_update=lock or None)


def waiting(tx: Tx, subject: UUID, now: datetime) -> Sequence[datetime]:
    """Return when a subject's unexpired exports expire, soonest first."""
    table = table_of(SubjectExport)
    mine = (table.c.subject_id == subject, table.c.expires_at > now)
    query = select(table.c.expires_at).where(*mine).order_by(table.c.expires_at)
    return tx.scalars(query).all()


def delete_for(tx: Tx, subject: UUID) -> None:
    """Delete the exports of a subject."""
    tx.execute(delete(SubjectExport).where(SubjectExport.subject_id == subject))


def drop_expired(tx: Tx, now: datetime) -> int:
    """Delete a page of expired exports; return how many."""
    table = table_of(SubjectExport)
    return drop_page(tx, table, table.c.expires_at <= now)
