"""Attempts are counted before they are checked, and given back only when they verify."""

import numpy as np
import pytest

from service.domain.errors import Throttled
from service.throttling.actions import Throttling
from service.throttling.model import Counter, Lane
from tests.integration.attempts import fill, release, reserve, reset, wait


def test_five_attempts_are_let_through_at_once(container):
    """The fifth failure begins a wait of 30 seconds, during which nothing is compared."""
    for _ in range(5):
        reserve(container)
    assert wait(container) in (30, 31)
    container.clock.advance(seconds=29)
    assert wait(container) in (1, 2)
    container.clock.advance(seconds=1)
    reserve(container)


def test_each_further_failure_waits_twice_as_long(container):
    """The waits are 30 s, 60 s, 120 s and so on up to an hour."""
    for _ in range(4):
        reserve(container)
    for seconds in (30, 60, 120, 240, 480, 960, 1920, 3600, 3600):
        reserve(container)
        container.clock.advance(seconds=seconds - 1)
        assert wait(container) in (1, 2)
        container.clock.advance(seconds=1)


def test_a_refused_attempt_is_not_counted(container):
    """Trying during the wait makes it no longer."""
    for _ in range(5):
        reserve(container)
    for _ in range(10):
        wait(container)
    container.clock.advance(seconds=30)
    reserve(container)
    assert wait(container) in (60, 61)


def test_an_attempt_is_kept_unless_it_is_released(container):
    """Whoever never comes back has failed."""
    for _ in range(5):
        release(container, reserve(container))
    for _ in range(5):
        reserve(container)
    wait(container)


def test_release_takes_back_its_own_attempt_alone(container):
    """Four failures and a success leave four failures, so that one more begins the wait."""
    for _ in range(4):
        reserve(container)
    release(container, reserve(container))
    reserve(container)
    wait(container)


def test_release_ends_the_wait_that_its_own_attempt_began(container):
    """The right password at the fifth attempt leaves nobody waiting."""
    for _ in range(4):
        reserve(container)
    release(container, reserve(container))
    release(container, reserve(container))


def test_release_leaves_the_wait_that_others_began_meanwhile(container):
    """A right password in flight while codes fail: their wait ends by time, not by its success."""
    password = reserve(container, counter=Counter.KNOWLEDGE)
    for _ in range(5):
        reserve(container, counter=Counter.OTHER)
    release(container, password)
    assert wait(container, counter=Counter.OTHER) in (30, 31)
    assert wait(container, counter=Counter.KNOWLEDGE) in (30, 31)
    container.clock.advance(seconds=30)
    reserve(container, counter=Counter.OTHER)
    assert wait(container) in (60, 61)


def test_release_of_one_kind_leaves_a_wait_of_its_own_kind(container):
    """Five passwords in flight, of which the first verifies: the other four began the wait."""
    first = reserve(container)
    others = [reserve(container) for _ in range(4)]
    release(container, first)
    assert wait(container) in (30, 31)
    # The one that began it may take it back: it is the attempt of whoever waits.
    release(container, others[-1])
    reserve(container)


def test_a_wait_that_was_begun_again_is_not_taken_back_by_the_first(container):
    """A check that takes longer than its own wait gives nothing back of a later one."""
    for _ in range(4):
        reserve(container)
    slow = reserve(container)
    container.clock.advance(seconds=30)
    reserve(container)
    release(container, slow)
    assert wait(container) in (60, 61)


def test_an_attempt_of_before_a_reset_gives_nothing_back(container):
    """What was set to zero meanwhile is nobody's to take back; later failures stay counted."""
    old = [reserve(container) for _ in range(3)]
    reset(container)
    for _ in range(4):
        reserve(container)
    for one in old:
        release(container, one)
    reserve(container)
    assert wait(container) in (30, 31)


def test_right_passwords_in_flight_gain_no_guess(container):
    """Whatever the order, a minute of guessing codes beside right passwords checks six at most."""
    drawn = np.random.default_rng(17)
    checked, flying = 0, []
    for _second in range(60):
        for _ in range(20):
            counter = Counter.KNOWLEDGE if drawn.random() < 0.5 else Counter.OTHER
            try:
                taken = reserve(container, counter=counter)
            except Throttled:
                continue
            checked += counter is Counter.OTHER
            if counter is Counter.KNOWLEDGE:
                flying.append(taken)
        drawn.shuffle(flying)
        while flying and drawn.random() < 0.7:
            release(container, flying.pop())
        container.clock.advance(seconds=1)
    assert 1 <= checked <= 6


def test_counters_are_apart_and_make_a_total(container):
    """Four failures of each factor begin no wait; one more of either does, for all of them."""
    for counter in (Counter.KNOWLEDGE, Counter.OTHER, Counter.FACE):
        for _ in range(4):
            reserve(container, counter=counter)
    reserve(container, counter=Counter.KNOWLEDGE)
    for counter in Counter:
        wait(container, counter=counter)


def test_release_lowers_its_own_counter(container):
    """A verified code does not give back a failed password."""
    for _ in range(4):
        reserve(container, counter=Counter.KNOWLEDGE)
    for _ in range(3):
        release(container, reserve(container, counter=Counter.OTHER))
    reserve(container, counter=Counter.KNOWLEDGE)
    wait(container)


