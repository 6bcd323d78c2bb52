"""A process counts the calls of a client in portions, and allows no more for it."""

import threading
import time

import pytest
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from service.web.limits import EdgeCounts
from service.web.portions import Portions


class Asked(FixedWindowRateLimiter):
    """A limiter that remembers the sizes of what it counted."""

    def __init__(self):
        super().__init__(MemoryStorage())
        self.sizes = []

    def hit(self, item, *names, cost=1):
        """Count, and remember."""
        self.sizes.append(cost)
        return super().hit(item, *names, cost=cost)


class Clock:
    """Seconds that a test sets."""

    def __init__(self):
        self.at = 0.0

    def __call__(self):
        return self.at


@pytest.fixture
def clock():
    """Return a clock that stands still."""
    return Clock()


def test_whoever_calls_often_is_counted_in_larger_portions(clock):
    """Each is twice the one before, up to 32: 200 calls ask eleven times."""
    limiter = Asked()
    portions = Portions(limiter, clock)
    item = RateLimitItemPerMinute(60_000)
    assert all(portions.hit(item, "calls", "one") for _ in range(200))
    assert limiter.sizes == [1, 2, 4, 8, 16, 32, 32, 32, 32, 32, 32]


def test_a_portion_is_lost_after_a_second_and_the_next_is_what_came(clock):
    """Whoever calls seldom is counted call by call."""
    limiter = Asked()
    portions = Portions(limiter, clock)
    item = RateLimitItemPerMinute(60_000)
    for _ in range(4):
        portions.hit(item, "calls", "one")
    assert limiter.sizes == [1, 2, 4]
    clock.at += 1
    portions.hit(item, "calls", "one")
    clock.at += 1
    portions.hit(item, "calls", "one")
    clock.at += 1
    portions.hit(item, "calls", "one")
    assert limiter.sizes == [1, 2, 4, 1, 1, 1]


@pytest.mark.parametrize("limit", [1, 3, 50, 127, 128, 1000, 5000])
def test_one_process_allows_exactly_the_limit(clock, limit):
    """Near its end each call is counted by itself."""
    portions = Portions(Asked(), clock)
    item = RateLimitItemPerMinute(limit)
    assert sum(portions.hit(item, "calls", "one") for _ in range(limit + 200)) == limit
    assert portions.hit(item, "calls", "other")


def test_processes_together_allow_no_more_and_little_less(clock):
    """What one has taken and not used is lost to the others, at most a 64th each."""
    limiter = Asked()
    several = [Portions(limiter, clock) for _ in range(4)]
    item = RateLimitItemPerMinute(1000)
    allowed = 0
    for number in range(3000):
        # One is called far more often than the rest.
        one = several[0] if number % 10 else several[1 + number % 3]
        allowed += one.hit(item, "calls", "one")
    assert 1000 - 4 * 1000 // 64 <= allowed <= 1000


def test_threads_take_each_call_of_a_portion_once(clock):
    """Eight threads get no more than the limit together."""
    portions = Portions(Asked(), clock)
    item = RateLimitItemPerMinute(4000)
    # The storage makes a key in two steps, between which another thread may drop it.
    counts = [portions.hit(item, "calls", "one")]

    def call():
        counts.append(sum(portions.hit(item, "calls", "one") for _ in range(1000)))

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 4000 - 8 * 32 <= sum(counts) <= 4000


def test_many_clients_are_not_remembered_for_ever(clock, monkeypatch):
    """Beyond a number all begin anew."""
    monkeypatch.setattr("service.web.portions._PRUNED", 3)
    limiter = Asked()
    portions = Portions(limiter, clock)
    item = RateLimitItemPerMinute(60_000)
    for name in "abcd":
        assert portions.hit(item, "calls", name)
    assert portions.hit(item, "calls", "a")
    assert limiter.sizes == [1] * 5


def test_one_thread_counts_the_next_portion_while_others_count_their_call(clock):
    """However long the answer of Redis takes, hardly more is counted than came."""

    class Slow(Asked):
        def hit(self, item, *names, cost=1):
            time.sleep(0.002)
            return super().hit(item, *names, cost=cost)

    limiter = Slow()
    portions = Portions(limiter, clock)
    item = RateLimitItemPerMinute(60_000)

    def call():
        for _ in range(100):
            assert portions.hit(item, "calls", "one")

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 800 <= sum(limiter.sizes) <= 800 + 32


def test_what_is_refused_is_counted_by_itself(clock, monkeypatch):
    """Also by a process that counted alone while Redis was away, and does not see the end."""
    counted = []

    class Redis:
        def incr(self, _key, _expiry, amount):
            counted.append(amount)
            return 2_000 + sum(counted)

        def get(self, _key):
            return 0

    storage = EdgeCounts(processes=2)
    monkeypatch.setattr(storage, "_redis", Redis())
    monkeypatch.setattr(storage._redis, "storage", None, raising=False)
    portions = Portions(FixedWindowRateLimiter(storage), clock)
    item = RateLimitItemPerMinute(60_000)
    for _ in range(31):
        assert portions.hit(item, "calls", "one")
    assert counted == [1, 2, 4, 8, 16]
    storage._alone.add(item.key_for("calls", "one"), 59_000, 60)
    assert not portions.hit(item, "calls", "one")
    before = sum(counted)
    assert not any(portions.hit(item, "calls", "one") for _ in range(50))
    assert sum(counted) == before + 50


def test_an_error_leaves_the_next_call_to_ask_again(clock):
    """No call waits for a thread that has gone."""
    limiter = Asked()
    portions = Portions(limiter, clock)
    item = RateLimitItemPerMinute(60_000)
    usual, limiter.hit = limiter.hit, None
    with pytest.raises(TypeError):
        portions.hit(item, "calls", "one")
    limiter.hit = usual
    assert all(portions.hit(item, "calls", "one") for _ in range(3))
    assert limiter.sizes == [1, 2]
