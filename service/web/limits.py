"""Edge limits: counted in Redis, and by each process alone while Redis is away, never more loosely.

Registers with `limits`, the library beneath flask-limiter, under the scheme `lamina`.
"""

import math
import threading
import time
from typing import Final

from flask import request
from limits import RateLimitItem
from limits.storage import RedisStorage, Storage
from limits.strategies import RateLimiter
from redis import RedisError

from service.domain import addresses
from service.telemetry import logs

STORAGE: Final = "lamina://"
_PATIENCE: Final = 0.25
"""Seconds that one answer of Redis may take: a request waits for it."""
_AGAIN: Final = 1.0
"""Seconds after which a lost Redis is asked again, by one request."""
_PRUNED: Final = 4096


def caller() -> str:
    """Return what the caller of this request is counted by."""
    return addresses.bucket(request.remote_addr or "")


def left(limiter: RateLimiter, item: RateLimitItem, *names: str) -> int:
    """Return in how many seconds a window ends: whoever waits so long finds the next one."""
    ends = limiter.get_window_stats(item, *names).reset_time
    return min(item.get_expiry(), max(1, math.ceil(ends - time.time())))


def reachable(url: str) -> bool:
    """Tell whether Redis answers now; waits for it no longer than a request does."""
    return _redis(url).check()


class _Counts:
    """Counts with an end, in this process."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[int, float]] = {}
        self._lock = threading.Lock()
        self._prune_at = _PRUNED

    def get(self, key: str) -> int:
        """Return the count of a key, 0 after its end."""
        count, end = self._held.get(key, (0, 0.0))
        return count if end > time.monotonic() else 0

    def end(self, key: str) -> float:
        """Return in how many seconds a key ends."""
        return max(0.0, self._held.get(key, (0, 0.0))[1] - time.monotonic())

    def add(self, key: str, amount: int, seconds: float, start: int = 0) -> int:
        """Count up, from a start where nothing is counted yet, and return the count."""
        with self._lock:
            now = time.monotonic()
            count, end = self._held.get(key, (0, 0.0))
            if end <= now:
                count, end = start, now + seconds
            self._held[key] = count + amount, end
            self._prune(now)
            return count + amount

    def put(self, key: str, count: int, seconds: float) -> None:
        """Keep a count that was told; a lower one than before begins a new window."""
        with self._lock:
            now = time.monotonic()
            before, end = self._held.get(key, (0, 0.0))
            if end <= now or count < before:
                end = now + seconds
            self._held[key] = count, end
            self._prune(now)

    def clear(self, key: str) -> None:
        """Forget a key."""
        with self._lock:
            self._held.pop(key, None)

    def reset(self) -> int:
        """Forget all, and return how many they were."""
        with self._lock:
            held = len(self._held)
            self._held.clear()
            return held

    def _prune(self, now: float) -> None:
        if len(self._held) < self._prune_at:
            return
        self._held = {key: kept for key, kept in self._held.items() if kept[1] > now}
        self._prune_at = max(_PRUNED, 2 * len(self._held))


class EdgeCounts(Storage):
    """Counts of Redis; while it is away, those of this process with the same limits.

    There one request counts as many as there are processes, so that together they allow no more
    than the limit of the route; what Redis had counted before is counted on.

    Args:
        redis_url: Redis; empty where each process counts alone all the time.
        processes: How many processes share the limit.
    """

    STORAGE_SCHEME: list[str] | None = ["lamina"]  # noqa: RUF012 - as its base declares it

    def __init__(
        self,
        uri: str | None = None,
        wrap_exceptions: bool = False,  # noqa: FBT001, FBT002 - as limits calls it
        *,
        redis_url: str = "",
        processes: int = 1,
    ) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions)
        self._redis = _redis(redis_url) if redis_url else None
        self._processes = processes
        self._seen = _Counts()
        self._alone = _Counts()
        self._lost = False
        self._again = 0.0
        self._turn = threading.Lock()

    @property
    def base_exceptions(self) -> type[Exception]:
        """Return what counting may raise: nothing, as every error of Redis is handled here."""
        return ArithmeticError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count a request and return the count of its window."""
        told = self._ask(key, expiry, amount)
        if told is not None:
            self._seen.put(key, told, expiry)
            # What came while Redis was away it does not know of.
            return told + self._alone.get(key)
        return self._alone.add(key, amount * self._processes, expiry, start=self._seen.get(key))

    def get(self, key: str) -> int:
        """Return the count as this process last knew it."""
        return max(self._seen.get(key), self._alone.get(key))

    def get_expiry(self, key: str) -> float:
        """Return when the window ends, in seconds since 1970.

        Redis is asked, as another process may have begun the window; asked only of what is refused.
        """
        if self._redis is not None and not self._lost:
            try:
                left = int(self._redis.storage.pttl(self._redis.prefixed_key(key)))
            except (RedisError, OSError) as error:
                self._told(lost=True, why=type(error).__name__)
            else:
                if left > 0:
                    return time.time() + max(left / 1000, self._alone.end(key))
        return time.time() + max(self._seen.end(key), self._alone.end(key))

    def check(self) -> bool:
        """Tell whether Redis is not known to be away."""
        return not self._lost

    def reset(self) -> int | None:
        """Forget what this process counted."""
        return self._seen.reset() + self._alone.reset()

    def clear(self, key: str) -> None:
        """Forget a key in this process."""
        self._seen.clear(key)
        self._alone.clear(key)

    def _ask(self, key: str, expiry: int, amount: int) -> int | None:
        if self._redis is None or not self._may_ask():
            return None
        try:
            count = self._redis.incr(key, expiry, amount)
        except (RedisError, OSError) as error:
            self._told(lost=True, why=type(error).__name__)
            return None
        self._told(lost=False, why="")
        return count

    def _may_ask(self) -> bool:
        if not self._lost:
            return True
        with self._turn:
            now = time.monotonic()
            if now < self._again:
                return False
            self._again = now + _AGAIN
            return True

    def _told(self, *, lost: bool, why: str) -> None:
        if lost == self._lost:
            return
        with self._turn:
            changed, self._lost = lost != self._lost, lost
            self._again = time.monotonic() + _AGAIN
        if changed and lost:
            logs.get().warning("redis_lost", error=why)
        elif changed:
            logs.get().info("redis_back")


def _redis(url: str) -> RedisStorage:
    patience: dict[str, float | str | bool] = {
        "socket_timeout": _PATIENCE,
        "socket_connect_timeout": _PATIENCE,
    }
    return RedisStorage(url, None, wrap_exceptions=False, key_prefix="LIMITS", **patience)
