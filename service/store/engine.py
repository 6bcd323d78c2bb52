"""The engine and its transactions; none may span a password hash or an inference."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Engine, Row, Table, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import ObjectDeletedError, StaleDataError
from sqlalchemy.sql.dml import ReturningInsert

from crypto.errors import CryptoError
from crypto.opaque import random_bytes
from service.domain.errors import Busy, Conflict, LaminaError, Unavailable
from service.store.authentic import refusals
from service.store.connecting import BEGIN, IDLE, LITE_BUSY, READ_ONLY
from service.store.connecting import make_engine as make_engine  # noqa: PLC0414 - others import it from here
from service.store.driver_sql import AnySelect as AnySelect  # noqa: PLC0414 - others import it from here
from service.store.held import HeldConnections
from service.store.sealed import FieldSealer, use_sealer
from service.store.unit_of_work import UnitOfWork

Tx = Session
AnyRow = Row[Any]
"""A row of named columns, of a statement that is built at run time."""
SessionInfo = Mapping[Any, Any]
"""What a unit of work carries: the `info` of a session."""
_Result = TypeVar("_Result")
ENDINGS: Final = "lamina_endings"
"""Key in `Session.info` of the callbacks that run at the end of a transaction."""
_TRIES: Final = 5
_PAUSE_MS: Final = 20.0
_DEADLOCK = "40P01"
_SERIALIZATION = "40001"
_LOCK_TIMEOUT = "55P03"
_UNIQUE = "23505"
_LITE_UNIQUE: Final = frozenset({1555, 2067})


class Store:
    """Opens transactions, one at a time per thread."""

    def __init__(self, engine: Engine, sealer: FieldSealer) -> None:
        self.engine = engine
        # Reads need no explicit transaction, which saves two round trips.
        if engine.dialect.name == "postgresql":
            self._reader = engine.execution_options(**{BEGIN: ""})
            steadily = f"BEGIN ISOLATION LEVEL REPEATABLE READ{IDLE}"
            self._steady = engine.execution_options(**{BEGIN: steadily})
        else:
            self._reader = engine.execution_options(**{BEGIN: ""})
            # A reader of SQLite's log sees one snapshot from its first statement on.
            self._steady = engine.execution_options(**{BEGIN: "BEGIN"})
        self._held = HeldConnections(engine, self._reader)
        self._sealer = sealer
        self._local = threading.local()
        self._listeners: list[Callable[[SessionInfo], None]] = []
        self._file: tuple[int, int] | None = None
        self._endings: list[Callable[[Session], None]] = []
        self._alarm: Callable[[list[tuple[str, str]]], None] = _ignore
        self.follow()

    def at_end(self, ending: Callable[[Session], None]) -> None:
        """Register a callback for the end of every writing transaction, before its commit."""
        self._endings.append(ending)

    def on_refused(self, alarm: Callable[[list[tuple[str, str]]], None]) -> None:
        """Register the alarm, called outside transactions with table and key of invalid rows."""
        self._alarm = alarm

    @contextmanager
    def transaction(self, *, read: bool = False, steady: bool = False) -> Iterator[Tx]:
        """Open a transaction, committed at the end and rolled back on any error.

        Args:
            read: Whether it only reads.
            steady: Whether it only reads, from a single snapshot.

        Raises:
            Unavailable: The database does not respond.
            Busy: The database aborted the transaction, or a lock wait, in favor of others.
            Conflict: A unique constraint or a concurrent change prevents it.
        """
        self._enter()
        engine = self._steady if steady else self._reader if read else self.engine
        session = UnitOfWork(engine, expire_on_commit=False)
        use_sealer(session, self._sealer)
        try:
            with session.begin():
                self._sealer.begin(session)
                yield session
                if not (read or steady) or ENDINGS in session.info:
                    self._end(session)
        except SQLAlchemyError as error:
            refusal = refusal_of(error)
            if refusal is None:
                raise
            raise refusal from error
        finally:
            session.close()
            touched = self._left(session.info)
        self._sealer.ended(touched)
        if not (read or steady):
            self._local.committed = True
        for listener in self._listeners:
            listener(touched)

    @contextmanager
    def reading(self) -> Iterator[Tx]:
        """Open a short read of few statements, each in autocommit, on a connection that is kept.

        It costs a fifth of `transaction(read=True)`, which a read of many rows, or one that waits
        for something else meanwhile, takes instead.

        Raises:
            Unavailable: The database does not respond.
        """
        self._enter()
        info: dict[str, object] = {}
        try:
            with (
                self._held.one() as connection,
                UnitOfWork(connection, expire_on_commit=False) as session,
            ):
                info = session.info
                session.on(connection)
                use_sealer(session, self._sealer)
                self._sealer.begin(session)
                yield session
                if ENDINGS in info:
                    self._end(session)
                    session.commit()
        except SQLAlchemyError as error:
            refusal = refusal_of(error)
            if refusal is None:
                raise
            raise refusal from error
        finally:
            touched = self._left(info)
        self._sealer.ended(touched)
        for listener in self._listeners:
            listener(touched)

    def _enter(self) -> None:
        if getattr(self._local, "open", False):
            raise RuntimeError("a transaction is already open in this thread")
        self._local.open = True

    def _left(self, info: dict[str, object]) -> dict[str, object]:
        """Return what a transaction carried, and raise the alarm for rows that were refused."""
        self._local.open = False
        touched = dict(info)
        # Unwrapped keys are dropped now, not when a reference cycle is collected.
        info.clear()
        if failed := refusals(touched):
            self._alarm(failed)
        return touched

    def on_commit(self, listener: Callable[[SessionInfo], None]) -> None:
        """Register a listener that gets the `info` of each transaction after its commit."""
        self._listeners.append(listener)

    def unit(self, work: Callable[[Tx], _Result]) -> _Result:
        """Run a transaction, and retry it if the database aborted it in favor of others.

        For a later transaction of a request; `repeat` retries the first one.

        Args:
            work: The work; it may run several times, but only one run is committed.

        Raises:
            Busy: It was aborted each time.
        """

        def once() -> _Result:
            with self.transaction() as tx:
                return work(tx)

        return _again(once, lambda: True)

    def repeat(self, work: Callable[[], _Result]) -> _Result:
        """Run all work of a request, and retry it if it was aborted before anything was committed.

        It is also retried once if a value did not open: an erasure may have happened between
        reading the value and its key.

        Args:
            work: The work; it opens its own transactions.

        Raises:
            Busy: It was aborted each time, or after something was committed.
        """

        def once() -> _Result:
            self._local.committed = False
            try:
                return work()
            except CryptoError:
                if self._local.committed:
                    raise
                return work()

        return _again(once, lambda: not self._local.committed)

    def follow(self) -> None:
        """Close the connections if the SQLite file was replaced, and open the new one."""
        place = self.engine.url.database
        if self.engine.dialect.name != "sqlite" or not place:
            return
        try:
            found = Path(place).stat()
        except FileNotFoundError:
            return
        file = (found.st_dev, found.st_ino)
        if self._file not in {None, file}:
            self.engine.dispose()
        self._file = file

    def _end(self, session: UnitOfWork) -> None:
        session.flush()
        endings: list[Callable[[Session], None]] = session.info.get(ENDINGS, [])
        for ending in dict.fromkeys((*self._endings, *endings)):
            ending(session)
        # Endings queue writes, which the commit does not send.
        session.settle()
        if session.failed is not None:
            raise session.failed

    def scrub(self) -> None:
        """Truncate SQLite's log, so that no deleted data remains; PostgreSQL recycles its own."""
        if self.engine.dialect.name == "sqlite":
            with self.engine.connect() as connection:
                raw = connection.connection.dbapi_connection
                if raw is not None:
                    raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def outside(self) -> None:
        """Raise an error if a transaction is open: locks must not wait for slow work."""
        if getattr(self._local, "open", False):
            raise RuntimeError("slow work inside a transaction")


