"""Counts of limits that a process takes in portions, so that not each call asks Redis."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from limits import RateLimitItem
from limits.strategies import RateLimiter

_LIFE: Final = 1.0
"""Seconds that a portion lasts: what is left of it counts for nothing in the next window."""
_MOST: Final = 32
"""Calls of a portion, at most."""
_PART: Final = 64
"""Of what its limit leaves, a portion is at most one part of so many."""
_PRUNED: Final = 4096
"""Keys at which all are dropped: each client begins with a portion of one call again."""


@dataclass(slots=True)
class _Portion:
    """Calls that were counted before they come.

    Args:
        size: How many were counted at once.
        left: How many of them have not come.
        until: When it ends, on the clock that only grows.
        asking: Whether a thread is about to count the next one.
    """

    size: int = 0
    left: int = 0
    until: float = 0.0
    asking: bool = True


class Portions:
    """Counts calls of clients in portions that follow how often a process is called.

    Calls are counted before they come, so that processes together allow no more than the limit,
    but for what is left of a portion in the first second of the next window. Calls that do not
    come are lost to their window: in each process about as many as came, at most. A portion is at
    most 1/64 of what the limit leaves, as far as this process knows, so limits below 128, and the
    end of a larger one that a single process counts, are counted call by call.

    Args:
        limiter: Counts for all processes.
        now: Returns seconds that only grow.
    """

    def __init__(self, limiter: RateLimiter, now: Callable[[], float] = time.monotonic) -> None:
        self._limiter = limiter
        self._now = now
        self._held: dict[str, _Portion] = {}
        self._lock = threading.Lock()

    def hit(self, item: RateLimitItem, *names: str) -> bool:
        """Count a call; return False if the limit is reached."""
        key = item.key_for(*names)
        with self._lock:
            held = self._held.get(key)
            lasts = held is not None and held.until > self._now()
            if held is None:
                if len(self._held) >= _PRUNED:
                    self._held = {}
                mine = self._held[key] = _Portion()
                size = 1
            elif lasts and held.left:
                held.left -= 1
                return True
            elif held.asking:
                # Another thread counts the next portion, and its answer may take a while.
                mine = None
                size = 1
            else:
                mine = held
                mine.asking = True
                # Twice as many where all came in its time, else as many as came.
                size = 2 * held.size if lasts else held.size - held.left
        if mine is None:
            return self._limiter.hit(item, *names)
        return self._portion(mine, size, key, item, *names)

    def _portion(
        self, mine: _Portion, size: int, key: str, item: RateLimitItem, *names: str
    ) -> bool:
        allowed = False
        try:
            left = item.amount - self._limiter.storage.get(key)
            size = max(1, min(size, _MOST, left // _PART))
            allowed = self._limiter.hit(item, *names, cost=size)
        finally:
            with self._lock:
                if allowed:
                    mine.size = size
                    mine.left = size - 1
                    mine.until = self._now() + _LIFE
                    mine.asking = False
                else:
                    # The next call is counted by itself: what is refused must cost no more.
                    self._held.pop(key, None)
        return allowed
