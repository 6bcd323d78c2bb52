"""Rows with five sealed fields beside the same rows in the clear: reads, rewraps, re-encryption."""

import gc
import statistics
import time
import uuid
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import track
from sqlalchemy import Text, func, insert, select
from sqlalchemy.orm import Mapped, mapped_column

from crypto import envelope
from crypto.fields import Owner, place_of
from service.app import Container
from service.domain.ids import new_id, subject_owner
from service.keys.store import rotation
from service.keys.store.hierarchy import Dek
from service.store.base import Base, table_of
from service.store.engine import Tx
from service.store.fields import sealed_tables
from service.store.sealed import encrypted_text

FIELDS = ("username", "email", "phone", "street", "city")
CLASS = "contact"
PAGE = 500
Measure = dict[str, float]


class SealedPerson(Base):
    """Five fields under the data key of the person."""

    __tablename__ = "bench_sealed"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    username = encrypted_text(CLASS)
    email = encrypted_text(CLASS)
    phone = encrypted_text(CLASS)
    street = encrypted_text(CLASS)
    city = encrypted_text(CLASS)

    def field_owner(self) -> Owner:
        """Return the person."""
        return subject_owner(self.id)


class PlainPerson(Base):
    """The same five fields in the clear."""

    __tablename__ = "bench_plain"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(Text)
    email: Mapped[str] = mapped_column(Text)
    phone: Mapped[str] = mapped_column(Text)
    street: Mapped[str] = mapped_column(Text)
    city: Mapped[str] = mapped_column(Text)


def _rival() -> type[Base] | None:
    """Return the same five fields under sqlalchemy-utils, where that is installed."""
    try:
        from sqlalchemy_utils import StringEncryptedType  # noqa: PLC0415 - a rival
        from sqlalchemy_utils.types.encrypted.encrypted_type import AesGcmEngine  # noqa: PLC0415
    except ImportError:
        return None

    def column() -> Any:  # noqa: ANN401 - the rival's own type
        return mapped_column(StringEncryptedType(Text, "secret", AesGcmEngine))

    members = {name: column() for name in FIELDS}
    members |= {"id": mapped_column(primary_key=True), "__tablename__": "bench_rival"}
    return type("RivalPerson", (Base,), members | {"__annotations__": {"id": Mapped[uuid.UUID]}})


RivalPerson = _rival()


def person(number: int) -> dict[str, str]:
    """Return the fields of one person."""
    return {
        "username": f"person{number}",
        "email": f"person{number}@example.com",
        "phone": f"+4930{number:08}",
        "street": f"Unter den Linden {number}",
        "city": "Berlin",
    }


def fill(container: Container, rows: int, rivals: int) -> None:
    """Make the tables, with so many sealed and clear rows and fewer of the slow rival."""
    models: list[type[Base]] = [SealedPerson, PlainPerson, *([RivalPerson] if RivalPerson else [])]
    Base.metadata.create_all(container.store.engine, tables=[table_of(model) for model in models])
    kek, clock = container.key_store.active_kek(CLASS), container.clock
    places = {name: place_of("bench_sealed", name) for name in FIELDS}
    for start in track(range(0, rows, PAGE), "rows", console=Console(stderr=True), transient=True):
        clear, sealed, keys = [], [], []
        for number in range(start, min(start + PAGE, rows)):
            now = clock.now()
            values, row = person(number), new_id(now)
            wrapped, key = envelope.create_data_key(kek, subject_owner(row))
            keys.append(
                {
                    "id": new_id(now),
                    "owner_kind": 1,
                    "owner_id": row,
                    "key_class": CLASS,
                    "generation": 1,
                    "kek_version": kek.version,
                    "wrapped": wrapped,
                    "created_at": now,
                }
            )
            clear.append({"id": row} | values)
            sealed.append(
                {"id": row}
                | {
                    name: key.seal_cell(value.encode(), places[name], row.bytes)
                    for name, value in values.items()
                }
            )
        with container.store.transaction() as tx:
            tx.execute(insert(table_of(Dek)), keys)
            tx.execute(insert(table_of(SealedPerson)), sealed)
            tx.execute(insert(table_of(PlainPerson)), clear)
            if RivalPerson and start < rivals:
                tx.execute(insert(table_of(RivalPerson)), clear)
    if container.store.engine.dialect.name == "postgresql":
        with container.store.engine.connect() as connection:
            connection.exec_driver_sql("ANALYZE")
            connection.commit()


