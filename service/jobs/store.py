"""The table of the lease that makes one process the worker."""

from datetime import datetime

from sqlalchemy import String, or_, update
from sqlalchemy.orm import Mapped, mapped_column

from service.store.base import Base
from service.store.engine import Tx, insert_once


class Lease(Base):
    """Who does the background work, and until when without a sign of life."""

    __tablename__ = "job_lease"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    holder: Mapped[str] = mapped_column(String(64))
    until: Mapped[datetime]


def take(tx: Tx, name: str, holder: str, now: datetime, until: datetime) -> bool:
    """Take or renew a lease; False while another process holds it."""
    values = {"name": name, "holder": holder, "until": until}
    if insert_once(tx, Lease.metadata.tables["job_lease"], values):
        return True
    statement = (
        update(Lease)
        .where(Lease.name == name, or_(Lease.holder == holder, Lease.until <= now))
        .values(holder=holder, until=until)
        .returning(Lease.name)
    )
    return tx.execute(statement).first() is not None


def give_up(tx: Tx, name: str, holder: str, now: datetime) -> None:
    """Let another process take the lease at once."""
    tx.execute(update(Lease).where(Lease.name == name, Lease.holder == holder).values(until=now))
