"""The table of sessions."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, delete, select, update
from sqlalchemy.orm import Mapped, mapped_column

from crypto.fields import Owner
from service.domain.ids import service_owner
from service.store.base import Base
from service.store.engine import Tx
from service.store.personal import Personal, without
from service.store.sealed import encrypted_text


class SessionRow(Base):
    """One session; its evidence is sealed, so that no level can be written into the database."""

    __tablename__ = "session"
    __personal__ = Personal(
        "that the person is signed in, and what proved it",
        "a day after its end",
        withheld={"evidence.llr": "how alike a face was: it would show a forger how near he is"},
        shown={"evidence": without("llr")},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    subject_id: Mapped[UUID] = mapped_column(ForeignKey("subject.id"), index=True)
    client_id: Mapped[UUID]
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    idle_seconds: Mapped[int]
    revoked_at: Mapped[datetime | None]
    evidence = encrypted_text(
        "service", bound=("subject_id", "client_id", "expires_at", "idle_seconds")
    )

    def field_owner(self) -> Owner:
        """Return the reserved owner of sessions: their key is at hand in every process."""
        return service_owner("sessions")


def get(tx: Tx, session: UUID) -> SessionRow | None:
    """Return a session by id."""
    return tx.get(SessionRow, session)


def of_subject(tx: Tx, subject: UUID, now: datetime) -> list[SessionRow]:
    """Return the sessions of a subject that are neither revoked nor over, oldest first."""
    query = select(SessionRow).where(
        SessionRow.subject_id == subject,
        SessionRow.revoked_at.is_(None),
        SessionRow.expires_at > now,
    )
    return list(tx.scalars(query.order_by(SessionRow.id)))


def revoke(tx: Tx, session: UUID, now: datetime) -> bool:
    """End a session; False when it had ended."""
    statement = (
        update(SessionRow)
        .where(SessionRow.id == session, SessionRow.revoked_at.is_(None))
        .values(revoked_at=now)
        .returning(SessionRow.id)
    )
    return tx.execute(statement).first() is not None


def touch(tx: Tx, session: UUID, now: datetime) -> None:
    """Note that a session was used."""
    tx.execute(update(SessionRow).where(SessionRow.id == session).values(last_seen_at=now))


def drop_ended(tx: Tx, before: datetime) -> int:
    """Forget sessions that were over at a time; return how many."""
    gone = delete(SessionRow).where(SessionRow.expires_at <= before).returning(SessionRow.id)
    return len(tx.execute(gone).all())


def revoke_all(tx: Tx, now: datetime) -> int:
    """End every session in force; return how many."""
    statement = update(SessionRow).where(SessionRow.revoked_at.is_(None)).values(revoked_at=now)
    return len(tx.execute(statement.returning(SessionRow.id)).all())
