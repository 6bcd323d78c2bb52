"""Compiled statements that the database driver runs itself, with tuples for rows.

An execution through SQLAlchemy costs three times what the driver needs for it. Where a request
consists of one statement, that is most of the request.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, Dialect
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError

from service.store.driver_sql import (
    AnySelect,
    Cells,
    converted,
    dialect_of,
    driver_sql,
    result_converts,
)
from service.store.engine import Tx
from service.store.unit_of_work import unit_of


class DriverRead:
    """A statement with named parameters, for reads of few rows.

    Args:
        statement: The statement; an expanding parameter cannot be compiled beforehand.
    """

    def __init__(self, statement: AnySelect) -> None:
        self.statement = statement

    def rows(self, tx: Tx, values: Mapping[str, object]) -> Sequence[Cells]:
        """Run the statement in a transaction; return its rows, with values as Python's."""
        unit = unit_of(tx)
        if (found := unit.known_rows(self.statement, values)) is not None:
            return found
        connection = unit.directly()
        driver = connection.connection.dbapi_connection
        # Whoever listens hears of each statement by SQLAlchemy alone.
        if driver is None or connection.dispatch.before_cursor_execute:
            return self._usually(connection, values)
        dialect = dialect_of(connection)
        sql = driver_sql(self.statement, dialect, "", tuple(values))
        try:
            rows = _run(driver, sql.text, sql.parameters(values))
        except dialect.loaded_dbapi.Error as error:
            if not dialect.is_disconnect(error, driver, None):
                raise _failure(error, sql.text, dialect) from error
            # SQLAlchemy meets the lost connection, too, and lets go of all to that server.
            return self._usually(connection, values)
        converts = result_converts(self.statement, dialect)
        return [converted(row, converts) for row in rows]

    def _usually(self, connection: Connection, values: Mapping[str, object]) -> Sequence[Cells]:
        return [tuple(row) for row in connection.execute(self.statement, dict(values))]


def _run(
    driver: DBAPIConnection, text: str, parameters: Mapping[str, object]
) -> Sequence[Sequence[object]]:
    cursor = driver.cursor()
    try:
        cursor.execute(text, parameters)
        return cursor.fetchall()
    finally:
        cursor.close()


def _failure(error: Exception, text: str, dialect: Dialect) -> Exception:
    """Return what SQLAlchemy raises for an error of the driver; no value is shown."""
    base = dialect.loaded_dbapi.Error
    return DBAPIError.instance(text, {}, error, base, hide_parameters=True, dialect=dialect)
