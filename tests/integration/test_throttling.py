"""Attempts are counted before they are checked, and given back only when they verify."""

import numpy as np
import pytest
from sqlalchemy import text

from service.domain.errors import Throttled
from service.throttling.model import Counter, Lane


def reserve(house, bucket="alice", lane=Lane.STRANGER, counter=Counter.OTHER):
    """Count an attempt in a unit of work of its own."""
    with house.store.transaction() as tx:
        return house.throttling.reserve(tx, bucket, lane, counter)


def release(house, reservation):
    """Give an attempt back."""
    with house.store.transaction() as tx:
        house.throttling.release(tx, reservation)


def reset(house, bucket="alice", lane=None):
    """Forget the failures of a bucket."""
    with house.store.transaction() as tx:
        return house.throttling.reset(tx, bucket, lane)


def wait(house, *arguments, **named):
    """Return how long an attempt that is refused must wait."""
    with pytest.raises(Throttled) as refused:
        reserve(house, *arguments, **named)
    return refused.value.retry_after


def fill(house, failures, **named):
    """Let attempts fail one after the other, each as soon as it may."""
    for _ in range(failures):
        reserve(house, **named)
        house.clock.advance(hours=1)


def test_five_attempts_are_let_through_at_once(house):
    """The fifth failure begins a wait of 30 seconds, during which nothing is compared."""
    for _ in range(5):
        reserve(house)
    assert wait(house) in (30, 31)
    house.clock.advance(seconds=29)
    assert wait(house) in (1, 2)
    house.clock.advance(seconds=1)
    reserve(house)


def test_each_further_failure_waits_twice_as_long(house):
    """The waits are 30 s, 60 s, 120 s and so on up to an hour."""
    for _ in range(4):
        reserve(house)
    for seconds in (30, 60, 120, 240, 480, 960, 1920, 3600, 3600):
        reserve(house)
        house.clock.advance(seconds=seconds - 1)
        assert wait(house) in (1, 2)
        house.clock.advance(seconds=1)


def test_a_refused_attempt_is_not_counted(house):
    """Trying during the wait makes it no longer."""
    for _ in range(5):
        reserve(house)
    for _ in range(10):
        wait(house)
    house.clock.advance(seconds=30)
    reserve(house)
    assert wait(house) in (60, 61)


def test_an_attempt_is_kept_unless_it_is_released(house):
    """Whoever never comes back has failed."""
    for _ in range(5):
        release(house, reserve(house))
    for _ in range(5):
        reserve(house)
    wait(house)


def test_release_takes_back_its_own_attempt_alone(house):
    """Four failures and a success leave four failures, so that one more begins the wait."""
    for _ in range(4):
        reserve(house)
    release(house, reserve(house))
    reserve(house)
    wait(house)


def test_release_ends_the_wait_that_its_own_attempt_began(house):
    """The right password at the fifth attempt leaves nobody waiting."""
    for _ in range(4):
        reserve(house)
    release(house, reserve(house))
    release(house, reserve(house))


def test_release_leaves_the_wait_that_others_began_meanwhile(house):
    """A right password in flight while codes fail: their wait ends by time, not by its success."""
    password = reserve(house, counter=Counter.KNOWLEDGE)
    for _ in range(5):
        reserve(house, counter=Counter.OTHER)
    release(house, password)
    assert wait(house, counter=Counter.OTHER) in (30, 31)
    assert wait(house, counter=Counter.KNOWLEDGE) in (30, 31)
    house.clock.advance(seconds=30)
    reserve(house, counter=Counter.OTHER)
    assert wait(house) in (60, 61)


def test_release_of_one_kind_leaves_a_wait_of_its_own_kind(house):
    """Five passwords in flight, of which the first verifies: the other four began the wait."""
    first = reserve(house)
    others = [reserve(house) for _ in range(4)]
    release(house, first)
    assert wait(house) in (30, 31)
    # The one that began it may take it back: it is the attempt of whoever waits.
    release(house, others[-1])
    reserve(house)