def test_lanes_are_apart(container):
    """Strangers cannot lock out a known device, nor the other way round."""
    for _ in range(5):
        reserve(container, lane=Lane.STRANGER)
    wait(container, lane=Lane.STRANGER)
    for _ in range(5):
        reserve(container, lane=Lane.KNOWN_DEVICE)
    wait(container, lane=Lane.KNOWN_DEVICE)


def test_buckets_are_apart(container):
    """One account's failures are no other's."""
    for _ in range(5):
        reserve(container, bucket="alice")
    reserve(container, bucket="bob")


def test_a_counter_is_off_at_its_hard_limit(container):
    """After 100 failures in a row (50 faces) no wait is long enough; a reset opens it again."""
    for counter, limit in ((Counter.KNOWLEDGE, 100), (Counter.OTHER, 100), (Counter.FACE, 50)):
        fill(container, limit, counter=counter)
        container.clock.advance(days=365)
        assert wait(container, counter=counter) == 3600
        assert reset(container) == 1
        reserve(container, counter=counter)
        assert reset(container) == 1


def test_a_face_that_is_off_leaves_the_other_factors(container):
    """50 failed faces turn the face off and nothing else."""
    fill(container, 50, counter=Counter.FACE)
    wait(container, counter=Counter.FACE)
    reserve(container, counter=Counter.KNOWLEDGE)


def test_the_hard_limit_is_for_all_factors_together(container):
    """A hundred failures end the account's attempts, however they are spread."""
    fill(container, 40, counter=Counter.FACE)
    fill(container, 30, counter=Counter.KNOWLEDGE)
    fill(container, 30, counter=Counter.OTHER)
    for counter in Counter:
        assert wait(container, counter=counter) == 3600


def test_a_success_does_not_reset_earlier_failures(container):
    """At the limit a released attempt leaves one attempt, not a hundred."""
    fill(container, 99)
    release(container, reserve(container))
    reserve(container)
    container.clock.advance(hours=1)
    assert wait(container) == 3600


def test_a_reset_forgets_one_lane_or_all(container):
    """A completed flow resets its lane; an operator all of them."""
    for lane in Lane:
        for _ in range(5):
            reserve(container, lane=lane)
    assert reset(container, lane=Lane.KNOWN_DEVICE) == 1
    reserve(container, lane=Lane.KNOWN_DEVICE)
    wait(container, lane=Lane.STRANGER)
    assert reset(container) == 2
    reserve(container, lane=Lane.STRANGER)
    assert reset(container, bucket="nobody") == 0


def test_an_attempt_that_is_rolled_back_was_none(container):
    """The caller commits the reservation before the check begins, or nothing was begun."""
    for _ in range(10):
        with pytest.raises(ZeroDivisionError), container.store.transaction() as tx:
            container.throttling.reserve(tx, "alice", Lane.STRANGER, Counter.OTHER)
            _ = 1 / 0
    for _ in range(5):
        reserve(container)


def test_a_bucket_shows_nobodys_name(container):
    """The name of a bucket is a keyed digest: the same for the same name, and not the name."""
    with container.store.transaction() as tx:
        one, other = (container.throttling.bucket(tx, name) for name in ("alice", "bob"))
        assert container.throttling.bucket(tx, "alice") == one
    assert one != other
    assert len(one) == 64
    assert "alice" not in one


@pytest.mark.parametrize("free", [2, 5])
def test_as_many_attempts_are_free_as_is_set(container, free):
    """The next waits as a sixth does where five are; faces on command have their own number."""
    container.throttling = Throttling(
        container.key_store.purpose_key, container.clock, free_attempts=free
    )
    for counter in (Counter.KNOWLEDGE, Counter.OTHER, Counter.FACE):
        named = {"bucket": counter.value, "counter": counter}
        for _ in range(free):
            reserve(container, **named)
        assert 0 < wait(container, **named) <= 31
    for _ in range(10):
        reserve(container, "live", counter=Counter.LIVE_FACE)
    assert 0 < wait(container, "live", counter=Counter.LIVE_FACE) <= 31


def test_a_failure_that_was_let_through_waits_by_the_setting(container):
    """Also where it is counted when it has failed, and not before."""
    throttling = Throttling(container.key_store.purpose_key, container.clock, free_attempts=2)
    for _ in range(2):
        with container.store.transaction() as tx:
            throttling.require(tx, "bob", Lane.STRANGER, Counter.OTHER)
            throttling.failed(tx, "bob", Lane.STRANGER, Counter.OTHER)
    with container.store.transaction() as tx, pytest.raises(Throttled):
        throttling.require(tx, "bob", Lane.STRANGER, Counter.OTHER)


def test_a_face_without_a_command_brings_the_setting_to_a_row_of_commands(container):
    """Three free failures that followed commands are more than two: the row waits at once."""
    container.throttling = Throttling(
        container.key_store.purpose_key, container.clock, free_attempts=2
    )
    for _ in range(3):
        reserve(container, counter=Counter.LIVE_FACE)
    reserve(container, counter=Counter.FACE)
    assert wait(container, counter=Counter.FACE) > 31
    assert wait(container, counter=Counter.LIVE_FACE) > 31
