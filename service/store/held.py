"""Connections kept for reading, so that a short read neither borrows one nor gives it back."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool

_MOST: Final = 4
"""Connections kept at most: as many reads as one process has at the database at a time."""
_SHARE: Final = 4
"""Of so many connections that a process may have, one is kept; of fewer none."""
_LIFE: Final = 60.0
"""Seconds after which a kept connection is given back, as the server may be another one since."""


class HeldConnections:
    """A few connections in autocommit, each used by one thread at a time.

    Borrowing a connection, beginning and ending a transaction on it costs more than a short
    statement does. More readers at once than connections are kept borrow theirs as before.

    Args:
        engine: The engine.
        reader: The same for reads, whose transactions begin nothing.
        now: Returns seconds that only grow.
    """

    def __init__(
        self, engine: Engine, reader: Engine, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._reader = reader
        self._now = now
        self._era = 0
        self._lock = threading.Lock()
        self._free: deque[tuple[Connection, float]] = deque()
        pooled = engine.pool.size() if isinstance(engine.pool, QueuePool) else _SHARE
        self._most = min(_MOST, pooled // _SHARE)
        event.listen(engine, "engine_disposed", lambda _engine: self.close())
        event.listen(engine, "handle_error", self._failed)

    @contextmanager
    def one(self) -> Iterator[Connection]:
        """Lend a connection to this thread; it is closed instead of kept if the database failed."""
        era = self._era
        connection, due = self._take()
        try:
            yield connection
        except SQLAlchemyError:
            connection.close()
            raise
        finally:
            self._give(connection, due, era)

    def _take(self) -> tuple[Connection, float]:
        """Return a connection and when it is due, one that was kept if there is any."""
        while self._free:
            try:
                connection, due = self._free.pop()
            except IndexError:
                break
            if not connection.closed and not connection.invalidated and self._now() < due:
                return connection, due
            connection.close()
        return self._reader.connect(), self._now() + _LIFE

    def _give(self, connection: Connection, due: float, era: int) -> None:
        with self._lock:
            current = era == self._era
            room = len(self._free) < self._most
            kept = current and room and not connection.closed and not connection.invalidated
            if kept:
                self._free.append((connection, due))
        if not current:
            _end(connection)
        elif not kept:
            connection.close()

    def close(self) -> None:
        """Close all, to the database too, as their pool may be gone; lent ones at their return."""
        with self._lock:
            self._era += 1
            free = [connection for connection, _ in self._free]
            self._free.clear()
        for connection in free:
            _end(connection)

    def _failed(self, context: ExceptionContext) -> None:
        if context.is_disconnect:
            # The pool drops its connections to a server that is away; so must these go.
            self.close()


def _end(connection: Connection) -> None:
    if not connection.closed and not connection.invalidated:
        connection.detach()
    connection.close()
