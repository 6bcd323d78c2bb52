"""Compiled statements that the database driver runs itself, with tuples for rows.

An execution through SQLAlchemy costs three times what the driver needs for it. Where a request
consists of one statement, that is most of the request.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from sqlalchemy import Connection, Dialect
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError

from service.store.driver_sql import AnySelect, Cells
from service.store.engine import Tx
from service.store.unit_of_work import unit_of

_Convert = Callable[[object], object]


class DriverRead:
    """A statement with named parameters, for reads of few rows.

    Args:
        statement: The statement; an expanding parameter cannot be compiled beforehand.
    """

    def __init__(self, statement: AnySelect) -> None:
        self.statement = statement
        self._compiled: dict[str, _Compiled] = {}

    def rows(self, tx: Tx, values: Mapping[str, object]) -> Sequence[Cells]:
        """Run the statement in a transaction; return its rows, with values as Python's."""
        unit = unit_of(tx)
        if (found := unit.known_rows(self.statement, values)) is not None:
            return found
        connection = unit.directly()
        # Whoever listens hears of each statement by SQLAlchemy alone.
        if connection.dispatch.before_cursor_execute:
            return self._usually(connection, values)
        dialect = connection.dialect
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = self._compiled[dialect.name] = _Compiled(self.statement, dialect)
        driver = connection.connection.dbapi_connection
        if driver is None:
            return self._usually(connection, values)
        try:
            return compiled.run(driver, values)
        except dialect.loaded_dbapi.Error as error:
            if not dialect.is_disconnect(error, driver, None):
                raise compiled.failure(error) from error
            # SQLAlchemy meets the lost connection, too, and lets go of all to that server.
            return self._usually(connection, values)

    def _usually(self, connection: Connection, values: Mapping[str, object]) -> Sequence[Cells]:
        return [tuple(row) for row in connection.execute(self.statement, dict(values))]


class _Compiled:
    """A statement in the words of one database, with what converts its values."""

    def __init__(self, statement: AnySelect, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        self._dialect = dialect
        self._text = str(compiled)
        self._order: Sequence[str] | None = getattr(compiled, "positiontup", None)
        self._fixed = dict(compiled.params)
        self._bind: dict[str, _Convert] = {}
        for name, parameter in getattr(compiled, "binds", {}).items():
            convert = parameter.type.dialect_impl(dialect).bind_processor(dialect)
            if convert is not None:
                self._bind[name] = convert
                self._fixed[name] = convert(self._fixed[name]) if self._fixed[name] else None
        found: list[tuple[int, _Convert]] = []
        for place, column in enumerate(statement.selected_columns):
            result = column.type.dialect_impl(dialect).result_processor(dialect, None)
            if result is not None:
                found.append((place, result))
        self._results: Final = tuple(found)

    def failure(self, error: Exception) -> Exception:
        """Return what SQLAlchemy raises for an error of the driver; no value is shown."""
        base = self._dialect.loaded_dbapi.Error
        return DBAPIError.instance(
            self._text, {}, error, base, hide_parameters=True, dialect=self._dialect
        )

    def run(self, driver: DBAPIConnection, values: Mapping[str, object]) -> Sequence[Cells]:
        bound = dict(self._fixed)
        for name, value in values.items():
            convert = self._bind.get(name)
            bound[name] = value if convert is None else convert(value)
        given: Mapping[str, object] | Sequence[object] = bound
        if self._order is not None:
            given = [bound[name] for name in self._order]
        cursor = driver.cursor()
        try:
            cursor.execute(self._text, given)
            rows = cursor.fetchall()
        finally:
            cursor.close()
        return [self._converted(row) for row in rows]

    def _converted(self, row: Sequence[object]) -> Cells:
        cells = list(row)
        for place, convert in self._results:
            cells[place] = convert(cells[place])
        return tuple(cells)
