"""Turns at work that fills a core: few at once, in order of arrival, each within a deadline."""

import fcntl
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from crypto.errors import TurnsBusy

_ASK_AGAIN: Final = 0.001
"""Seconds after which the first in the queue asks again for what another process may have left."""
_IN_A_ROW: Final = 4
"""How often a turn stays with the queue of one process before others may have it."""
_STAND_BACK: Final = 2 * _ASK_AGAIN
"""Seconds in which a process that gave such a turn back does not ask, so that another finds it."""
_RECENT: Final = 0.2
"""Weight of the last turn in the average duration."""


@dataclass(frozen=True, slots=True)
class Load:
    """How many turns there are, how many this process has taken, and how many wait for one."""

    turns: int
    taken: int
    waiting: int


class HostTurns:
    """Turns that the processes of a host share: a locked file each.

    The kernel unlocks the files of a process that ends, however it ends, so none is ever lost.

    Args:
        directory: Directory of the files, readable by these processes only.
        count: Number of turns, the same in each process.

    Raises:
        OSError: The directory has gone, or takes no files.
    """

    def __init__(self, directory: Path, count: int) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        paths = [directory / f"{number}.turn" for number in range(count)]
        self._files = [os.open(path, flags, 0o600) for path in paths]
        for path in paths:
            # Programs that clean temporary directories leave what was used of late.
            os.utime(path)

    def take(self, number: int) -> bool:
        """Take a turn; return False if another process has it."""
        try:
            fcntl.flock(self._files[number], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            # Another has it, or the file system gives no locks now: asked again in a moment.
            return False
        return True

    def give(self, number: int) -> None:
        """Give a turn back."""
        fcntl.flock(self._files[number], fcntl.LOCK_UN)

    def close(self) -> None:
        """Give all turns back and close the files."""
        for file in self._files:
            os.close(file)


@dataclass(eq=False, slots=True)
class _Waiting:
    """A thread in the queue, and the turn that it was given."""

    called: threading.Event = field(default_factory=threading.Event)
    number: int | None = None


class Turns:
    """A queue for a few turns, in order of arrival.

    Args:
        count: Number of turns.
        wait_seconds: How long a thread waits at most; one whose turn is expected later is refused
            at once.
        host: Shares the turns with other processes; None if they are of this process alone.
    """

    def __init__(self, count: int, wait_seconds: float, host: HostTurns | None = None) -> None:
        self._count = count
        self._wait = wait_seconds
        self._host = host
        self._free = list(range(count))
        self._queue: deque[_Waiting] = deque()
        self._kept = [0] * count
        self._asks_from = 0.0
        self._seconds = 0.0
        self._lock = threading.Lock()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Take a turn for the enclosed work; raises TurnsBusy."""
        number = self._take()
        begun = time.monotonic()
        try:
            yield
        finally:
            self._give(number, time.monotonic() - begun)

    def load(self) -> Load:
        """Return the current load."""
        with self._lock:
            return Load(self._count, self._count - len(self._free), len(self._queue))

    def _take(self) -> int:
        with self._lock:
            number = None if self._queue else self._grab()
            if number is not None:
                return number
            if (len(self._queue) + 1) * self._seconds / self._count > self._wait:
                raise TurnsBusy
            mine = _Waiting()
            self._queue.append(mine)
        return self._await(mine, time.monotonic() + self._wait)

    def _await(self, mine: _Waiting, end: float) -> int:
        while True:
            with self._lock:
                if mine.number is None and mine is self._queue[0] and self._may_ask():
                    mine.number = self._grab()
                    if mine.number is not None:
                        self._leave(mine)
                if mine.number is not None:
                    return mine.number
                left = end - time.monotonic()
                if left <= 0:
                    self._leave(mine)
                    raise TurnsBusy
                # A turn of another process calls nobody here when it ends.
                asks = self._host is not None and mine is self._queue[0]
                mine.called.clear()
            mine.called.wait(min(left, _ASK_AGAIN) if asks else left)

    def _may_ask(self) -> bool:
        return time.monotonic() >= self._asks_from

    def _grab(self) -> int | None:
        for number in self._free:
            if self._host is None or self._host.take(number):
                self._free.remove(number)
                return number
        return None

    def _leave(self, mine: _Waiting) -> None:
        self._queue.remove(mine)
        if self._queue:
            self._queue[0].called.set()

    def _give(self, number: int, seconds: float) -> None:
        with self._lock:
            self._seconds += _RECENT * (seconds - self._seconds) if self._seconds else seconds
            self._kept[number] += 1
            if self._queue and (self._host is None or self._kept[number] < _IN_A_ROW):
                first = self._queue[0]
                first.number = number
                first.called.set()
                self._leave(first)
                return
            self._kept[number] = 0
            self._free.append(number)
            if self._host is not None:
                self._host.give(number)
                if self._queue:
                    self._asks_from = time.monotonic() + _STAND_BACK
