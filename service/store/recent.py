"""Values read from the database that are kept for a moment, and dropped when they change."""

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from service.store.authentic import changed_tables
from service.store.engine import SessionInfo

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
_MOST: Final = 4096


@dataclass(frozen=True, slots=True)
class Mark:
    """When a read began; see `Recent.mark`.

    Args:
        drops: How often all values had been dropped.
        at: Seconds of a clock that only grows.
    """

    drops: int
    at: float


class Recent(Generic[K, V]):
    """Values by key, each for a bounded time after the read that found it began.

    Args:
        seconds: How long a value counts; 0 to keep none.
        now: Returns seconds that only grow.
    """

    def __init__(self, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._now = now
        self._kept: dict[K, tuple[V, float]] = {}
        self._drops = 0
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """Return a value that still counts, or None."""
        found = self._kept.get(key)
        return found[0] if found is not None and self._now() < found[1] else None

    def mark(self) -> Mark:
        """Return the mark of a read that begins now; its value is kept by `put` with this mark."""
        return Mark(self._drops, self._now())

    def put(self, key: K, value: V, mark: Mark) -> None:
        """Keep a value, unless values were dropped since its read began: it may be an old one."""
        if not self._seconds:
            return
        with self._lock:
            if mark.drops != self._drops:
                return
            if len(self._kept) >= _MOST:
                self._kept = {}
            self._kept[key] = value, mark.at + self._seconds

    def drop(self) -> None:
        """Drop all values, and refuse those of reads that have begun."""
        with self._lock:
            self._drops += 1
            self._kept = {}


class Changes:
    """Tells when rows of some tables have changed, in this process or in another.

    Args:
        tables: The tables.
    """

    def __init__(self, tables: frozenset[str]) -> None:
        self._tables = tables
        self._drops: list[Callable[[], None]] = []
        self._announce: Callable[[], None] | None = None

    def follow(self, drop: Callable[[], None]) -> None:
        """Register what drops values that depend on the tables."""
        self._drops.append(drop)

    def announce_by(self, announce: Callable[[], None]) -> None:
        """Set what tells the other processes of a change here."""
        self._announce = announce

    def committed(self, info: SessionInfo) -> None:
        """Handle a committed transaction: drop values if it changed one of the tables."""
        if self._tables.isdisjoint(changed_tables(info)):
            return
        self.heard()
        if self._announce is not None:
            self._announce()

    def heard(self) -> None:
        """Drop what depends on the tables: they have changed, or may have."""
        for drop in self._drops:
            drop()
