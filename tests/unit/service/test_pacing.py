"""Calls and flows of a client are counted, by each process alone where what they share is away."""

from uuid import UUID

import pytest
from limits.strategies import FixedWindowRateLimiter

from service.domain.bounds import Bounds
from service.domain.errors import TooMany
from service.web.limits import EdgeCounts, RequestRates

ONE, OTHER = UUID(int=1), UUID(int=2)
BOUNDS = Bounds(max_calls_per_minute=3, max_flows_per_minute=5, max_flows_per_identifier=2)


def away():
    """Return a limiter as the app has it, whose Redis does not answer."""
    storage = EdgeCounts(redis_url="redis://127.0.0.1:1/0", processes=1)
    return FixedWindowRateLimiter(storage)


def allowed(count, *arguments):
    """Return how many of three or more calls go through."""
    done = 0
    for _ in range(10):
        try:
            count(*arguments)
        except TooMany:
            continue
        done += 1
    return done


def test_with_nothing_shared_the_same_bounds_hold():
    """No error goes out, and no more goes through."""
    pace = RequestRates(away(), BOUNDS, b"key")
    assert allowed(pace.call, ONE) == 3
    assert allowed(pace.call, OTHER) == 3
    assert allowed(pace.flow, ONE, "alice") == 2
    assert allowed(pace.flow, OTHER, "alice") == 2
    with pytest.raises(TooMany) as refused:
        pace.flow(ONE, "alice")
    assert (refused.value.code, refused.value.retry_after) == ("too_many_flows", 60)


def test_what_one_name_is_refused_counts_for_the_client():
    """Ten tries at one name leave none for another: a flood is one, whatever it names."""
    pace = RequestRates(away(), BOUNDS, b"key")
    assert allowed(pace.flow, ONE, "alice") == 2
    assert allowed(pace.flow, ONE, "bob") == 0
    assert allowed(pace.flow, OTHER, "bob") == 2


def test_a_client_is_told_what_is_left_of_its_minute(monkeypatch):
    """Of the two windows of a flow the one that ends last is told."""
    clock = [1000.0]
    monkeypatch.setattr("service.web.limits.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("service.web.limits.time.time", lambda: clock[0] + 1e9)
    pace = RequestRates(away(), BOUNDS, b"key")
    assert allowed(pace.call, ONE) == 3
    clock[0] += 45
    with pytest.raises(TooMany) as refused:
        pace.call(ONE)
    assert refused.value.retry_after == 15
    assert allowed(pace.flow, ONE, "alice") == 2
    clock[0] += 50
    with pytest.raises(TooMany) as refused:
        pace.flow(ONE, "alice")
    assert refused.value.retry_after == 10


def test_calls_are_counted_ahead_and_flows_one_by_one(monkeypatch):
    """A flow that does not come must not count."""
    storage = EdgeCounts(processes=1)
    counted = []
    usual = storage.incr

    def incr(key, expiry, amount):
        counted.append(amount)
        return usual(key, expiry, amount)

    monkeypatch.setattr(storage, "incr", incr)
    pace = RequestRates(FixedWindowRateLimiter(storage), Bounds(), b"key")
    for _ in range(7):
        pace.call(ONE)
    for _ in range(7):
        pace.token_call(ONE)
    assert counted == [1, 2, 4] * 2
    del counted[:]
    for _ in range(7):
        pace.flow(ONE, "alice")
    assert counted == [1] * 14
