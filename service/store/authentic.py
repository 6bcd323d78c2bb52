"""Authentic rows: rows with a MAC over their members, which only the service's keys can make.

A table opts in through its base class and names its members:

    class Consent(Authentic, Base):
        __members__ = ("subject_id", "purpose", "given_at", "withdrawn_at")

Objects get their MAC at the flush and are verified when loaded. Statements without objects write
through `insert_row`, `insert_once`, `change` and `delete_rows`, and read through `one` and
`sound`. Every change is recorded, so that the log can determine which rows must exist.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, Final, TypeVar, cast

from sqlalchemy import Delete, Insert, Row, Select, bindparam, delete, event, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import instance_state, set_committed_value
from sqlalchemy.sql.dml import ReturningInsert, ReturningUpdate
from sqlalchemy.sql.elements import ColumnElement

from crypto import rows
from crypto.errors import OpenError
from crypto.rows import RowKey
from service.domain.errors import RowRefused
from service.store.driver_sql import Cells
from service.store.later import later
from service.store.sealed import sealer_of
from service.store.shapes import Authentic, Noted, Recorded, Shape, shape_of

T = TypeVar("T", bound="Authentic")
GONE: Final = "gone"
_TOUCHED: Final = "lamina_touched"
_TABLES: Final = "lamina_touched_tables"
_REFUSED: Final = "lamina_refused"
_UNCHECKED: Final = "lamina_unchecked"

Touched = list[Any]
"""The record of a change to a row, as `touch` creates it."""


def reading(model: type[Recorded]) -> Select[Any]:
    """Select the covered columns of a table and the MAC; callers add conditions."""
    return select(*shape_of(model).columns)


def one(
    tx: Session, model: type[Authentic], statement: Select[Any], values: Mapping[str, Any]
) -> Row[Any] | None:
    """Return the first row of a statement made by `reading`; raises RowRefused on a bad MAC."""
    row = tx.execute(statement, dict(values)).first()
    if row is not None and not holds(tx, model, row):
        raise refused()
    return row


def holding(
    tx: Session, model: type[Authentic], statement: Select[Any], values: Mapping[str, Any]
) -> list[Row[Any]]:
    """Return the rows with a valid MAC of a statement made by `reading`; others are left out."""
    return [row for row in tx.execute(statement, dict(values)) if holds(tx, model, row)]


def sound(tx: Session, query: Select[T]) -> list[T]:
    """Return the objects with a valid MAC of a query; others are left out and raise an alarm."""
    found = []
    for row in tx.scalars(query, execution_options={_UNCHECKED: True}).all():
        if _object_holds(tx, row):
            found.append(row)
        else:
            tx.expunge(row)
    return found


def holds(tx: Session, model: type[Authentic], row: Any) -> bool:
    """Return whether a row of named columns has a valid MAC; an invalid one is recorded."""
    shape = shape_of(model)
    values = shape.of_row(row)
    return _holds(tx, shape, values, row.mac)


def cells_hold(tx: Session, model: type[Authentic], cells: Cells) -> bool:
    """Return whether the cells of a row, as `reading` selects them, end with their valid MAC."""
    return _holds(tx, shape_of(model), cells[:-1], cells[-1])


def key_there(tx: Session, mac: bytes) -> bool:
    """Return whether the key of a MAC still exists, for a row verified with it before."""
    return _key_of(tx, mac) is not None


def refused() -> RowRefused:
    """Return the error for any operation that needs a row with an invalid MAC."""
    return RowRefused("row_refused", "A stored row is not as this service wrote it.")


def joined_columns(model: type[Authentic]) -> list[Any]:
    """Return the covered columns of a joined table, with a prefix to keep them apart."""
    return [column.label(f"lead_{column.name}") for column in shape_of(model).columns]


def joined_row_holds(tx: Session, model: type[Authentic], row: Any) -> bool:
    """Return whether the joined row has a valid MAC; a missing row costs equal work."""
    shape = shape_of(model)
    values = [getattr(row, f"lead_{name}") for name in shape.names]
    if values[0] is None:
        sealer_of(tx).row_key(tx, None).seal(shape.message(values), 1)
        return True
    return _holds(tx, shape, values, row.lead_mac)


def insert_row(tx: Session, model: type[Authentic], values: Mapping[str, Any]) -> None:
    """Insert a row with its MAC."""
    shape = shape_of(model)
    mac = _sealed(tx, shape, [values.get(name) for name in shape.names], 1)
    tx.execute(_inserting(shape), {**values, "mac": mac})


def insert_later(tx: Session, model: type[Authentic], values: Mapping[str, object]) -> None:
    """Insert a row with its MAC, with the last writes of the transaction."""
    shape = shape_of(model)
    mac = _sealed(tx, shape, [values.get(name) for name in shape.names], 1)
    later(tx, _inserting(shape), {**values, "mac": mac})


def insert_once(
    tx: Session,
    *,
    model: type[Recorded],
    values: Mapping[str, Any],
    unless: Select[Any] | None = None,
    bound: Mapping[str, Any] | None = None,
) -> bool:
    """Insert a row unless a unique constraint prevents it; return whether it was inserted.

    Args:
        tx: The transaction.
        model: The table.
        values: The row, without its MAC.
        unless: Selects the values of the row by their names, under further conditions for it.
        bound: Other values that `unless` uses.
    """
    shape = shape_of(model)
    before = len(touched(tx))
    stored = dict(values)
    if shape.keyed:
        stored["mac"] = _sealed(tx, shape, [values.get(name) for name in shape.names], 1)
    else:
        touch(tx, shape.table.name, *shape.note_of(SimpleNamespace(**values)))
    statement = _inserting_once(tx.get_bind().dialect.name, shape, unless, tuple(values))
    if tx.execute(statement, {**stored, **(bound or {})}).first() is not None:
        return True
    del touched(tx)[before:]
    return False


def change(tx: Session, model: type[Authentic], row: Any, **values: Any) -> bool:
    """Update a row as it was read; return False if another transaction changed it since."""
    shape = shape_of(model)
    old = dict(zip(shape.names, shape.of_row(row), strict=True))
    new = [values.get(name, old[name]) for name in shape.names]
    before = len(touched(tx))
    mac = _sealed(tx, shape, new, rows.revision_of(row.mac) + 1)
    bound = {f"b_{name}": old[name] for name in shape.key} | {"b_mac": row.mac, "n_mac": mac}
    bound |= {f"n_{name}": value for name, value in values.items()}
    if tx.execute(_changing(shape, tuple(values)), bound).first() is None:
        del touched(tx)[before:]
        return False
    _tell_object(tx, shape, new, {**values, "mac": mac})
    return True


def delete_rows(tx: Session, model: type[Recorded], *conditions: ColumnElement[bool]) -> int:
    """Delete rows and record their deletion; return how many."""
    shape = shape_of(model)
    statement = delete(shape.table).where(*conditions)
    return forgotten(tx, model, statement)


def forgotten(
    tx: Session, model: type[Recorded], statement: Delete, values: Mapping[str, Any] | None = None
) -> int:
    """Run a statement that deletes rows of a table, record each deletion and return how many."""
    shape = shape_of(model)
    gone = tx.execute(statement.returning(*shape.columns), values).all()
    for row in gone:
        name, revision, _, _ = shape.note_of(row)
        touch(tx, table=shape.table.name, row=name, revision=revision + 1, tag=GONE, until=None)
    return len(gone)


def renewed(tx: Session, model: type[Authentic], row: Any, values: Mapping[str, Any]) -> bytes:
    """Return the MAC of a row under the newest key, for a statement that writes it.

    Args:
        tx: The transaction.
        model: The table.
        row: All covered columns and the MAC, as currently stored.
        values: The changes of the statement, except the MAC.

    Raises:
        RowRefused: The stored row has no valid MAC.
    """
    shape = shape_of(model)
    if not holds(tx, model, row):
        raise refused()
    new = [values.get(name, getattr(row, name)) for name in shape.names]
    return _sealed(tx, shape, new, rows.revision_of(row.mac) + 1)


def first_mac(tx: Session, model: type[Authentic], row: Any) -> bytes:
    """Return the first MAC of a row without one, which is trusted as stored, once."""
    shape = shape_of(model)
    return _sealed(tx, shape, shape.of_row(row), 1)


def touch(  # noqa: PLR0913, PLR0917 - one argument for each member of a note
    tx: Session,
    table: str,
    row: str,
    revision: int,
    tag: str,
    until: int | None,
    before: str | None = None,
) -> None:
    """Record a change of a row; the log gets the record with this transaction.

    Args:
        tx: The transaction.
        table: The table.
        row: The key of the row.
        revision: The number of the change.
        tag: The start of the MAC or digest of the row after it, or GONE.
        until: Unix seconds until which the row must exist; None for ever.
        before: The digest of the row before the change, if no MAC was checked.
    """
    entry = [table, row, revision, tag, until]
    touched(tx).append(entry if before is None else [*entry, before])
    tx.info.setdefault(_TABLES, set()).add(table)


def changed_tables(info: Mapping[str, object]) -> Collection[str]:
    """Return the names of the tables with rows changed by a transaction, from its `info`."""
    return cast("Collection[str]", info.get(_TABLES, ()))


def unchanged(tx: Session, model: type[Recorded]) -> bool:
    """Return whether a transaction has changed no row of a table so far."""
    return shape_of(model).table.name not in changed_tables(tx.info)


def record(tx: Session, model: type[Noted], row: Any, before: Any = None) -> None:
    """Record the current state of a row without a MAC.

    Args:
        tx: The transaction.
        model: The table.
        row: Its covered columns and the column that counts its changes, by name.
        before: Its covered columns before the change, if the row retains them: from these the log
            proves that nothing else has edited it since the previous change.
    """
    shape = shape_of(model)
    found = None if before is None else shape.digest_of(before)
    touch(tx, shape.table.name, *shape.note_of(row), before=found)


def touched(tx: Session) -> list[Touched]:
    """Return the changes recorded in a transaction so far."""
    return cast("list[Touched]", tx.info.setdefault(_TOUCHED, []))


def cut(tx: Session, count: int) -> None:
    """Drop the recorded changes beyond a count, which were rolled back."""
    del touched(tx)[count:]


def taken(tx: Session) -> list[Touched]:
    """Return the recorded changes, which the log now gets, and start an empty record."""
    return cast("list[Touched]", tx.info.pop(_TOUCHED, []))


def refusals(info: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return table and key of each row with an invalid MAC in a transaction."""
    return list(info.get(_REFUSED, ()))


