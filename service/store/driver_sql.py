"""Statements as text for the driver, compiled once: several can then be sent as one.

A statement through SQLAlchemy costs about three times what the driver needs, for each execution.
Here values are still converted by the types of their columns, and stay parameters.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import ClauseElement, Connection, Dialect, Result, Select
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql.compiler import SQLCompiler

AnySelect = Select[Any]
"""A statement that is built at run time, from the columns of a table or of its MAC."""
Cells = tuple[Any, ...]
"""A row of a statement, in the order of its columns."""
AnyResult = Result[Any]
"""The result of a statement that is built at run time."""
Convert = Callable[[object], object]
"""Converts one value for the driver, or from it."""
_DIALECTS: Final[dict[str, Dialect]] = {}
_NAMED: Final = re.compile(r"%\((\w+)\)s")


@dataclass(frozen=True, slots=True)
class DriverSql:
    """A compiled statement.

    Args:
        text: The SQL, with named parameters that begin with the prefix.
        given: The name of each value that a caller gives, its parameter and its conversion.
        fixed: The parameters that are the same in each execution, converted.
    """

    text: str
    given: tuple[tuple[str, str, Convert | None], ...]
    fixed: Mapping[str, object]

    def parameters(self, values: Mapping[str, object]) -> dict[str, object]:
        """Return the parameters of one execution; raises KeyError if a value is missing."""
        found = dict(self.fixed)
        for name, parameter, convert in self.given:
            value = values[name]
            found[parameter] = value if convert is None else convert(value)
        return found


def dialect_of(connection: Connection) -> Dialect:
    """Return the dialect of a connection, the same for all engines of one kind of database.

    What is compiled for one serves all, so a process that opens several engines compiles once.
    """
    return _DIALECTS.setdefault(connection.dialect.name, connection.dialect)


@lru_cache(maxsize=512)
def driver_sql(
    statement: ClauseElement, dialect: Dialect, prefix: str, names: tuple[str, ...]
) -> DriverSql:
    """Compile a statement with named parameters.

    Args:
        statement: A constant of its module: it is compiled once for each prefix.
        dialect: What `dialect_of` returns.
        prefix: Begins the name of each parameter, so that statements can be joined.
        names: The names of the values that callers give; for an insert, of its columns.

    Raises:
        ValueError: The statement has a list of values, a default made in Python, or is not known
            to the driver by named parameters.
    """
    # SQLite's driver takes names too, by which the values of several statements stay apart.
    named = sqlite.dialect(paramstyle="named") if dialect.name == "sqlite" else dialect
    compiled = statement.compile(dialect=named, column_keys=list(names))
    if (
        not isinstance(compiled, SQLCompiler)
        or compiled.positional
        or compiled.post_compile_params
        or compiled.insert_prefetch
        or compiled.update_prefetch
    ):
        raise ValueError(f"this statement cannot be joined with others: {statement}")
    given = []
    fixed: dict[str, object] = {}
    wanted = set(names)
    for bind, parameter in compiled.bind_names.items():
        convert = bind.type.dialect_impl(dialect).bind_processor(dialect)
        if bind.key in wanted:
            given.append((bind.key, prefix + parameter, convert))
        else:
            value = bind.effective_value
            fixed[prefix + parameter] = value if convert is None else convert(value)
    text = _NAMED.sub(rf"%({prefix}\1)s", compiled.string) if prefix else compiled.string
    return DriverSql(text, tuple(given), fixed)


@lru_cache(maxsize=256)
def result_converts(statement: AnySelect, dialect: Dialect) -> tuple[tuple[int, Convert], ...]:
    """Return the columns of a statement that need a conversion, and the conversions."""
    found: list[tuple[int, Convert]] = []
    for index, column in enumerate(statement.selected_columns):
        convert = column.type.dialect_impl(dialect).result_processor(dialect, None)
        if convert is not None:
            found.append((index, convert))
    return tuple(found)


def converted(row: Sequence[object], converts: tuple[tuple[int, Convert], ...]) -> Cells:
    """Return a row of the driver with the values that its columns have in Python."""
    if not converts:
        return tuple(row)
    cells = list(row)
    for index, convert in converts:
        cells[index] = convert(cells[index])
    return tuple(cells)
