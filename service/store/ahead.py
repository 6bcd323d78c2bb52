"""Read what several statements of a transaction select in one round trip.

    read_ahead(tx, [PlannedRead(_PLAIN, {"b_id": subject}), PlannedRead(_RISK, {"b_s": subject})])

A later execution of one of these statements with equal values finds its rows here. They are
dropped when the transaction changes one of their tables, reads with a lock, or rolls back a part.
The lock that protects the rows is taken before, so no code reads what its own statement would not
have read. Only PostgreSQL needs it: a statement of SQLite makes no round trip.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Final, NamedTuple, cast

from sqlalchemy import Delete, Dialect, Executable, Insert, Table, Update
from sqlalchemy.engine import IteratorResult
from sqlalchemy.engine.result import SimpleResultMetaData
from sqlalchemy.orm import Session
from sqlalchemy.sql import visitors

from service.store.driver_sql import (
    AnyResult,
    AnySelect,
    Cells,
    Convert,
    DriverSql,
    converted,
    dialect_of,
    driver_sql,
    result_converts,
)

_AHEAD: Final = "lamina_ahead"
_REMEMBERED: Final = "lamina_remembered"
Values = Mapping[str, object]
"""The values of a statement, by the names of its parameters."""


class PlannedRead(NamedTuple):
    """A statement, a constant of its module without order or lock, and its values."""

    statement: AnySelect
    values: Values


Rows = Sequence[Cells]
"""The rows of a statement."""


class _Found(NamedTuple):
    values: Values
    rows: list[Cells]


_Rows = dict[AnySelect, list[_Found]]


@dataclass(frozen=True, slots=True)
class _Part:
    """A statement within the joined one.

    Args:
        place: Returns the values of its columns from a joined row.
        single: Whether it has one column, of which `place` returns no tuple.
        converts: The columns to convert, and how.
    """

    sql: DriverSql
    place: Callable[[Sequence[object]], object]
    single: bool
    converts: tuple[tuple[int, Convert], ...]

    def row(self, joined: Sequence[object]) -> tuple[object, ...]:
        """Return the row of the statement in a joined row."""
        found = self.place(joined)
        values = (found,) if self.single else cast("tuple[object, ...]", found)
        return converted(values, self.converts)


class _Joined(NamedTuple):
    text: str
    parts: tuple[_Part, ...]


def read_ahead(tx: Session, wanted: Sequence[PlannedRead]) -> None:
    """Read what statements select, for their later executions in this transaction.

    Args:
        tx: A transaction; whatever the rows depend on is locked already.
        wanted: The statements; one may be wanted several times with other values.
    """
    if tx.get_bind().dialect.name != "postgresql" or not wanted:
        return
    tx.flush()
    connection = tx.connection()
    dialect = dialect_of(connection)
    joined = _joined(tuple((item.statement, tuple(item.values)) for item in wanted), dialect)
    parameters: dict[str, object] = {}
    for part, item in zip(joined.parts, wanted, strict=True):
        parameters |= part.sql.parameters(item.values)
    rows = connection.exec_driver_sql(joined.text, parameters).all()
    found = [_Found(item.values, []) for item in wanted]
    for row in rows:
        number = row[0]
        found[number].rows.append(joined.parts[number].row(row))
    ahead: _Rows = tx.info.setdefault(_AHEAD, {})
    for item, result in zip(wanted, found, strict=True):
        ahead.setdefault(item.statement, []).append(result)


def rows_ahead(tx: Session, statement: Executable, values: Values) -> Rows | None:
    """Return the rows of a statement that were read ahead, or None."""
    ahead: _Rows | None = tx.info.get(_AHEAD)
    for found in ahead.get(cast("AnySelect", statement), ()) if ahead else ():
        if found.values == values:
            return found.rows
    return None


def result_ahead(tx: Session, statement: Executable, values: Values) -> AnyResult | None:
    """Return the result of a statement that was read ahead, or None."""
    rows = rows_ahead(tx, statement, values)
    return (
        None
        if rows is None
        else IteratorResult(_metadata(cast("AnySelect", statement)), iter(rows))
    )


def remembered(tx: Session) -> dict[str, object]:
    """Return what features remember of rows that they read, until a lock or a rolled back part."""
    found: dict[str, object] = tx.info.setdefault(_REMEMBERED, {})
    return found


def drop_ahead(tx: Session, statement: Executable | None = None) -> None:
    """Drop the rows that the execution of a statement may have changed; without one, all."""
    ahead: _Rows = tx.info.get(_AHEAD, {})
    if isinstance(statement, Insert | Update | Delete):
        for kept in [kept for kept in ahead if statement.table in _tables(kept)]:
            del ahead[kept]
    elif not _only_reads(statement):
        ahead.clear()
        tx.info.pop(_REMEMBERED, None)


def _only_reads(statement: Executable | None) -> bool:
    """Return whether a statement neither writes nor waits for a lock."""
    if statement is None or not statement.is_select:
        return False
    return getattr(statement, "_for_update_arg", None) is None


@lru_cache(maxsize=256)
def _metadata(statement: AnySelect) -> SimpleResultMetaData:
    return SimpleResultMetaData(list(statement.selected_columns.keys()))


@lru_cache(maxsize=256)
def _tables(statement: AnySelect) -> frozenset[Table]:
    return frozenset(item for item in visitors.iterate(statement) if isinstance(item, Table))


@lru_cache(maxsize=128)
def _joined(statements: tuple[tuple[AnySelect, tuple[str, ...]], ...], dialect: Dialect) -> _Joined:
    """Join statements by UNION ALL: each column has a place among those of its type."""
    kinds = [_kinds(statement, dialect) for statement, _ in statements]
    most = {
        kind: max(each.count(kind) for each in kinds)
        for kind in sorted({kind for each in kinds for kind in each})
    }
    first: dict[str, int] = {}
    for kind in most:
        first[kind] = 1 + sum(most[other] for other in first)
    texts = []
    parts = []
    for number, ((statement, names), each) in enumerate(zip(statements, kinds, strict=True)):
        sql = driver_sql(statement, dialect, f"a{number}_", names)
        taken: dict[int, int] = {}
        for index, kind in enumerate(each):
            place = first[kind]
            while place in taken:
                place += 1
            taken[place] = index
        columns = [str(number)]
        for kind, count in most.items():
            columns += [
                f"q.c{taken[place]}" if place in taken else f"CAST(NULL AS {kind})"
                for place in range(first[kind], first[kind] + count)
            ]
        names_of = ", ".join(f"c{index}" for index in range(len(each)))
        # Every part is SQL that was compiled from a constant.
        texts.append(f"SELECT {', '.join(columns)} FROM ({sql.text}) AS q({names_of})")  # noqa: S608
        places = [place for place, _ in sorted(taken.items(), key=itemgetter(1))]
        parts.append(
            _Part(sql, itemgetter(*places), len(places) == 1, result_converts(statement, dialect))
        )
    return _Joined(" UNION ALL ".join(texts), tuple(parts))


def _kinds(statement: AnySelect, dialect: Dialect) -> list[str]:
    """Return the SQL type of each column, without a length."""
    types = dialect.type_compiler_instance
    return [types.process(column.type).split("(")[0] for column in statement.selected_columns]
