"""Iterate over the rows of tables recorded in the log, page by page in order of their keys."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import LargeBinary, Uuid, func, literal, select, tuple_, update
from sqlalchemy.exc import DataError
from sqlalchemy.sql.elements import ColumnElement

from service.store.authentic import first_mac, reading, renewed
from service.store.engine import AnyRow, AnySelect, Tx
from service.store.shapes import Shape

_PAGE = 500
Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row with a cell that the driver cannot decode, which this service did not write.

    Args:
        name: Its key, in the format of `Shape.name_of`.
    """

    name: str


_UNREAD: Final = (ValueError, TypeError, LookupError, ArithmeticError, DataError)
"""Exceptions of drivers and types for such a cell; none ends the transaction."""


def all_rows(
    tx: Tx, shape: Shape, *conditions: ColumnElement[bool]
) -> Iterator[AnyRow | Unreadable]:
    """Yield every row with its covered columns and MAC, or `Unreadable` instead."""
    after: Key | None = None
    while True:
        try:
            page = page_after(tx, shape, after, *conditions)
        except _UNREAD:
            keys = _keys_after(tx, shape, after, *conditions)
            yield from (_named(tx, shape, key) for key in keys)
            after = keys[-1]
            continue
        if not page:
            return
        yield from page
        after = key_of(shape, page[-1])


def _keys_after(
    tx: Tx, shape: Shape, after: Key | None, *conditions: ColumnElement[bool]
) -> list[Key]:
    keys = [shape.table.c[name] for name in shape.key]
    query = select(*keys).where(*conditions).order_by(*keys).limit(_PAGE)
    return [tuple(row) for row in tx.execute(_beyond(query, keys, after))]


def _beyond(
    query: AnySelect, keys: Sequence[ColumnElement[object]], after: Key | None
) -> AnySelect:
    if after is None:
        return query
    return query.where(keys[0] > after[0] if len(keys) == 1 else tuple_(*keys) > after)


def _named(tx: Tx, shape: Shape, key: Key) -> AnyRow | Unreadable:
    where = [shape.table.c[name] == value for name, value in zip(shape.key, key, strict=True)]
    try:
        return tx.execute(reading(shape.model).where(*where)).one()
    except _UNREAD:
        return Unreadable(shape.name_of(key))


def page_after(
    tx: Tx, shape: Shape, after: Key | None, *conditions: ColumnElement[bool], lock: bool = False
) -> Sequence[AnyRow]:
    """Return a page of rows with keys after one; with `lock`, locked, skipping locked rows."""
    keys = [shape.table.c[name] for name in shape.key]
    query = reading(shape.model).where(*conditions).order_by(*keys).limit(_PAGE)
    query = _beyond(query, keys, after)
    if lock:
        query = query.with_for_update(skip_locked=True)
    return tx.execute(query).all()


def row_named(tx: Tx, shape: Shape, name: str) -> AnyRow | Unreadable | None:
    """Return the row with a key in the format of `Shape.name_of`; None if there is none.

    A row that cannot be decoded is `Unreadable`.
    """
    columns = [shape.table.c[part] for part in shape.key]
    parts = name.split("|", len(columns) - 1)
    where = [column == _parsed(column, part) for column, part in zip(columns, parts, strict=True)]
    try:
        return tx.execute(reading(shape.model).where(*where)).first()
    except _UNREAD:
        return Unreadable(name)


def key_of(shape: Shape, row: AnyRow) -> Key:
    """Return the key of a row."""
    return tuple(getattr(row, name) for name in shape.key)


def unsealed(shape: Shape) -> ColumnElement[bool]:
    """Return the condition that a row has no MAC."""
    return shape.table.c.mac.is_(None)


def older(shape: Shape, generation: int) -> ColumnElement[bool]:
    """Return the condition that a MAC is under an older generation of the key."""
    return func.substr(shape.table.c.mac, 2, 2) < literal(generation.to_bytes(2, "big"))


def count_older(tx: Tx, shape: Shape, generation: int) -> int:
    """Count the rows with a MAC under an older generation of the key."""
    query = select(func.count()).select_from(shape.table).where(older(shape, generation))
    return tx.execute(query).scalar_one()


def trust(tx: Tx, shape: Shape, page: Sequence[AnyRow]) -> None:
    """Add MACs to rows without one, trusting them as stored."""
    _write(tx, shape, [(row, first_mac(tx, shape.keyed_model, row)) for row in page])


def renew(tx: Tx, shape: Shape, row: AnyRow) -> None:
    """Recompute the MAC of a row under the newest key; raises RowRefused if it is invalid."""
    _write(tx, shape, [(row, renewed(tx, shape.keyed_model, row, {}))])


def _write(tx: Tx, shape: Shape, rows: Sequence[tuple[AnyRow, bytes]]) -> None:
    for row, mac in rows:
        where = [shape.table.c[name] == getattr(row, name) for name in shape.key]
        tx.execute(update(shape.table).where(*where).values(mac=mac))


def _parsed(column: ColumnElement[object], part: str) -> object:
    if isinstance(column.type, Uuid):
        return UUID(part)
    if isinstance(column.type, LargeBinary):
        return bytes.fromhex(part)
    return column.type.python_type(part)


def is_over(until: int | None, now: datetime) -> bool:
    """Return whether a row may be missing by now."""
    return until is not None and until <= now.timestamp()
