"""The table of grants."""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ForeignKey, LargeBinary, String, UniqueConstraint, bindparam
from sqlalchemy.orm import Mapped, mapped_column

from service.store.authentic import change, delete_rows, one, reading
from service.store.base import Base, table_of
from service.store.dropping import drop_all, drop_page
from service.store.engine import Tx
from service.store.personal_data import Personal
from service.store.shapes import Authentic


class Grant(Authentic, Base):
    """A permission for one act on one subject, usable once within five minutes.

    It is valid only while the session that earned it is active; a grant from a recovery has no
    session.
    """

    __tablename__ = "grant"
    __members__ = (
        "digest",
        "subject_id",
        "client_id",
        "act",
        "session_id",
        "expires_at",
        "used_at",
    )
    __until__ = "expires_at"
    __table_args__ = (UniqueConstraint("digest"),)
    __personal__ = Personal(
        purpose="to allow one change, once",
        retention="5 minutes",
        withheld={"digest": "a digest of the grant, which was shown once"},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    subject_id: Mapped[UUID] = mapped_column(ForeignKey("subject.id"))
    client_id: Mapped[UUID]
    act: Mapped[str] = mapped_column(String(64))
    session_id: Mapped[UUID | None]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    used_at: Mapped[datetime | None]


_GRANT: Final = reading(Grant).where(Grant.digest == bindparam("b_digest"))


def use(  # noqa: PLR0913 - what a grant is bound to
    tx: Tx, *, digest: bytes, subject: UUID, client: UUID, act: str, now: datetime, latest: datetime
) -> tuple[UUID | None] | None:
    """Use a grant; return None if it is expired, used, or not for this act.

    A grant that expires after the latest possible time was issued by a wrong clock and is refused.

    Returns:
        The session that earned it, if there is one.
    """
    row = one(tx, Grant, _GRANT, {"b_digest": digest})
    if row is None or row.used_at is not None or not now < row.expires_at <= latest:
        return None
    meant = (row.subject_id, row.client_id, row.act) == (subject, client, act)
    return (row.session_id,) if meant and change(tx, Grant, row, used_at=now) else None


def drop_recoveries(tx: Tx, subject: UUID) -> None:
    """Delete a subject's unused grants from recoveries."""
    earned = (Grant.subject_id == subject, Grant.session_id.is_(None), Grant.used_at.is_(None))
    delete_rows(tx, Grant, *earned)


def drop_expired(tx: Tx, now: datetime) -> int:
    """Delete a page of expired grants; return how many."""
    grants = table_of(Grant)
    return drop_page(tx, grants, grants.c.expires_at <= now)


def drop_every(tx: Tx) -> int:
    """Delete all grants; return how many."""
    return drop_all(tx, table_of(Grant))
