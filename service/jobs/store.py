"""Tables of the worker's lease and of long-running jobs."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import JSON, ColumnElement, Row, String, func, or_, select, update
from sqlalchemy.orm import Mapped, mapped_column

from service.store.base import Base, table_of
from service.store.dropping import drop_page
from service.store.engine import Tx, insert_once
from service.store.personal_data import Personal, anybody, by_actor


class Lease(Base):
    """The process that runs the background work, and the end of its lease."""

    __tablename__ = "job_lease"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    holder: Mapped[str] = mapped_column(String(64))
    until: Mapped[datetime]


class LongJob(Base):
    """A long-running job: its parameters, progress and result."""

    __tablename__ = "long_job"
    __personal__ = Personal(
        purpose="which operator or client requested a job",
        retention="400 days after its end",
        of=by_actor("actor"),
        shown={"actor": anybody},
        withheld={"params": "names keys or numbers, no person", "report": "counts, no person"},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    params: Mapped[dict[str, object]] = mapped_column(JSON())
    status: Mapped[str] = mapped_column(String(16))
    actor: Mapped[str] = mapped_column(String(64))
    done: Mapped[int]
    total: Mapped[int]
    report: Mapped[dict[str, object]] = mapped_column(JSON())
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


def job(tx: Tx, number: UUID, *, lock: bool = False) -> LongJob | None:
    """Return a job, optionally locked."""
    return tx.get(LongJob, number, with_for_update=lock or None, populate_existing=lock)


def queued(tx: Tx, actor: str) -> Sequence[Row[UUID, str]]:
    """Return id and kind of an actor's jobs that have not started."""
    query = select(LongJob.id, LongJob.kind)
    return tx.execute(query.where(LongJob.actor == actor, LongJob.status == "queued")).all()


def void(tx: Tx, number: UUID, values: Mapping[str, object]) -> bool:
    """End a queued job; return False if it has started."""
    statement = (
        update(LongJob)
        .where(LongJob.id == number, LongJob.status == "queued")
        .values(**values)
        .returning(LongJob.id)
        .execution_options(synchronize_session=False)
    )
    return tx.execute(statement).first() is not None


def waiting_of(tx: Tx, actor: str) -> int:
    """Return the number of an actor's queued and running jobs."""
    table = table_of(LongJob)
    mine = (table.c.actor == actor, table.c.status.in_(("queued", "running")))
    return tx.scalar(select(func.count()).select_from(table).where(*mine)) or 0


def unfinished(tx: Tx) -> list[LongJob]:
    """Return the queued and running jobs, oldest first."""
    query = select(LongJob).where(LongJob.status.in_(("queued", "running")))
    return list(tx.scalars(query.order_by(LongJob.id)))


def take(tx: Tx, *, name: str, holder: str, now: datetime, until: datetime) -> bool:
    """Acquire or renew a lease; return False if another process holds it.

    A lease that ends later than any could was written by a wrong clock and counts as free.
    """
    values = {"name": name, "holder": holder, "until": until}
    if insert_once(tx, Lease.metadata.tables["job_lease"], values):
        return True
    statement = (
        update(Lease)
        .where(Lease.name == name, _free(holder, now, until))
        .values(holder=holder, until=until)
        .returning(Lease.name)
    )
    return tx.execute(statement).first() is not None


def drop_old(tx: Tx, before: datetime, idle: datetime) -> int:
    """Delete jobs that ended before a time, and leases unused since another; return how many."""
    jobs = table_of(LongJob)
    leases = table_of(Lease)
    count = drop_page(tx, jobs, jobs.c.finished_at <= before)
    return count + drop_page(tx, leases, leases.c.until <= idle)


def _free(holder: str, now: datetime, until: datetime) -> ColumnElement[bool]:
    beyond = until + (until - now)
    return or_(Lease.holder == holder, Lease.until <= now, Lease.until > beyond)


def lease(tx: Tx, name: str) -> datetime | None:
    """Return the end of a lease, current or past; None if it was never held."""
    return tx.scalar(select(Lease.until).where(Lease.name == name))


def give_up(tx: Tx, name: str, holder: str, now: datetime) -> None:
    """Release a lease."""
    tx.execute(update(Lease).where(Lease.name == name, Lease.holder == holder).values(until=now))