def authenticate_before_flush(session: Session, _context: object, _instances: object) -> None:
    """Handle `before_flush`: add MACs to new or changed rows, record deletions."""
    for row in session.new:
        if isinstance(row, Authentic):
            _seal_object(session, row, 1)
    for row in session.dirty:
        if not isinstance(row, Authentic):
            continue
        changed = instance_state(row).committed_state.keys()
        if changed & shape_of(type(row)).watched:
            _seal_object(session, row, rows.revision_of(row.mac) + 1)
    for row in session.deleted:
        if isinstance(row, Authentic):
            shape = shape_of(type(row))
            name = shape.name_of(shape.of_object(row))
            revision = rows.revision_of(row.mac) + 1
            touch(
                session, table=shape.table.name, row=name, revision=revision, tag=GONE, until=None
            )


def _seal_object(session: Session, row: Authentic, revision: int) -> None:
    shape = shape_of(type(row))
    row.mac = _sealed(session, shape, shape.of_object(row), revision)


def _sealed(tx: Session, shape: Shape, values: Sequence[Any], revision: int) -> bytes:
    mac = sealer_of(tx).row_key(tx, None).seal(shape.message(values), revision)
    name = shape.name_of(values)
    until = shape.until_of(values)
    touch(
        tx, table=shape.table.name, row=name, revision=revision, tag=rows.tag_of(mac), until=until
    )
    return mac


