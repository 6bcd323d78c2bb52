"""Work that goes on beside the other: one turn at a time, soon again, whatever the clock did."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from service.domain.clock import FrozenClock
from service.jobs.actions.worker import Apart, Jobs

SECOND = timedelta(seconds=1)


class Work:
    """Counts its turns, and does in each what it is told."""

    def __init__(self):
        self.turns, self.hold, self.broken = 0, threading.Event(), False
        self.hold.set()
        self.stopped = []
        self.clock = FrozenClock(datetime(2026, 11, 24, tzinfo=UTC))
        apart = Apart("beside", SECOND, self.run, lambda: self.stopped.append(True))
        self.jobs = Jobs(database=None, tasks=(), clock=self.clock, apart=(apart,))

    def run(self):
        """Take a turn."""
        self.turns += 1
        self.hold.wait(120)
        if self.broken:
            raise ZeroDivisionError
        return 0

    def begin(self, **after):
        """Move the clock and begin what is due; return the threads that were begun."""
        self.clock.advance(**after)
        return self.jobs.begin_apart()


@pytest.fixture
def work():
    """Return work that takes a turn each second."""
    made = Work()
    yield made
    made.hold.set()


def test_a_turn_that_lasts_is_not_begun_again(work):
    """Ten seconds make one turn while the first is under way, and the next begins after it."""
    work.hold.clear()
    (first,) = work.begin(seconds=0)
    assert [work.begin(seconds=1) for _ in range(10)] == [[]] * 10
    work.hold.set()
    first.join()
    for thread in work.begin(seconds=1):
        thread.join()
    assert work.turns == 2


def test_a_clock_that_was_ahead_holds_nothing_up(work):
    """What was put off by hours that never were is due at once."""
    for thread in work.begin(hours=5):
        thread.join()
    for thread in work.begin(hours=-5):
        thread.join()
    assert work.turns == 2


def test_a_turn_that_fails_is_followed_as_soon_as_one_that_does_not(work):
    """Work of every second waits a second and no minute: codes would lose a tenth of their life."""
    work.broken = True
    for _ in range(3):
        for thread in work.begin(seconds=1):
            thread.join()
    assert work.turns == 3


def test_a_stop_stops_it_too(work):
    """Who ends the background work ends what goes on beside it."""
    work.jobs.stop()
    assert work.stopped == [True]
