"""How often a client may call: counted at the edge, together with other processes over Redis."""

import hashlib
import hmac
from uuid import UUID

from flask_limiter import Limiter
from limits import RateLimitItemPerMinute

from service.domain.bounds import Bounds
from service.domain.errors import TooMany
from service.web.limits import left


class RequestRates:
    """Counts calls and flows; a minute at a time.

    Args:
        limiter: The app's limiter, whose storage the processes share, and which counts on by
            itself while Redis is away.
        bounds: How many there may be.
        key: What names of people are digested with: none of them leaves this process.
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
        """Count a flow that a client begins, known or not whom it is for; raises TooMany."""
        one = hmac.new(self._key, name.encode(), hashlib.sha256).hexdigest()
        # Both are counted each time: what one refuses, the other has seen.
        wait = self._wait(self._flows, "flows", str(client))
        wait = max(wait, self._wait(self._one, "flow", str(client), one))
        if wait:
            raise TooMany("too_many_flows", "Too many flows were begun; wait.", wait)

    def _wait(self, item: RateLimitItemPerMinute, *names: str) -> int:
        """Count one time; return 0, or the seconds that are left of a window that is full."""
        counts = self._limiter.limiter
        return 0 if counts.hit(item, *names) else left(counts, item, *names)
