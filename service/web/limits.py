"""Limits of addresses and of clients, counted in Redis, or per process while it is unavailable.

A limit is never looser without Redis.

Registered with `limits`, the library beneath flask-limiter, under the scheme `lamina`.
"""

import hashlib
import hmac
import math
import threading
import time
from typing import Final
from uuid import UUID

from flask import Flask, request
from flask_limiter import Limiter
from flask_limiter.errors import RateLimitExceeded
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import RedisStorage, Storage
from limits.strategies import RateLimiter
from redis import RedisError

from service.domain import addresses
from service.domain.bounds import Bounds
from service.domain.errors import TooMany
from service.telemetry import logs
from service.web.portions import Portions

STORAGE: Final = "lamina://"
_MINUTE: Final = 60
_UNAUTHENTICATED: Final = RateLimitItemPerMinute(1200)
"""Requests of an address at the OAuth endpoints that no client has authenticated."""
_PATIENCE: Final = 0.25
"""Timeout in seconds of a Redis command, because a request waits for it."""
_AGAIN: Final = 1.0
"""Seconds after which one request tries a lost Redis again."""
_PRUNED: Final = 4096


def caller() -> str:
    """Return the rate-limit bucket of the caller of this request."""
    return addresses.bucket(request.remote_addr or "")


def left(limiter: RateLimiter, item: RateLimitItem, *names: str) -> int:
    """Return the seconds until a window ends, after which the next one has started."""
    ends = limiter.get_window_stats(item, *names).reset_time
    return min(item.get_expiry(), max(1, math.ceil(ends - time.time())))


def limiter(app: Flask, redis_url: str, processes: int) -> Limiter:
    """Return what counts in windows of a minute, for all processes that share a Redis.

    Args:
        app: The app of the public routes that it limits.
        redis_url: URL of Redis; empty if each process counts alone.
        processes: Number of processes that share a limit.
    """
    options: dict[str, str | int] = {"redis_url": redis_url, "processes": processes}
    made = Limiter(caller, storage_uri=STORAGE, storage_options=options)
    before = list(app.before_request_funcs.get(None, ()))
    after = list(app.after_request_funcs.get(None, ()))
    ended = list(app.teardown_request_funcs.get(None, ()))
    made.init_app(app)
    # Only the routes that ask for a limit have one: its hooks would cost every request.
    app.before_request_funcs[None] = before
    app.after_request_funcs[None] = after
    app.teardown_request_funcs[None] = ended
    return made


class PublicLimit:
    """The limit of a public route, counted by address.

    Args:
        limiter: The limiter of the app.
        route: The path of the route.
        most: Requests a minute.
    """

    def __init__(self, limiter: Limiter, route: str, most: int) -> None:
        def count() -> None:
            """Count a request, which the decorator does."""

        count.__qualname__ = f"public {route}"
        self._limiter = limiter
        self._count = limiter.limit(f"{most} per minute")(count)

    def take(self) -> None:
        """Count a request of the present address; raises TooMany."""
        try:
            self._count()
        except RateLimitExceeded:
            hit = self._limiter.current_limit
            wait = left(hit.limiter, hit.limit, *hit.request_args) if hit else _MINUTE
            detail = "This address asks too often; wait."
            raise TooMany("too_many_requests", detail, wait) from None


def reachable(url: str) -> bool:
    """Return whether Redis responds now, with the timeout of a request."""
    return _redis(url).check()


class RequestRates:
    """Counts calls and flows per minute: of a client that has authenticated, else of an address.

    Args:
        limiter: Counts for all processes; it falls back to local counts while Redis is unavailable.
        bounds: The limits.
        key: Key of the digests of identifiers, so that none leaves this process.
    """

    def __init__(self, limiter: RateLimiter, bounds: Bounds, key: bytes) -> None:
        self._limiter = limiter
        self._portions = Portions(limiter)
        self._key = key
        self._calls = RateLimitItemPerMinute(bounds.max_calls_per_minute)
        self._token_calls = RateLimitItemPerMinute(bounds.max_token_calls_per_minute)
        self._flows = RateLimitItemPerMinute(bounds.max_flows_per_minute)
        self._one = RateLimitItemPerMinute(bounds.max_flows_per_identifier)

    def call(self, client: UUID) -> None:
        """Count a call of a client; raises TooMany."""
        wait = self._wait(self._calls, "calls", str(client))
        if wait:
            raise TooMany("too_many_calls", "This client calls too often; wait.", wait)

    def token_call(self, client: UUID) -> None:
        """Count a call at the OAuth endpoints of a client that has authenticated; raises TooMany.

        A request that only names the client does not count, or a stranger could use up its bound.
        """
        wait = self._wait(self._token_calls, "token calls", str(client))
        if wait:
            raise TooMany("too_many_token_calls", "This client calls too often; wait.", wait)

    def require_room(self) -> None:
        """Refuse the present address if it has failed to authenticate too often; raises TooMany.

        Looks only at what this process knows: it learns the count of all with its next failure.
        """
        names = ("unauthenticated", caller())
        if not self._limiter.test(_UNAUTHENTICATED, *names):
            raise _too_many_failures(left(self._limiter, _UNAUTHENTICATED, *names))

    def unauthenticated(self) -> None:
        """Count a request of the present address that no client authenticated; raises TooMany.

        All OAuth endpoints count together, so that another path allows no further guesses.
        """
        wait = self._exactly(_UNAUTHENTICATED, "unauthenticated", caller())
        if wait:
            raise _too_many_failures(wait)

    def flow(self, client: UUID, name: str) -> None:
        """Count a flow that a client starts, for a known or unknown identifier; raises TooMany."""
        one = hmac.new(self._key, name.encode(), hashlib.sha256).hexdigest()
        # Both are always counted, so that a refusal by one is still counted by the other.
        wait = self._exactly(self._flows, "flows", str(client))
        wait = max(wait, self._exactly(self._one, "flow", str(client), one))
        if wait:
            raise TooMany("too_many_flows", "Too many flows were begun; wait.", wait)

    def _wait(self, item: RateLimitItemPerMinute, *names: str) -> int:
        """Count a call of a client, maybe ahead; return 0, or the remaining seconds of a window."""
        return 0 if self._portions.hit(item, *names) else left(self._limiter, item, *names)

    def _exactly(self, item: RateLimitItemPerMinute, *names: str) -> int:
        """Count a request by itself; return 0, or the remaining seconds of a full window."""
        return 0 if self._limiter.hit(item, *names) else left(self._limiter, item, *names)