def test_a_wait_that_was_begun_again_is_not_taken_back_by_the_first(house):
    """A check that takes longer than its own wait gives nothing back of a later one."""
    for _ in range(4):
        reserve(house)
    slow = reserve(house)
    house.clock.advance(seconds=30)
    reserve(house)
    release(house, slow)
    assert wait(house) in (60, 61)


def test_an_attempt_of_before_a_reset_gives_nothing_back(house):
    """What was set to zero meanwhile is nobody's to take back; later failures stay counted."""
    old = [reserve(house) for _ in range(3)]
    reset(house)
    for _ in range(4):
        reserve(house)
    for one in old:
        release(house, one)
    reserve(house)
    assert wait(house) in (30, 31)


def test_right_passwords_in_flight_gain_no_guess(house):
    """Whatever the order, a minute of guessing codes beside right passwords checks six at most."""
    drawn = np.random.default_rng(17)
    checked, flying = 0, []
    for _second in range(60):
        for _ in range(20):
            counter = Counter.KNOWLEDGE if drawn.random() < 0.5 else Counter.OTHER
            try:
                taken = reserve(house, counter=counter)
            except Throttled:
                continue
            checked += counter is Counter.OTHER
            if counter is Counter.KNOWLEDGE:
                flying.append(taken)
        drawn.shuffle(flying)
        while flying and drawn.random() < 0.7:
            release(house, flying.pop())
        house.clock.advance(seconds=1)
    assert 1 <= checked <= 6


def test_counters_are_apart_and_make_a_total(house):
    """Four failures of each factor begin no wait; one more of either does, for all of them."""
    for counter in (Counter.KNOWLEDGE, Counter.OTHER, Counter.FACE):
        for _ in range(4):
            reserve(house, counter=counter)
    reserve(house, counter=Counter.KNOWLEDGE)
    for counter in Counter:
        wait(house, counter=counter)


def test_release_lowers_its_own_counter(house):
    """A verified code does not give back a failed password."""
    for _ in range(4):
        reserve(house, counter=Counter.KNOWLEDGE)
    for _ in range(3):
        release(house, reserve(house, counter=Counter.OTHER))
    reserve(house, counter=Counter.KNOWLEDGE)
    wait(house)


def test_lanes_are_apart(house):
    """Strangers cannot lock out a known device, nor the other way round."""
    for _ in range(5):
        reserve(house, lane=Lane.STRANGER)
    wait(house, lane=Lane.STRANGER)
    for _ in range(5):
        reserve(house, lane=Lane.KNOWN_DEVICE)
    wait(house, lane=Lane.KNOWN_DEVICE)


def test_buckets_are_apart(house):
    """One account's failures are no other's."""
    for _ in range(5):
        reserve(house, bucket="alice")
    reserve(house, bucket="bob")


def test_a_counter_is_off_at_its_hard_limit(house):
    """After 100 failures in a row (50 faces) no wait is long enough; a reset opens it again."""
    for counter, limit in ((Counter.KNOWLEDGE, 100), (Counter.OTHER, 100), (Counter.FACE, 50)):
        fill(house, limit, counter=counter)
        house.clock.advance(days=365)
        assert wait(house, counter=counter) == 3600
        assert reset(house) == 1
        reserve(house, counter=counter)
        assert reset(house) == 1


def test_a_face_that_is_off_leaves_the_other_factors(house):
    """50 failed faces turn the face off and nothing else."""
    fill(house, 50, counter=Counter.FACE)
    wait(house, counter=Counter.FACE)
    reserve(house, counter=Counter.KNOWLEDGE)


def test_the_hard_limit_is_for_all_factors_together(house):
    """A hundred failures end the account's attempts, however they are spread."""
    fill(house, 40, counter=Counter.FACE)
    fill(house, 30, counter=Counter.KNOWLEDGE)
    fill(house, 30, counter=Counter.OTHER)
    for counter in Counter:
        assert wait(house, counter=counter) == 3600


def test_a_success_does_not_reset_earlier_failures(house):
    """At the limit a released attempt leaves one attempt, not a hundred."""
    fill(house, 99)
    release(house, reserve(house))
    reserve(house)
    house.clock.advance(hours=1)
    assert wait(house) == 3600


