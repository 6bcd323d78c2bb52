"""Faces that were told to move, the total of a bucket, and how long its rows are kept."""

import numpy as np
import pytest
from sqlalchemy import text

from service.domain.errors import Throttled
from service.throttling.model import Counter, Lane
from tests.integration.attempts import fill, release, reserve, reset, wait


def granted(container, counters, step):
    """Try attempts one after the other, some seconds apart; return which were let through."""
    found = []
    for counter in counters:
        try:
            reserve(container, counter=counter)
        except Throttled:
            found.append(False)
        else:
            found.append(True)
        container.clock.advance(seconds=step)
    return found


STILL, LIVE = Counter.FACE, Counter.LIVE_FACE


def test_faces_that_were_told_to_move_have_ten_free_and_a_hundred_in_all(container):
    """Twice as many as the others (SP 800-63B-4, section 3.2.3), and the same waits."""
    assert granted(container, [LIVE] * 11, 1) == [True] * 10 + [False]
    assert wait(container, counter=LIVE) <= 30
    reset(container)
    fill(container, 99, counter=LIVE)
    reserve(container, counter=LIVE)
    container.clock.advance(days=365)
    assert wait(container, counter=LIVE) == 3600


@pytest.mark.parametrize("first", range(5))
def test_one_face_that_was_not_told_to_move_makes_the_whole_row_strict(container, first):
    """Wherever it comes among the first five, five are free, as if none had been told to."""
    row = [LIVE] * 12
    row[first] = STILL
    assert granted(container, row, 1) == [True] * 5 + [False] * 7


def test_a_late_one_waits_as_it_would_have(container):
    """After nine that were told to move, one that was not finds itself past five."""
    assert granted(container, [LIVE] * 9, 1) == [True] * 9
    assert 25 <= wait(container, counter=STILL) <= 31
    # The row is as free as before for those that are told to move.
    container.clock.advance(seconds=28)
    wait(container, counter=STILL)
    container.clock.advance(seconds=2)
    reserve(container, counter=STILL)
    assert wait(container, counter=LIVE) >= 30


def test_a_strict_row_is_off_at_fifty_for_both(container):
    """Of fifty failures one was not told to move: no more of either, and the rest go on."""
    reserve(container, counter=STILL)
    fill(container, 49, counter=LIVE)
    container.clock.advance(days=365)
    for counter in (STILL, LIVE):
        assert wait(container, counter=counter) == 3600
    reserve(container, counter=Counter.OTHER)
    reset(container)
    fill(container, 60, counter=LIVE)
    assert wait(container, counter=STILL) == 3600
    reserve(container, counter=LIVE)


def test_a_match_leaves_a_free_row_free(container):
    """What was let through and given back was no failure; only what failed makes a row strict."""
    release(container, reserve(container, counter=STILL))
    assert granted(container, [LIVE] * 11, 1) == [True] * 10 + [False]
    reset(container)
    reserve(container, counter=LIVE)
    release(container, reserve(container, counter=LIVE))
    assert granted(container, [LIVE] * 10, 1) == [True] * 9 + [False]


@pytest.mark.parametrize("seed", range(6))
def test_no_mix_gets_more_than_the_stricter_kind_alone(container, seed):
    """Rows of both kinds, at random paces: as soon as one was not told to move, as if all were."""
    drawn = np.random.default_rng(seed)
    row = [STILL if share < 0.3 else LIVE for share in drawn.random(40)]
    row[int(drawn.integers(5))] = STILL
    pace = int(drawn.integers(1, 200))
    mixed = granted(container, row, pace)
    container.clock.advance(days=1)
    reset(container)
    alone = granted(container, [STILL] * 40, pace)
    assert np.all(np.cumsum(mixed) <= np.cumsum(alone))


@pytest.mark.parametrize("seed", range(3))
def test_what_may_begin_is_what_would_be_counted(container, seed):
    """To ask first lets through what counting would, and leaves the row as it is."""
    drawn = np.random.default_rng(seed)
    for _ in range(60):
        counter = list(Counter)[int(drawn.integers(len(Counter)))]
        with container.store.transaction() as tx:
            before = tx.execute(text("SELECT * FROM throttle")).all()
            asked = counted = 0
            try:
                container.throttling.require(tx, "alice", Lane.STRANGER, counter)
            except Throttled as refused:
                asked = refused.retry_after
            assert tx.execute(text("SELECT * FROM throttle")).all() == before
            try:
                container.throttling.reserve(tx, "alice", Lane.STRANGER, counter)
            except Throttled as refused:
                counted = refused.retry_after
            assert asked == counted
        container.clock.advance(seconds=int(drawn.integers(1, 1200)))


def test_what_has_failed_counts_whatever_others_began_meanwhile(container):
    """A wait, and a full counter, that came after the look hide no failure, and end no sooner."""
    with container.store.transaction() as tx:
        container.throttling.require(tx, "alice", Lane.STRANGER, Counter.OTHER)
        others = [
            container.throttling.reserve(tx, "alice", Lane.STRANGER, Counter.KNOWLEDGE)
            for _ in range(5)
        ]
        container.throttling.failed(tx, "alice", Lane.STRANGER, Counter.OTHER)
        for each in others[1:4]:
            container.throttling.release(tx, each)
        row = tx.execute(text("SELECT knowledge, other, total FROM throttle")).one()
    assert tuple(row) == (2, 1, 3)
    assert wait(container) in (30, 31)
    with container.store.transaction() as tx:
        tx.execute(text("UPDATE throttle SET other = 100, total = 100, locked_until = NULL"))
        container.throttling.failed(tx, "alice", Lane.STRANGER, Counter.OTHER)
        assert tx.execute(text("SELECT other FROM throttle")).scalar() == 101
    assert wait(container) == 3601


def rows(container):
    """Return how many rows there are, after those that have ended were dropped."""
    with container.store.transaction() as tx:
        container.throttling.drop_unused(tx, container.clock.now())
        return len(tx.execute(text("SELECT id FROM throttle")).all())


def test_a_row_ends_a_day_after_its_last_failure_was_taken_back(container):
    """What holds nothing is not kept; the next attempt makes it anew."""
    release(container, reserve(container))
    container.clock.advance(hours=23)
    assert rows(container) == 1
    container.clock.advance(hours=1)
    assert rows(container) == 0
    reserve(container)


def test_failures_are_kept_so_long_that_no_more_are_allowed_in_all(container):
    """Four for 30 days; five or more for two years, so that a hundred stay a hundred."""
    fill(container, 5, bucket="more")
    fill(container, 100, bucket="off")
    for _ in range(4):
        reserve(container, bucket="few")
    container.clock.advance(days=29)
    assert rows(container) == 3
    container.clock.advance(days=2)
    assert rows(container) == 2
    container.clock.advance(days=690)
    assert rows(container) == 2
    assert wait(container, bucket="off") == 3600
    container.clock.advance(days=15)
    assert rows(container) == 0