def _ignore(_refused: list[tuple[str, str]]) -> None:
    return None


def _again(work: Callable[[], _Result], allowed: Callable[[], bool]) -> _Result:
    for number in range(_TRIES - 1):
        try:
            return work()
        except Busy as busy:
            if not (busy.again and allowed()):
                raise
        # Random delays, so that conflicting transactions do not return at the same moment.
        jitter = 0.5 + int.from_bytes(random_bytes(2), "big") / 65536
        time.sleep(_PAUSE_MS * 2**number * jitter / 1000)
    return work()


def outrun(error: SQLAlchemyError) -> bool:
    """Return whether the database aborted a statement in favor of others; a retry may succeed."""
    return isinstance(error, DBAPIError) and _state(error) in {_DEADLOCK, _SERIALIZATION}


def refusal_of(error: SQLAlchemyError) -> LaminaError | None:
    """Map a database error to a domain error; None for an unexpected one."""
    if isinstance(error, StaleDataError | ObjectDeletedError):
        return changed()
    if isinstance(error, PoolTimeout):
        return Busy(again=False)
    return _refused(error) if isinstance(error, DBAPIError) else None


def _refused(error: DBAPIError) -> LaminaError | None:
    state = _state(error)
    lite = int(getattr(error.orig, "sqlite_errorcode", 0))
    if outrun(error):
        return Busy(again=True)
    if state == _LOCK_TIMEOUT or lite & 0xFF in LITE_BUSY:
        # It has already waited for the maximum time.
        return Busy(again=False)
    if state == _UNIQUE or lite in _LITE_UNIQUE:
        return changed()
    return _lost(error) if error.connection_invalidated or _away(error) else None


def _lost(error: DBAPIError) -> Unavailable:
    if _state(error) == READ_ONLY:
        return Unavailable("database_read_only", "The database takes no writes at the moment.")
    return Unavailable("database_away", "The database does not answer.")


def _state(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")


def _away(error: DBAPIError) -> bool:
    # Poolers have messages of their own for a missing server; the driver has classes for errors.
    return isinstance(error, OperationalError | InterfaceError) or _state(error) == READ_ONLY


def database_time(tx: Tx) -> datetime | None:
    """Return the time of PostgreSQL's clock; None on SQLite, which has no own clock."""
    if tx.get_bind().dialect.name != "postgresql":
        return None
    now: datetime = tx.execute(text("SELECT clock_timestamp()")).scalar_one()
    return now


def changed() -> Conflict:
    """Return the error of a request that came second."""
    detail = "Another request has changed this at the same time; read it again."
    return Conflict("changed_meanwhile", detail)


def insert_once(tx: Tx, table: Table, values: Mapping[str, object]) -> bool:
    """Insert a row unless a unique constraint prevents it; return whether it was inserted."""
    statement = _inserting(tx.get_bind().dialect.name, table)
    return tx.execute(statement, dict(values)).first() is not None


@lru_cache(maxsize=64)
def _inserting(dialect: str, table: Table) -> ReturningInsert[tuple[object]]:
    """Return the cached statement: building it costs more than running it."""
    insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    first = next(iter(table.primary_key.columns))
    return insert(table).on_conflict_do_nothing().returning(first)