def _holds(tx: Session, shape: Shape, values: Sequence[Any], mac: bytes | None) -> bool:
    key = _key_of(tx, mac) if mac else None
    if key is not None and mac is not None and key.holds(shape.message(values), mac):
        return True
    tx.info.setdefault(_REFUSED, []).append((shape.table.name, shape.name_of(values)))
    return False


def _key_of(tx: Session, mac: bytes) -> RowKey | None:
    generation = rows.generation_of(mac)
    try:
        return sealer_of(tx).row_key(tx, generation) if generation else None
    except OpenError:
        # The generation never existed, or was deleted.
        return None


def _object_holds(tx: Session, row: Authentic) -> bool:
    shape = shape_of(type(row))
    return _holds(tx, shape, shape.of_object(row), row.mac)


def _loaded(row: Authentic, context: Any) -> None:
    session: Session = context.session
    if context.execution_options.get(_UNCHECKED):
        return
    if not _object_holds(session, row):
        raise refused()


def _refreshed(row: Authentic, context: Any, _names: object) -> None:
    _loaded(row, context)


event.listen(Authentic, "load", _loaded, propagate=True)
event.listen(Authentic, "refresh", _refreshed, propagate=True)


def _tell_object(
    tx: Session, shape: Shape, values: Sequence[Any], changed: Mapping[str, Any]
) -> None:
    """Update a loaded object of this row with the values written by a statement."""
    identity = (shape.model, tuple(values[: len(shape.key)]), None)
    row = tx.identity_map.get(identity) if tx.identity_map else None
    if row is not None:
        sealed = {item.name: item.column for item in vars(shape.model).get("__encrypted__", ())}
        for name, value in changed.items():
            set_committed_value(row, sealed.get(name, name), value)


@lru_cache(maxsize=64)
def _inserting(shape: Shape) -> Insert:
    return insert(shape.table)


@lru_cache(maxsize=64)
def _inserting_once(
    dialect: str, shape: Shape, unless: Select[Any] | None, names: tuple[str, ...]
) -> ReturningInsert[Any]:
    table = shape.table
    made = (sqlite.insert if dialect == "sqlite" else postgresql.insert)(table)
    if unless is not None:
        made = made.from_select(names, unless)
    return made.on_conflict_do_nothing().returning(table.c[shape.key[0]])


@lru_cache(maxsize=128)
def _changing(shape: Shape, names: tuple[str, ...]) -> ReturningUpdate[Any]:
    """Return the cached statement: building it costs more than running it."""
    columns = shape.table.c
    where = [columns[name] == bindparam(f"b_{name}") for name in (*shape.key, "mac")]
    values: dict[Any, Any] = {columns[name]: bindparam(f"n_{name}") for name in (*names, "mac")}
    return update(shape.table).where(*where).values(values).returning(columns.mac)
