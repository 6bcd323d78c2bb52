"""What may be done only so often is done no more often, whoever asks and however many at once."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.throttling.actions import Limits
from service.throttling.model import AttemptLimit
from tests.depth import depth
from tests.integration.test_races import together

HOUR = timedelta(hours=1)
FIVE = AttemptLimit(name="five", most=5, span=HOUR)
GROWING = AttemptLimit(name="growing", most=6, span=timedelta(hours=4), gaps=(0, 30, 120, 3600))
FIXED = AttemptLimit(name="fixed", most=3, span=HOUR, rolling=False)


@pytest.fixture
def limits(container):
    """Return the counts of a fresh house."""
    return Limits(container.key_store.purpose_key, container.clock)


def take(container, limits, rule, name="a"):
    """Count one time in a unit of work of its own."""
    with container.store.transaction() as tx:
        return limits.take(tx, rule, name)


def test_twenty_at_once_take_what_there_is(container, limits):
    """The first ever, and again after the span: five each."""
    for _ in range(2):
        waits = together(container, lambda tx, _: limits.take(tx, FIVE, "a"))
        assert waits.count(0) == 5
        assert set(waits) == {0, 3600}
        container.clock.advance(hours=1)


def test_names_and_rules_are_counted_apart(container, limits):
    """Another name or another rule has its own."""
    assert [take(container, limits, FIXED) for _ in range(4)] == [0, 0, 0, 3600]
    assert take(container, limits, FIXED, "b") == 0
    assert take(container, limits, FIVE) == 0


def test_gaps_grow_and_the_last_one_holds(container, limits):
    """None after the first, then 30 s, two minutes, an hour; the most until it has been quiet."""
    for wait in (0, 30, 120, 3600, 3600, 4 * 3600):
        assert take(container, limits, GROWING) == 0
        with container.store.transaction() as tx:
            assert limits.left(tx, GROWING, "a") == wait
        if wait:
            assert take(container, limits, GROWING) == wait
        container.clock.advance(seconds=wait)
    assert take(container, limits, GROWING) == 0


def test_a_rolling_count_lasts_from_the_last_time_and_a_fixed_one_from_the_first(container, limits):
    """Fixed: an hour after the first. Rolling: an hour after the last."""
    for rule, left in ((FIXED, 60), (FIVE, 3600)):
        for number in range(rule.most):
            if number == rule.most - 1:
                container.clock.advance(minutes=59)
            assert take(container, limits, rule) == 0
        with container.store.transaction() as tx:
            assert limits.left(tx, rule, "a") == left
        assert take(container, limits, rule) == left
        container.clock.advance(seconds=left)
        assert take(container, limits, rule) == 0


def test_what_ended_is_dropped_and_begins_anew(container, limits):
    """A count that still runs stays."""
    take(container, limits, FIVE)
    take(container, limits, GROWING)
    container.clock.advance(hours=1)
    with container.store.transaction() as tx:
        assert limits.drop_ended(tx, container.clock.now()) == 1
        assert limits.left(tx, FIVE, "a") == 0
    assert take(container, limits, FIVE) == 0


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=depth(25, least=10)
)
@given(st.lists(st.integers(0, 5400), min_size=1, max_size=40), st.integers(0, 10**9))
def test_no_span_ever_holds_more_than_the_rule_says(container, limits, pauses, name):
    """Whatever the times at which it is tried."""
    done = []
    for pause in pauses:
        container.clock.advance(seconds=pause)
        if take(container, limits, GROWING, str(name)) == 0:
            done.append(container.clock.now())
    for index, at in enumerate(done):
        assert sum(at - GROWING.span < earlier for earlier in done[: index + 1]) <= GROWING.most
        assert sum(at - HOUR < earlier for earlier in done[: index + 1]) <= 4
