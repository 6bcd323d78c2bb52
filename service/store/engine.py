"""The engine and the unit of work: no transaction spans a hash or an inference."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, Result, Table, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.orm.exc import ObjectDeletedError, StaleDataError
from sqlalchemy.sql.dml import ReturningInsert

from crypto.errors import CryptoError
from crypto.opaque import random_bytes
from service.domain.errors import Busy, Conflict, LaminaError, Unavailable
from service.store.authentic import authenticate_before_flush, cut, refusals, touched
from service.store.connecting import BEGIN, IDLE, LITE_BUSY, READ_ONLY
from service.store.connecting import make_engine as make_engine  # noqa: PLC0414 - others import it from here
from service.store.sealed import FieldSealer, seal_before_flush, use_sealer

Tx = Session
_Result = TypeVar("_Result")
ENDINGS: Final = "lamina_endings"
"""Where a unit of work holds what is to be called at its end, in `Session.info`."""
_NOTED: Final = "lamina_noted_at_savepoint"
_TRIES: Final = 5
_PAUSE_MS: Final = 20.0
_DEADLOCK, _SERIALIZATION, _LOCK_TIMEOUT, _UNIQUE = "40P01", "40001", "55P03", "23505"
_LITE_UNIQUE: Final = frozenset({1555, 2067})


class _UnitOfWork(Session):
    """A session that seals before it flushes."""

    _direct: Connection | None = None

    def execute(
        self,
        statement: Any,  # noqa: ANN401 - one signature stands for the overloads of a session
        params: Any = None,  # noqa: ANN401
        **options: Any,  # noqa: ANN401
    ) -> Result[Any]:
        """Run a statement; one that makes no objects goes straight to the connection.

        The session would look for what only objects need: 80 microseconds a statement.
        """
        if options or statement._propagate_attrs.get("compile_state_plugin") == "orm":  # noqa: SLF001 - the mark by which a session tells
            return super().execute(statement, params, **options)
        # As a session does: what is not written yet is part of what the statement finds.
        self._autoflush()
        if self._direct is None:
            self._direct = self.connection()
        return self._direct.execute(statement, params)

    def begin_nested(self) -> SessionTransaction:
        """Set a savepoint, and set it now: a session would wait for its own first statement."""
        nested = super().begin_nested()
        self.connection()
        self.info.setdefault(_NOTED, {})[nested] = len(touched(self))
        return nested


def _forget_notes(session: Session, ended: SessionTransaction) -> None:
    """Listen to `after_soft_rollback`: the log is not told of what a savepoint took back."""
    count = session.info.get(_NOTED, {}).pop(ended, None)
    if count is not None:
        cut(session, count)


event.listen(_UnitOfWork, "after_soft_rollback", _forget_notes)
event.listen(_UnitOfWork, "before_flush", seal_before_flush)
# After it: the MAC of a row may cover what was sealed.
event.listen(_UnitOfWork, "before_flush", authenticate_before_flush)


class Store:
    """Opens units of work; knows whether this thread is inside one."""

    def __init__(self, engine: Engine, sealer: FieldSealer) -> None:
        self.engine = engine
        # A read needs no transaction: two round trips less.
        if engine.dialect.name == "postgresql":
            self._reader = engine.execution_options(**{BEGIN: ""})
            steadily = f"BEGIN ISOLATION LEVEL REPEATABLE READ{IDLE}"
            self._steady = engine.execution_options(**{BEGIN: steadily})
        else:
            self._reader = engine.execution_options(**{BEGIN: ""})
            # A reader of SQLite's log sees one state from its first statement on.
            self._steady = engine.execution_options(**{BEGIN: "BEGIN"})
        self._sealer = sealer
        self._local = threading.local()
        self._listeners: list[Callable[[Mapping[Any, Any]], None]] = []
        self._file: tuple[int, int] | None = None
        self._endings: list[Callable[[Session], None]] = []
        self._alarm: Callable[[list[tuple[str, str]]], None] = _ignore
        self.follow()

    def at_end(self, ending: Callable[[Session], None]) -> None:
        """Call this at the end of every unit of work that writes, before it commits."""
        self._endings.append(ending)

    def on_refused(self, alarm: Callable[[list[tuple[str, str]]], None]) -> None:
        """Call this, outside any unit of work, with table and key of rows that failed."""
        self._alarm = alarm

    @contextmanager
    def transaction(self, *, read: bool = False, steady: bool = False) -> Iterator[Tx]:
        """Open one transaction: committed at the end, rolled back on any error.

        Args:
            read: It writes nothing.
            steady: It reads, and everything it reads is of one moment.

        Raises:
            Unavailable: The database does not answer.
            Busy: It ended this unit of work, or a wait for a lock, because of others.
            Conflict: A unique index or another's change stands against it.
        """
        if getattr(self._local, "open", False):
            raise RuntimeError("a unit of work is open already in this thread")
        self._local.open = True
        engine = self._steady if steady else self._reader if read else self.engine
        session = _UnitOfWork(engine, expire_on_commit=False)
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
            self._local.open = False
            touched = dict(session.info)
            # The keys that were opened go now, not when a cycle is collected.
            session.info.clear()
            if failed := refusals(touched):
                self._alarm(failed)
        self._sealer.ended(touched)
        if not (read or steady):
            self._local.committed = True
        for listener in self._listeners:
            listener(touched)

    def on_commit(self, listener: Callable[[Mapping[Any, Any]], None]) -> None:
        """Call this with what a unit of work noted in `info`, after it has committed."""
        self._listeners.append(listener)

    def unit(self, work: Callable[[Tx], _Result]) -> _Result:
        """Do one unit of work, and do it again where the database ended it because of others.

        For one that follows another of the same request; of the first `repeat` takes care.

        Args:
            work: What to do in it; it may run several times, of which one is committed.

        Raises:
            Busy: It was ended each time.
        """

        def once() -> _Result:
            with self.transaction() as tx:
                return work(tx)

        return _again(once, lambda: True)

    def repeat(self, work: Callable[[], _Result]) -> _Result:
        """Do all that a request asks for, again where that was ended before anything was committed.

        So it is done once more where a value did not open: an erasure may have come between the
        reading of the value and of its key.

        Args:
            work: What to do; it opens its units of work by itself.

        Raises:
            Busy: It was ended each time, or after something was committed.
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
        """Let go of a SQLite file that another was put in the place of, and open that one."""
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

    def _end(self, session: Session) -> None:
        session.flush()
        endings: list[Callable[[Session], None]] = session.info.get(ENDINGS, [])
        for ending in dict.fromkeys((*self._endings, *endings)):
            ending(session)

    def scrub(self) -> None:
        """Leave no residue of what was deleted in SQLite's log; PostgreSQL's lives its time."""
        if self.engine.dialect.name == "sqlite":
            with self.engine.connect() as connection:
                raw = connection.connection.dbapi_connection
                if raw is not None:
                    raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def outside(self) -> None:
        """Refuse slow work while a transaction is open: locks must not wait for a hash."""
        if getattr(self._local, "open", False):
            raise RuntimeError("slow work inside a unit of work")