def test_a_reset_forgets_one_lane_or_all(house):
    """A completed flow resets its lane; an operator all of them."""
    for lane in Lane:
        for _ in range(5):
            reserve(house, lane=lane)
    assert reset(house, lane=Lane.KNOWN_DEVICE) == 1
    reserve(house, lane=Lane.KNOWN_DEVICE)
    wait(house, lane=Lane.STRANGER)
    assert reset(house) == 2
    reserve(house, lane=Lane.STRANGER)
    assert reset(house, bucket="nobody") == 0


def test_an_attempt_that_is_rolled_back_was_none(house):
    """The caller commits the reservation before the check begins, or nothing was begun."""
    for _ in range(10):
        with pytest.raises(ZeroDivisionError), house.store.transaction() as tx:
            house.throttling.reserve(tx, "alice", Lane.STRANGER, Counter.OTHER)
            _ = 1 / 0
    for _ in range(5):
        reserve(house)


def test_a_bucket_shows_nobodys_name(house):
    """The name of a bucket is a keyed digest: the same for the same name, and not the name."""
    with house.store.transaction() as tx:
        one, other = (house.throttling.bucket(tx, name) for name in ("alice", "bob"))
        assert house.throttling.bucket(tx, "alice") == one
    assert one != other
    assert len(one) == 64
    assert "alice" not in one


def granted(house, counters, step):
    """Try attempts one after the other, some seconds apart; return which were let through."""
    found = []
    for counter in counters:
        try:
            reserve(house, counter=counter)
        except Throttled:
            found.append(False)
        else:
            found.append(True)
        house.clock.advance(seconds=step)
    return found


STILL, LIVE = Counter.FACE, Counter.LIVE_FACE


def test_faces_that_were_told_to_move_have_ten_free_and_a_hundred_in_all(house):
    """Twice as many as the others (SP 800-63B-4, section 3.2.3), and the same waits."""
    assert granted(house, [LIVE] * 11, 1) == [True] * 10 + [False]
    assert wait(house, counter=LIVE) <= 30
    reset(house)
    fill(house, 99, counter=LIVE)
    reserve(house, counter=LIVE)
    house.clock.advance(days=365)
    assert wait(house, counter=LIVE) == 3600


@pytest.mark.parametrize("first", range(5))
def test_one_face_that_was_not_told_to_move_makes_the_whole_row_strict(house, first):
    """Wherever it comes among the first five, five are free, as if none had been told to."""
    row = [LIVE] * 12
    row[first] = STILL
    assert granted(house, row, 1) == [True] * 5 + [False] * 7


def test_a_late_one_waits_as_it_would_have(house):
    """After nine that were told to move, one that was not finds itself past five."""
    assert granted(house, [LIVE] * 9, 1) == [True] * 9
    assert 25 <= wait(house, counter=STILL) <= 31
    # The row is as free as before for those that are told to move.
    house.clock.advance(seconds=28)
    wait(house, counter=STILL)
    house.clock.advance(seconds=2)
    reserve(house, counter=STILL)
    assert wait(house, counter=LIVE) >= 30


def test_a_strict_row_is_off_at_fifty_for_both(house):
    """Of fifty failures one was not told to move: no more of either, and the rest go on."""
    reserve(house, counter=STILL)
    fill(house, 49, counter=LIVE)
    house.clock.advance(days=365)
    for counter in (STILL, LIVE):
        assert wait(house, counter=counter) == 3600
    reserve(house, counter=Counter.OTHER)
    reset(house)
    fill(house, 60, counter=LIVE)
    assert wait(house, counter=STILL) == 3600
    reserve(house, counter=LIVE)


def test_a_match_leaves_a_free_row_free(house):
    """What was let through and given back was no failure; only what failed makes a row strict."""
    release(house, reserve(house, counter=STILL))
    assert granted(house, [LIVE] * 11, 1) == [True] * 10 + [False]
    reset(house)
    reserve(house, counter=LIVE)
    release(house, reserve(house, counter=LIVE))
    assert granted(house, [LIVE] * 10, 1) == [True] * 9 + [False]


