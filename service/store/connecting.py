"""Database connections: creation, start of transactions, and removal from the pool."""

import sqlite3
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor, ExceptionContext
from sqlalchemy.pool import ConnectionPoolEntry

from service.store import files

BEGIN: Final = "lamina_begin"
"""How a transaction begins; empty to run each statement in autocommit."""
# A process suspended inside a transaction must not wake up and commit decisions under keys
# retired since. The setting is sent with BEGIN in one round trip, and ends with the transaction:
# behind a pooler the next one may be on another connection.
IDLE: Final = "; SET LOCAL idle_in_transaction_session_timeout = 30000"
READ_ONLY: Final = "25006"
LITE_BUSY: Final = frozenset({5, 6})
_BUSY_MS: Final = 10_000
_PAUSE_MS: Final = 20.0
_KEPT: Final = 8
"""Connections that stay open while nobody uses them."""


def _prepare_sqlite(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    # Autocommit mode: SQLAlchemy's own BEGIN below determines when a transaction starts.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        # First, so that the second process to open a new file waits for its log too.
        f"busy_timeout={_BUSY_MS}",
        # NORMAL could lose the last commits in a power failure: a used code would count again.
        "synchronous=FULL",
        "foreign_keys=ON",
        "secure_delete=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    _log_ahead(cursor)
    cursor.close()


def _log_ahead(cursor: DBAPICursor) -> None:
    """Enable the write-ahead log; SQLite fails at once if several open a new file, so retry."""
    deadline = time.monotonic() + _BUSY_MS / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in LITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_MS / 1000)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE takes the write lock at once, because a deferred transaction cannot wait for it
    # later.
    wanted = connection.get_execution_options().get(BEGIN, "BEGIN IMMEDIATE")
    if wanted:
        connection.exec_driver_sql(wanted)


def _prepare_postgresql(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    # A process id other than the server's own is a pooler, and statements prepared on one of its
    # connections are missing on the next. Without a pooler, prepared ones save 3 % of a login.
    cursor = connection.cursor()
    cursor.execute("SELECT pg_backend_pid()")
    if cursor.fetchone() != (connection.info.backend_pid,):
        connection.prepare_threshold = None
    cursor.close()


def _begin_postgresql(connection: Connection) -> None:
    # The driver is in autocommit mode: its own BEGIN would cost a separate round trip.
    options = connection.get_execution_options()
    if options.get("isolation_level") != "AUTOCOMMIT":
        wanted = options.get(BEGIN, f"BEGIN{IDLE}")
        if wanted:
            connection.exec_driver_sql(wanted)


def _renew_read_only(context: ExceptionContext) -> None:
    # After a failover the server of this connection may remain read-only: the pool drops all its
    # connections, and new ones go to the server that can write.
    if getattr(context.original_exception, "sqlstate", None) == READ_ONLY:
        context.is_disconnect = True


def _closing(engine: Engine) -> Callable[..., None]:
    """Return a listener that makes the database files private before the first connection."""
    path = files.path_of(engine)

    @lru_cache(maxsize=1)
    def once() -> None:
        if path is not None:
            files.close(path)

    def connecting(*_: object) -> None:
        once()

    return connecting


def make_engine(url: str, connections: int = 32) -> Engine:
    """Return an engine with errors that never show a bound value.

    Args:
        url: Where the database is.
        connections: How many connections to PostgreSQL are open at once, at most.
    """
    kept = min(connections, _KEPT)
    if url.startswith("sqlite"):
        engine = create_engine(url, hide_parameters=True, connect_args={"check_same_thread": False})
        event.listen(engine, "do_connect", _closing(engine))
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    # No ping before each use: the first request after an outage gets a 503, which renews the pool.
    engine = create_engine(
        url,
        hide_parameters=True,
        pool_size=kept,
        max_overflow=connections - kept,
        pool_timeout=5,
        pool_recycle=1800,
        isolation_level="AUTOCOMMIT",
    )
    event.listen(engine, "connect", _prepare_postgresql)
    event.listen(engine, "begin", _begin_postgresql)
    event.listen(engine, "handle_error", _renew_read_only)
    return engine
