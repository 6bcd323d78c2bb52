"""Rate limits per client, shared with other processes through Redis."""

import hashlib
import hmac
from uuid import UUID

from flask_limiter import Limiter
from limits import RateLimitItemPerMinute

from service.domain.bounds import Bounds
from service.domain.errors import TooMany
from service.web.limits import left


class RequestRates:
    """Counts calls and flows per minute.

    Args:
        limiter: The app's limiter, with storage shared by all processes; it falls back to local
            counts while Redis is unavailable.
        bounds: The limits.
        key: Key of the digests of identifiers, so that none leaves this process.
    """

    def __init__(self, limiter: Limiter, bounds: Bounds, key: bytes) -> None:
        self._limiter = limiter
        self._key = key
        self._calls = RateLimitItemPerMinute(bounds.max_calls_per_minute)
        self._flows = RateLimitItemPerMinute(bounds.max_flows_per_minute)
        self._one = RateLimitItemPerMinute(bounds.max_flows_per_identifier)

    def call(self, client: UUID) -> None:
        """Count a call of a client; raises TooMany."""
        wait = self._wait(self._calls, "calls", str(client))
        if wait:
            raise TooMany("too_many_calls", "This client calls too often; wait.", wait)

    def flow(self, client: UUID, name: str) -> None:
        """Count a flow that a client starts, for a known or unknown identifier; raises TooMany."""
        one = hmac.new(self._key, name.encode(), hashlib.sha256).hexdigest()
        # Both are always counted, so that a refusal by one is still counted by the other.
        wait = self._wait(self._flows, "flows", str(client))
        wait = max(wait, self._wait(self._one, "flow", str(client), one))
        if wait:
            raise TooMany("too_many_flows", "Too many flows were begun; wait.", wait)

    def _wait(self, item: RateLimitItemPerMinute, *names: str) -> int:
        """Count one use; return 0, or the remaining seconds of a full window."""
        counts = self._limiter.limiter
        return 0 if counts.hit(item, *names) else left(counts, item, *names)
