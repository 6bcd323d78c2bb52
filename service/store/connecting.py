"""Connections: how they are made, how a transaction begins, and when the pool lets go of one."""

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
"""How a transaction begins; empty where each statement is one."""
# A process that was stopped inside a unit of work must not wake up and commit what it decided
# under keys that have been retired since. It goes along with BEGIN, in one round trip, and ends
# with the transaction: behind a pooler the next one may be on another connection.
IDLE: Final = "; SET LOCAL idle_in_transaction_session_timeout = 30000"
READ_ONLY: Final = "25006"
LITE_BUSY: Final = frozenset({5, 6})
_BUSY_MS: Final = 10_000
_PAUSE_MS: Final = 20.0


def _prepare_sqlite(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    # Autocommit mode: SQLAlchemy's own BEGIN below decides when a transaction starts.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        # First: who comes second to a new file waits for its log too.
        f"busy_timeout={_BUSY_MS}",
        # NORMAL would forget the last commits after a power cut: a used code would count again.
        "synchronous=FULL",
        "foreign_keys=ON",
        "secure_delete=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    _log_ahead(cursor)
    cursor.close()


def _log_ahead(cursor: DBAPICursor) -> None:
    """Turn the log on; of several who open a new file at once SQLite lets only one, unwaited."""
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
    # IMMEDIATE takes the write lock at once: a deferred one cannot wait for it later.
    wanted = connection.get_execution_options().get(BEGIN, "BEGIN IMMEDIATE")
    if wanted:
        connection.exec_driver_sql(wanted)


def _prepare_postgresql(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    # Who answers under another number than the server's own is a pooler, and what was prepared on
    # one of its connections is not there on the next. Elsewhere 3 % of a login are saved.
    cursor = connection.cursor()
    cursor.execute("SELECT pg_backend_pid()")
    if cursor.fetchone() != (connection.info.backend_pid,):
        connection.prepare_threshold = None
    cursor.close()


def _begin_postgresql(connection: Connection) -> None:
    # The driver is in autocommit mode: a BEGIN of its own would be a round trip of its own.
    options = connection.get_execution_options()
    if options.get("isolation_level") != "AUTOCOMMIT":
        wanted = options.get(BEGIN, f"BEGIN{IDLE}")
        if wanted:
            connection.exec_driver_sql(wanted)


def _renew_read_only(context: ExceptionContext) -> None:
    # After a failover the server of this connection may be a stand-by for good: the pool lets go
    # of all of them, and new ones go to whoever may write.
    if getattr(context.original_exception, "sqlstate", None) == READ_ONLY:
        context.is_disconnect = True


def _closing(engine: Engine) -> Callable[..., None]:
    """Return a listener that closes the database's files to others before the first connection."""
    path = files.path_of(engine)

    @lru_cache(maxsize=1)
    def once() -> None:
        if path is not None:
            files.close(path)

    def connecting(*_: object) -> None:
        once()

    return connecting


def make_engine(url: str) -> Engine:
    """Return an engine whose errors never show a bound value."""
    if url.startswith("sqlite"):
        engine = create_engine(url, hide_parameters=True, connect_args={"check_same_thread": False})
        event.listen(engine, "do_connect", _closing(engine))
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    # No ping before each use: the first request after an outage is a 503, which renews the pool.
    engine = create_engine(
        url,
        hide_parameters=True,
        pool_size=8,
        max_overflow=24,
        pool_timeout=5,
        pool_recycle=1800,
        isolation_level="AUTOCOMMIT",
    )
    event.listen(engine, "connect", _prepare_postgresql)
    event.listen(engine, "begin", _begin_postgresql)
    event.listen(engine, "handle_error", _renew_read_only)
    return engine