def _read(tx: Tx, model: Any, count: int) -> float:  # noqa: ANN401 - any of the three models
    """Read rows as objects and touch one field of five; return CPU microseconds a row."""
    tx.expunge_all()
    # As timeit does: whose garbage is collected when is chance, and no contender's cost.
    gc.collect()
    gc.disable()
    begun = time.process_time()
    # In order: PostgreSQL begins an unordered scan of a large table anywhere.
    rows = tx.scalars(select(model).order_by(model.id).limit(count))
    total = sum(len(row.email) for row in rows)
    taken = time.process_time() - begun
    gc.enable()
    if not total:
        raise RuntimeError("nothing was read")
    return taken / count * 1e6


def orm_reads(container: Container, rounds: int, count: int) -> Measure:
    """Return CPU microseconds a row of an ORM read that touches one field of five."""
    times: dict[str, list[float]] = {"plain": [], "lamina, cold": [], "lamina, warm": []}
    if RivalPerson:
        times["sqlalchemy-utils"] = []
    for _ in range(rounds):
        with container.store.transaction(read=True) as tx:
            times["plain"].append(_read(tx, PlainPerson, count))
            times["lamina, cold"].append(_read(tx, SealedPerson, count))
            times["lamina, warm"].append(_read(tx, SealedPerson, count))
            if RivalPerson:
                few = count // 10
                times["sqlalchemy-utils"].append(_read(tx, RivalPerson, few))
    return {name: statistics.median(values[1:] or values) for name, values in times.items()}


def _timed(work: Callable[[], int]) -> tuple[int, float, float]:
    """Return what the work counted, its wall seconds and the CPU seconds of this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    done = work()
    return done, time.perf_counter() - wall, time.process_time() - cpu


def _share(work: Callable[[], int], plain: Callable[[], int]) -> Measure:
    """Do the work and the same statements with ready bytes, and return their rates."""
    done, wall, cpu = _timed(work)
    bare, bare_wall, _ = _timed(plain)
    return {
        "rows": done,
        "rows per CPU-second": done / cpu,
        "rows per second": done / wall,
        "share of the same UPDATE": (done / wall) / (bare / bare_wall),
    }


def rewrap(container: Container) -> Measure:
    """Move every data key to a new KEK, then write the same rows again without crypto."""
    with container.store.transaction() as tx:
        container.keys.lifecycle.generate_kek(tx, CLASS, "bench")
        container.keys.lifecycle.promote_kek(tx, CLASS, "bench")
        container.key_store.refresh(tx)

    def ready() -> int:
        """Write the pages that a rewrap writes, with bytes that are there already."""
        done, after, version = 0, uuid.UUID(int=0), container.key_store.active_kek(CLASS).version
        while True:
            with container.store.transaction() as tx:
                page = rotation.foreign_deks(
                    tx, key_class=CLASS, kek_version=0, after=after, limit=PAGE
                )
                if not page:
                    return done
                rotation.store_wrapped(tx, version, [(row.id, row.wrapped) for row in page])
                after, done = page[-1].row, done + len(page)

    def moved() -> int:
        return sum(page.moved for page in container.keys.moving.rewrap_pages(CLASS))

    return _share(moved, ready)


def reencrypt(container: Container) -> Measure:
    """Seal five fields of every person anew under new data keys; the same without crypto after."""
    (table,) = (item for item in sealed_tables() if item.name == "bench_sealed")
    with container.store.transaction() as tx:
        generation = container.keys.moving.start_generation(tx, CLASS)

    def ready() -> int:
        done, after = 0, uuid.UUID(int=0)
        while True:
            with container.store.transaction() as tx:
                page = rotation.stale_rows(
                    tx,
                    table=table,
                    key_class=CLASS,
                    generation=generation + 1,
                    after=after,
                    limit=PAGE,
                )
                if not page:
                    return done
                cells = {row.id: {name: getattr(row, name) for name in FIELDS} for row in page}
                rotation.store_cells(tx, table, FIELDS, cells)
                after, done = page[-1].id, done + len(page)

    def moved() -> int:
        return sum(page.moved for page in container.keys.moving.reencrypt_pages(CLASS, generation))

    return _share(moved, ready)


def people(container: Container, count: int) -> list[uuid.UUID]:
    """Return ids from all over the table."""
    table = table_of(SealedPerson)
    with container.store.transaction(read=True) as tx:
        rows = tx.execute(select(func.count()).select_from(table)).scalar_one()
        step = max(1, rows // count)
        return list(tx.execute(select(table.c.id).order_by(table.c.id)).scalars())[::step]
