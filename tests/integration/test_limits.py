"""What may be done only so often is done no more often, whoever asks and however many at once."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.throttling.actions import Limits
from service.throttling.model import Rule
from tests.integration.test_races import together

HOUR = timedelta(hours=1)
FIVE = Rule("five", 5, HOUR)
GROWING = Rule("growing", 6, timedelta(hours=4), (0, 30, 120, 3600))
FIXED = Rule("fixed", 3, HOUR, rolling=False)


@pytest.fixture
def limits(house):
    """Return the counts of a fresh house."""
    return Limits(house.vault.purpose_key, house.clock)


def take(house, limits, rule, name="a"):
    """Count one time in a unit of work of its own."""
    with house.store.transaction() as tx:
        return limits.take(tx, rule, name)


def test_twenty_at_once_take_what_there_is(house, limits):
    """The first ever, and again after the span: five each."""
    for _ in range(2):
        waits = together(house, lambda tx, _: limits.take(tx, FIVE, "a"))
        assert waits.count(0) == 5
        assert set(waits) == {0, 3600}
        house.clock.advance(hours=1)


def test_names_and_rules_are_counted_apart(house, limits):
    """Another name or another rule has its own."""
    assert [take(house, limits, FIXED) for _ in range(4)] == [0, 0, 0, 3600]
    assert take(house, limits, FIXED, "b") == 0
    assert take(house, limits, FIVE) == 0


def test_gaps_grow_and_the_last_one_holds(house, limits):
    """None after the first, then 30 s, two minutes, an hour; the most until it has been quiet."""
    for wait in (0, 30, 120, 3600, 3600, 4 * 3600):
        assert take(house, limits, GROWING) == 0
        with house.store.transaction() as tx:
            assert limits.left(tx, GROWING, "a") == wait
        if wait:
            assert take(house, limits, GROWING) == wait
        house.clock.advance(seconds=wait)
    assert take(house, limits, GROWING) == 0


def test_a_rolling_count_lasts_from_the_last_time_and_a_fixed_one_from_the_first(house, limits):
    """Fixed: an hour after the first. Rolling: an hour after the last."""
    for rule, left in ((FIXED, 60), (FIVE, 3600)):
        for number in range(rule.most):
            if number == rule.most - 1:
                house.clock.advance(minutes=59)
            assert take(house, limits, rule) == 0
        with house.store.transaction() as tx:
            assert limits.left(tx, rule, "a") == left
        assert take(house, limits, rule) == left
        house.clock.advance(seconds=left)
        assert take(house, limits, rule) == 0


def test_what_ended_is_dropped_and_begins_anew(house, limits):
    """A count that still runs stays."""
    take(house, limits, FIVE)
    take(house, limits, GROWING)
    house.clock.advance(hours=1)
    with house.store.transaction() as tx:
        assert limits.drop_ended(tx, house.clock.now()) == 1
        assert limits.left(tx, FIVE, "a") == 0
    assert take(house, limits, FIVE) == 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture],
          max_examples=25)  # fmt: skip
@given(st.lists(st.integers(0, 5400), min_size=1, max_size=40), st.integers(0, 10**9))
def test_no_span_ever_holds_more_than_the_rule_says(house, limits, pauses, name):
    """Whatever the times at which it is tried."""
    done = []
    for pause in pauses:
        house.clock.advance(seconds=pause)
        if take(house, limits, GROWING, str(name)) == 0:
            done.append(house.clock.now())
    for index, at in enumerate(done):
        assert sum(at - GROWING.span < earlier for earlier in done[: index + 1]) <= GROWING.most
        assert sum(at - HOUR < earlier for earlier in done[: index + 1]) <= 4
