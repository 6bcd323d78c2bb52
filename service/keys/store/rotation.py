"""Bulk statements over wrapped keys and sealed cells: one read and one write per page."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import delete, exists, func, select, update
from sqlalchemy.sql.elements import ColumnElement

from crypto.envelope import ERASED
from crypto.fields import Owner
from service.keys.store.hierarchy import DataGeneration, Dek
from service.store.base import table_of
from service.store.engine import AnyRow, Tx, insert_once
from service.store.fields import SealedTable

_DEKS: Final = table_of(Dek)
_GENERATIONS: Final = table_of(DataGeneration)


class ForeignDek(NamedTuple):
    """A data key to rewrap, as the driver returns it, without objects for its ids."""

    id: UUID | str
    owner_kind: int
    owner_id: UUID | str
    kek_version: int
    wrapped: bytes

    @property
    def row(self) -> UUID:
        """Return the id of the row."""
        return self.id if isinstance(self.id, UUID) else UUID(self.id)

    @property
    def owner(self) -> bytes:
        """Return the 17 bytes of the owner."""
        identity = self.owner_id
        kind = bytes((self.owner_kind,))
        return kind + (bytes.fromhex(identity) if isinstance(identity, str) else identity.bytes)


class NewDek(NamedTuple):
    """A data key to insert; one call inserts keys of one class, generation, KEK and time."""

    id: UUID
    owner: Owner
    key_class: str
    generation: int
    kek_version: int
    wrapped: bytes
    created_at: datetime


def foreign_deks(
    tx: Tx, *, key_class: str, kek_version: int, after: UUID, limit: int
) -> list[ForeignDek]:
    """Return data keys of a class that are under another KEK, locked, by id."""
    sqlite_used = tx.get_bind().dialect.name == "sqlite"
    statement = (
        "SELECT id, owner_kind, owner_id, kek_version, wrapped FROM dek "
        "WHERE {}key_class = ? AND kek_version <> ? AND id > ? ORDER BY id LIMIT ?"
    )
    if sqlite_used:
        # The plus keeps SQLite from using the index of the class, which it would sort for every
        # page.
        statement = statement.format("+")
    else:
        statement = statement.format("").replace("?", "%s") + " FOR UPDATE SKIP LOCKED"
    values = (key_class, kek_version, after.hex if sqlite_used else after, limit)
    return [ForeignDek(*row) for row in tx.connection().exec_driver_sql(statement, values)]


def count_foreign(tx: Tx, key_class: str, kek_version: int) -> int:
    """Count the data keys of a class that are under another KEK."""
    where = (_DEKS.c.key_class == key_class, _DEKS.c.kek_version != kek_version)
    return tx.execute(select(func.count()).select_from(_DEKS).where(*where)).scalar_one()


def store_wrapped(tx: Tx, kek_version: int, rows: Sequence[tuple[UUID | str, bytes]]) -> None:
    """Replace the wrapped bytes of data keys, by the id of `ForeignDek`, now under one KEK."""
    if not rows:
        return
    if tx.get_bind().dialect.name == "sqlite":
        statement = "UPDATE dek SET wrapped = ?, kek_version = ? WHERE id = ?"
        tx.connection().exec_driver_sql(
            statement, [(wrapped, kek_version, row) for row, wrapped in rows]
        )
        return
    statement = (
        "UPDATE dek SET wrapped = v.wrapped, kek_version = %s "
        "FROM unnest(%b::uuid[], %b::bytea[]) AS v(id, wrapped) WHERE dek.id = v.id"
    )
    values = (kek_version, [row for row, _ in rows], [wrapped for _, wrapped in rows])
    tx.connection().exec_driver_sql(statement, values)


def add_deks(tx: Tx, rows: Sequence[NewDek]) -> bool:
    """Insert data keys; return False if another transaction inserted one of them first."""
    if not rows:
        return True
    columns = "id, owner_kind, owner_id, key_class, generation, kek_version, wrapped, created_at"
    connection = tx.connection()
    if tx.get_bind().dialect.name == "sqlite":
        statement = f"INSERT OR IGNORE INTO dek ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - our own columns
        values = [
            (
                row.id.hex,
                row.owner.kind,
                row.owner.id.hex,
                row.key_class,
                row.generation,
                row.kek_version,
                row.wrapped,
                row.created_at.replace(tzinfo=None).isoformat(" ", "microseconds"),
            )
            for row in rows
        ]
        return connection.exec_driver_sql(statement, values).rowcount == len(rows)
    statement = (
        f"INSERT INTO dek ({columns}) SELECT v.id, v.kind, v.owner, %s, %s, %s, v.wrapped, %s "  # noqa: S608 - our own columns
        "FROM unnest(%b::uuid[], %b::int[], %b::uuid[], %b::bytea[]) "
        "AS v(id, kind, owner, wrapped) ON CONFLICT DO NOTHING"
    )
    first = rows[0]
    arrays = (
        [row.id for row in rows],
        [int(row.owner.kind) for row in rows],
        [row.owner.id for row in rows],
        [row.wrapped for row in rows],
    )
    shared = (first.key_class, first.generation, first.kek_version, first.created_at)
    return connection.exec_driver_sql(statement, (*shared, *arrays)).rowcount == len(rows)


def set_generation(tx: Tx, key_class: str, generation: int, now: datetime) -> int:
    """Set the generation of new data keys of a class."""
    values = {"key_class": key_class, "generation": generation, "since": now}
    if not insert_once(tx, _GENERATIONS, values):
        tx.execute(
            update(_GENERATIONS)
            .where(_GENERATIONS.c.key_class == key_class)
            .values(generation=generation, since=now)
        )
    return generation


def stale_rows(
    tx: Tx, *, table: SealedTable, key_class: str, generation: int, after: UUID, limit: int
) -> Sequence[AnyRow]:
    """Return rows with a cell of a class under an older generation, locked, by id."""
    query = table.cells(key_class).where(
        table.stale(key_class, generation), table.table.c.id > after
    )
    return tx.execute(query.limit(limit).with_for_update(skip_locked=True)).all()


def rows_after(tx: Tx, table: SealedTable, after: UUID, limit: int) -> Sequence[AnyRow]:
    """Return rows of a table by id, without locks."""
    return tx.execute(table.rows().where(table.table.c.id > after).limit(limit)).all()


def count_rows(tx: Tx, table: SealedTable) -> int:
    """Count the rows of a table."""
    return tx.execute(select(func.count()).select_from(table.table)).scalar_one()


def count_stale(tx: Tx, table: SealedTable, key_class: str, generation: int) -> int:
    """Count the rows of a table with a cell of a class under an older generation."""
    query = select(func.count()).select_from(table.table)
    return tx.execute(query.where(table.stale(key_class, generation))).scalar_one()


def store_cells(
    tx: Tx, table: SealedTable, names: Sequence[str], rows: Mapping[UUID, Mapping[str, bytes]]
) -> None:
    """Replace sealed cells; a cell that is not named keeps its value.

    Only these columns are written: no other event fires and no other timestamp changes.
    """
    if not rows:
        return
    quoted = {name: f'"{name}"' for name in names}
    if tx.get_bind().dialect.name == "sqlite":
        sets = ", ".join(f"{column} = COALESCE(?, {column})" for column in quoted.values())
        statement = f'UPDATE "{table.name}" SET {sets} WHERE id = ?'  # noqa: S608 - names of our own tables
        values = [(*(cells.get(name) for name in names), row.hex) for row, cells in rows.items()]
        tx.connection().exec_driver_sql(statement, values)
        return
    sets = ", ".join(f"{column} = COALESCE(v.{column}, t.{column})" for column in quoted.values())
    arrays = ", ".join("%b::bytea[]" for _ in names)
    statement = (
        f'UPDATE "{table.name}" AS t SET {sets} '  # noqa: S608 - names of our own tables
        f"FROM unnest(%b::uuid[], {arrays}) AS v(id, {', '.join(quoted.values())}) "
        "WHERE t.id = v.id"
    )
    columns = [[cells.get(name) for cells in rows.values()] for name in names]
    tx.connection().exec_driver_sql(statement, (list(rows), *columns))


def drop_old_deks(tx: Tx, key_class: str, generation: int, keep: Sequence[Owner]) -> int:
    """Delete the data keys of older generations of a class, except those of some owners."""
    statement = delete(_DEKS).where(
        _DEKS.c.key_class == key_class,
        _DEKS.c.generation < generation,
        _DEKS.c.owner_id.not_in([owner.id for owner in keep]),
    )
    return len(tx.execute(statement.returning(_DEKS.c.id)).all())


def blank(
    tx: Tx,
    table: SealedTable,
    subject: UUID,
    classes: Collection[str],
    *,
    unless_keyed: bool = False,
) -> None:
    """Overwrite the cells of a subject's classes with NULL if nullable, else the erasure mark.

    Args:
        tx: The transaction.
        table: The table.
        subject: The subject.
        classes: The key classes.
        unless_keyed: Whether to skip classes for which the subject has a data key.
    """
    column = table.subject_column()
    if column is None:
        return
    for field in table.fields:
        for key_class in classes:
            if not field.may_be(key_class):
                continue
            cell = table.table.c[field.name]
            statement = update(table.table).where(
                column == subject, cell.is_not(None), *table.is_class(field, key_class)
            )
            if unless_keyed:
                statement = statement.where(~_keyed(subject, key_class))
            tx.execute(statement.values({cell: None if cell.nullable else ERASED}))


def _keyed(subject: UUID, key_class: str) -> ColumnElement[bool]:
    return exists().where(_DEKS.c.owner_id == subject, _DEKS.c.key_class == key_class)