def _ignore(_refused: list[tuple[str, str]]) -> None:
    return None


def _again(work: Callable[[], _Result], allowed: Callable[[], bool]) -> _Result:
    for number in range(_TRIES - 1):
        try:
            return work()
        except Busy as busy:
            if not (busy.again and allowed()):
                raise
        # Those that met each other must not come back at the same moment.
        jitter = 0.5 + int.from_bytes(random_bytes(2), "big") / 65536
        time.sleep(_PAUSE_MS * 2**number * jitter / 1000)
    return work()


def outrun(error: SQLAlchemyError) -> bool:
    """Tell whether the database ended a statement to let others go on: it can be done again."""
    return isinstance(error, DBAPIError) and _state(error) in {_DEADLOCK, _SERIALIZATION}


def refusal_of(error: SQLAlchemyError) -> LaminaError | None:
    """Return what is told of an error; None for one that nobody expects."""
    if isinstance(error, StaleDataError | ObjectDeletedError):
        return _changed()
    if isinstance(error, PoolTimeout):
        return Busy(again=False)
    return _refused(error) if isinstance(error, DBAPIError) else None


def _refused(error: DBAPIError) -> LaminaError | None:
    state, lite = _state(error), int(getattr(error.orig, "sqlite_errorcode", 0))
    if outrun(error):
        return Busy(again=True)
    if state == _LOCK_TIMEOUT or lite & 0xFF in LITE_BUSY:
        # It has waited for as long as anybody may.
        return Busy(again=False)
    if state == _UNIQUE or lite in _LITE_UNIQUE:
        return _changed()
    return _lost(error) if error.connection_invalidated or _away(error) else None


def _lost(error: DBAPIError) -> Unavailable:
    if _state(error) == READ_ONLY:
        return Unavailable("database_read_only", "The database takes no writes at the moment.")
    return Unavailable("database_away", "The database does not answer.")


def _state(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")


def _away(error: DBAPIError) -> bool:
    # A pooler says in words of its own that it has no server; the driver has a class for each.
    return isinstance(error, OperationalError | InterfaceError) or _state(error) == READ_ONLY


def database_time(tx: Tx) -> datetime | None:
    """Return the time by PostgreSQL's clock; SQLite has none of its own."""
    if tx.get_bind().dialect.name != "postgresql":
        return None
    told: datetime = tx.execute(text("SELECT clock_timestamp()")).scalar_one()
    return told


def _changed() -> Conflict:
    detail = "Another request has changed this at the same time; read it again."
    return Conflict("changed_meanwhile", detail)


def insert_once(tx: Tx, table: Table, values: Mapping[str, Any]) -> bool:
    """Insert a row unless a unique constraint has it already; return whether it was inserted."""
    statement = _inserting(tx.get_bind().dialect.name, table)
    return tx.execute(statement, dict(values)).first() is not None


@lru_cache(maxsize=64)
def _inserting(dialect: str, table: Table) -> ReturningInsert[Any]:
    """Return the statement: to make one anew costs more than to run it."""
    insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    first = next(iter(table.primary_key.columns))
    return insert(table).on_conflict_do_nothing().returning(first)
