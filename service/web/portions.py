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
    """

    size: int
    left: int
    until: float


class Portions:
    """Counts calls of clients in portions that follow how often a process is called.

    Calls are counted before they come, so that processes together allow no more than the limit,
    but for what is left of a portion in the first second of the next window. Calls that do not
    come are lost to their window: about as many as came, and at most 1/64 of what the limit had
    left. Limits below 128, and the end of a larger one, are counted call by call.

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
        size = self._taken(key)
        if not size:
            return True
        left = item.amount - self._limiter.storage.get(key)
        size = max(1, min(size, _MOST, left // _PART))
        if not self._limiter.hit(item, *names, cost=size):
            return False
        with self._lock:
            if len(self._held) >= _PRUNED:
                self._held = {}
            self._held[key] = _Portion(size, size - 1, self._now() + _LIFE)
        return True

    def _taken(self, key: str) -> int:
        """Take a call from the portion of a key; return 0, or the size of the next portion."""
        with self._lock:
            held = self._held.get(key)
            if held is None:
                return 1
            if held.until <= self._now():
                # As many as have come of it.
                return held.size - held.left
            if held.left:
                held.left -= 1
                return 0
            return 2 * held.size
