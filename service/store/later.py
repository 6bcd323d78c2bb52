"""Writes that wait for each other and go to the database as one statement.

    later(tx, _SAVE, values, else_raise=moved)

A write without an answer that the code needs at once is queued. All queued writes are sent, in
one round trip on PostgreSQL, before the next statement of the transaction and at the latest before
its commit: what reads after a write sees it. In one statement of PostgreSQL a row can change only
once, so a second change of a table is sent after the first; inserts go together.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from sqlalchemy import Connection, Delete, Dialect, Insert, Update
from sqlalchemy.orm import Session

from service.store.ahead import drop_ahead
from service.store.driver_sql import DriverSql, dialect_of, driver_sql

_WAITING: Final = "lamina_later"
_MOST: Final = 32
"""Writes of one statement: the driver takes 65,535 values, and each form is compiled once."""
Write = Insert | Update | Delete
"""A statement that writes rows of one table."""


class _Write(NamedTuple):
    statement: Write
    values: Mapping[str, object]
    else_raise: Callable[[], Exception] | None


class _Joined(NamedTuple):
    text: str
    parts: tuple[DriverSql, ...]


def later(
    tx: Session,
    statement: Write,
    values: Mapping[str, object],
    *,
    else_raise: Callable[[], Exception] | None = None,
) -> None:
    """Queue a write.

    Args:
        tx: A transaction.
        statement: An insert, update or delete, a constant of its module. With `else_raise` it
            returns the rows that it wrote.
        values: Its values.
        else_raise: Returns the error of a write that met no row.
    """
    drop_ahead(tx, statement)
    tx.info.setdefault(_WAITING, []).append(_Write(statement, values, else_raise))


def send(tx: Session, connection: Connection, count: int | None = None) -> None:
    """Send the queued writes.

    Args:
        tx: The transaction.
        connection: Its connection.
        count: How many to send, the first ones; None for all.

    Raises:
        Exception: The error of a write that met no row.
    """
    queue: list[_Write] = tx.info.get(_WAITING, [])
    waiting = queue[:count]
    del queue[:count]
    dialect = dialect_of(connection)
    for group in _groups(waiting, together=dialect.name == "postgresql"):
        if len(group) == 1:
            write = group[0]
            result = connection.execute(write.statement, write.values)
            if write.else_raise is not None and result.first() is None:
                raise write.else_raise()
            continue
        joined = _joined(
            tuple(
                (write.statement, tuple(write.values), write.else_raise is not None)
                for write in group
            ),
            dialect,
        )
        parameters: dict[str, object] = {}
        for part, write in zip(joined.parts, group, strict=True):
            parameters |= part.parameters(write.values)
        counts = connection.exec_driver_sql(joined.text, parameters).one()
        guarded = [write.else_raise for write in group if write.else_raise is not None]
        for written, error in zip(counts, guarded, strict=False):
            if not written:
                raise error()


def queued(tx: Session) -> int:
    """Return how many writes wait."""
    return len(tx.info.get(_WAITING, ()))


def cut_queue(tx: Session, count: int) -> None:
    """Drop the writes queued beyond a count, which belong to a part that was rolled back."""
    del tx.info.get(_WAITING, [])[count:]


def _groups(waiting: Sequence[_Write], *, together: bool) -> Iterator[list[_Write]]:
    """Split writes so that no group changes a table twice, except by inserts."""
    group: list[_Write] = []
    changed: dict[object, bool] = {}
    for write in waiting:
        table = write.statement.table
        inserts = isinstance(write.statement, Insert)
        apart = (
            not together
            or len(group) == _MOST
            or (table in changed and not (inserts and changed[table]))
        )
        if group and apart:
            yield group
            group = []
            changed = {}
        group.append(write)
        changed[table] = inserts
    if group:
        yield group


@lru_cache(maxsize=256)
def _joined(writes: tuple[tuple[Write, tuple[str, ...], bool], ...], dialect: Dialect) -> _Joined:
    """Join writes as common table expressions, of which PostgreSQL runs each exactly once."""
    parts = tuple(
        driver_sql(statement, dialect, f"w{number}_", names)
        for number, (statement, names, _) in enumerate(writes)
    )
    # Every part is SQL that was compiled from a constant.
    tables = ", ".join(f"w{number} AS ({part.text})" for number, part in enumerate(parts))
    shown = [
        f"(SELECT count(*) FROM w{number})"  # noqa: S608
        for number, (_, _, guarded) in enumerate(writes)
        if guarded
    ]
    text = f"WITH {tables} SELECT {', '.join(shown) or '1'}"
    return _Joined(text, parts)