@pytest.mark.parametrize("seed", range(6))
def test_no_mix_gets_more_than_the_stricter_kind_alone(house, seed):
    """Rows of both kinds, at random paces: as soon as one was not told to move, as if all were."""
    drawn = np.random.default_rng(seed)
    row = [STILL if share < 0.3 else LIVE for share in drawn.random(40)]
    row[int(drawn.integers(5))] = STILL
    pace = int(drawn.integers(1, 200))
    mixed = granted(house, row, pace)
    house.clock.advance(days=1)
    reset(house)
    alone = granted(house, [STILL] * 40, pace)
    assert np.all(np.cumsum(mixed) <= np.cumsum(alone))


@pytest.mark.parametrize("seed", range(3))
def test_what_may_begin_is_what_would_be_counted(house, seed):
    """To ask first lets through what counting would, and leaves the row as it is."""
    drawn = np.random.default_rng(seed)
    for _ in range(60):
        counter = list(Counter)[int(drawn.integers(len(Counter)))]
        with house.store.transaction() as tx:
            before = tx.execute(text("SELECT * FROM throttle")).all()
            asked = counted = 0
            try:
                house.throttling.require(tx, "alice", Lane.STRANGER, counter)
            except Throttled as refused:
                asked = refused.retry_after
            assert tx.execute(text("SELECT * FROM throttle")).all() == before
            try:
                house.throttling.reserve(tx, "alice", Lane.STRANGER, counter)
            except Throttled as refused:
                counted = refused.retry_after
            assert asked == counted
        house.clock.advance(seconds=int(drawn.integers(1, 1200)))


def test_what_has_failed_counts_whatever_others_began_meanwhile(house):
    """A wait, and a full counter, that came after the look hide no failure, and end no sooner."""
    with house.store.transaction() as tx:
        house.throttling.require(tx, "alice", Lane.STRANGER, Counter.OTHER)
        others = [
            house.throttling.reserve(tx, "alice", Lane.STRANGER, Counter.KNOWLEDGE)
            for _ in range(5)
        ]
        house.throttling.failed(tx, "alice", Lane.STRANGER, Counter.OTHER)
        for each in others[1:4]:
            house.throttling.release(tx, each)
        row = tx.execute(text("SELECT knowledge, other, total FROM throttle")).one()
    assert tuple(row) == (2, 1, 3)
    assert wait(house) in (30, 31)
    with house.store.transaction() as tx:
        tx.execute(text("UPDATE throttle SET other = 100, total = 100, locked_until = NULL"))
        house.throttling.failed(tx, "alice", Lane.STRANGER, Counter.OTHER)
        assert tx.execute(text("SELECT other FROM throttle")).scalar() == 101
    assert wait(house) == 3601


def rows(house):
    """Return how many rows there are, after those that have ended were dropped."""
    with house.store.transaction() as tx:
        house.throttling.drop_unused(tx, house.clock.now())
        return len(tx.execute(text("SELECT id FROM throttle")).all())


def test_a_row_ends_a_day_after_its_last_failure_was_taken_back(house):
    """What holds nothing is not kept; the next attempt makes it anew."""
    release(house, reserve(house))
    house.clock.advance(hours=23)
    assert rows(house) == 1
    house.clock.advance(hours=1)
    assert rows(house) == 0
    reserve(house)


def test_failures_are_kept_so_long_that_no_more_are_allowed_in_all(house):
    """Four for 30 days; five or more for two years, so that a hundred stay a hundred."""
    fill(house, 5, bucket="more")
    fill(house, 100, bucket="off")
    for _ in range(4):
        reserve(house, bucket="few")
    house.clock.advance(days=29)
    assert rows(house) == 3
    house.clock.advance(days=2)
    assert rows(house) == 2
    house.clock.advance(days=690)
    assert rows(house) == 2
    assert wait(house, bucket="off") == 3600
    house.clock.advance(days=15)
    assert rows(house) == 0