def _too_many_failures(wait: int) -> TooMany:
    detail = "Too many requests of this address did not authenticate; wait."
    return TooMany("too_many_unauthenticated", detail, wait)


class _Counts:
    """Expiring counts in this process."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[int, float]] = {}
        self._lock = threading.Lock()
        self._prune_at = _PRUNED

    def get(self, key: str) -> int:
        """Return the count of a key, 0 after its expiry."""
        count, end = self._held.get(key, (0, 0.0))
        return count if end > time.monotonic() else 0

    def end(self, key: str) -> float:
        """Return the seconds until a key expires."""
        return max(0.0, self._held.get(key, (0, 0.0))[1] - time.monotonic())

    def add(self, key: str, amount: int, seconds: float, start: int = 0) -> int:
        """Increment a count, from a start value if there is none, and return it."""
        with self._lock:
            now = time.monotonic()
            count, end = self._held.get(key, (0, 0.0))
            if end <= now:
                count = start
                end = now + seconds
            self._held[key] = count + amount, end
            self._prune(now)
            return count + amount

    def put(self, key: str, count: int, seconds: float) -> None:
        """Store a count reported by Redis; a lower one than before starts a new window."""
        with self._lock:
            now = time.monotonic()
            before, end = self._held.get(key, (0, 0.0))
            if end <= now or count < before:
                end = now + seconds
            self._held[key] = count, end
            self._prune(now)

    def clear(self, key: str) -> None:
        """Delete a key."""
        with self._lock:
            self._held.pop(key, None)

    def reset(self) -> int:
        """Delete all keys, and return how many there were."""
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
    """Counts in Redis; while it is unavailable, counts of this process with the same limits.

    Without Redis, a request counts once for each process, so that together they allow no more than
    the limit of the route; counts that Redis reported before are continued.

    Args:
        redis_url: URL of Redis; empty if each process always counts alone.
        processes: Number of processes that share the limit.
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
        """Return the exceptions of counting: none, as every Redis error is handled here."""
        return ArithmeticError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count a request and return the count of its window."""
        count = self._ask(key, expiry, amount)
        if count is not None:
            self._seen.put(key, count, expiry)
            # Redis lacks the requests counted while it was unavailable.
            return count + self._alone.get(key)
        return self._alone.add(key, amount * self._processes, expiry, start=self._seen.get(key))

    def get(self, key: str) -> int:
        """Return the count last known to this process."""
        return max(self._seen.get(key), self._alone.get(key))

    def get_expiry(self, key: str) -> float:
        """Return the end of the window, in Unix seconds.

        Redis is asked, as another process may have started the window, but only for refused
        requests.
        """
        if self._redis is not None and not self._lost:
            try:
                left = int(self._redis.storage.pttl(self._redis.prefixed_key(key)))
            except (RedisError, OSError) as error:
                self._set_lost(lost=True, why=type(error).__name__)
            else:
                if left > 0:
                    return time.time() + max(left / 1000, self._alone.end(key))
                # The window has ended, though this process saw its count later than others.
                self._seen.clear(key)
        return time.time() + max(self._seen.end(key), self._alone.end(key))

    def check(self) -> bool:
        """Return whether Redis is not known to be unavailable."""
        return not self._lost

    def reset(self) -> int | None:
        """Delete the counts of this process."""
        return self._seen.reset() + self._alone.reset()

    def clear(self, key: str) -> None:
        """Delete a key in this process."""
        self._seen.clear(key)
        self._alone.clear(key)

    def _ask(self, key: str, expiry: int, amount: int) -> int | None:
        if self._redis is None or not self._may_ask():
            return None
        try:
            count = self._redis.incr(key, expiry, amount)
        except (RedisError, OSError) as error:
            self._set_lost(lost=True, why=type(error).__name__)
            return None
        self._set_lost(lost=False, why="")
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

    def _set_lost(self, *, lost: bool, why: str) -> None:
        if lost == self._lost:
            return
        with self._turn:
            changed = lost != self._lost
            self._lost = lost
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
