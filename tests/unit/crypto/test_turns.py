"""Turns: few at once over all processes, in order, within a deadline, and never lost."""

import itertools
import os
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack

import pytest

from crypto.errors import TurnsBusy
from crypto.turns import HostTurns, Turns

LONG = 120.0
"""Seconds that no test lasts."""
HOLDER = """
import sys, time
from pathlib import Path
from crypto.turns import HostTurns
turns = HostTurns(Path(sys.argv[1]), 2)
print(turns.take(0), turns.take(1), flush=True)
time.sleep(600)
"""


class Holder:
    """A thread that has a turn, or waits for one, until it is told to go."""

    def __init__(self, turns, order=None):
        self.turns = turns
        self.order = order
        self.got, self.go = threading.Event(), threading.Event()
        self.refused = False
        self.thread = threading.Thread(target=self.run)
        before = turns.load()
        self.thread.start()
        # Either it has one, or it stands in the queue.
        while not self.got.wait(0.001) and turns.load().waiting == before.waiting:
            pass

    def run(self):
        try:
            with self.turns.turn():
                if self.order is not None:
                    self.order.append(self)
                self.got.set()
                assert self.go.wait(LONG)
        except TurnsBusy:
            self.refused = True
            self.got.set()

    def end(self):
        self.go.set()
        self.thread.join()


@pytest.fixture
def host(tmp_path):
    """Makes the turns of a process: each has files of its own open, as another process has."""
    with ExitStack() as stack:

        def make(count, wait=LONG):
            shared = HostTurns(tmp_path, count)
            stack.callback(shared.close)
            return Turns(count, wait, shared)

        yield make


def test_turns_are_given_in_order_of_arrival():
    """Whoever came first goes first."""
    turns, order = Turns(1, LONG), []
    holders = [Holder(turns, order) for _ in range(6)]
    assert (turns.load().taken, turns.load().waiting) == (1, 5)
    for holder in holders:
        assert holder.got.wait(LONG)
        holder.end()
    assert order == holders
    assert (turns.load().taken, turns.load().waiting) == (0, 0)


def test_processes_share_the_turns_of_a_host(host):
    """Two of one process leave none for another, and one that is given back goes to it."""
    one, other = host(2), host(2)
    first, second = Holder(one), Holder(one)
    waiting = Holder(other)
    assert (waiting.got.is_set(), other.load().taken) == (False, 0)
    first.end()
    assert waiting.got.wait(LONG)
    third = Holder(one)
    assert not third.got.is_set()
    for holder in (second, third, waiting):
        holder.go.set()
    for holder in (second, third, waiting):
        holder.end()
    assert (one.load().taken, other.load().taken) == (0, 0)


def test_a_busy_process_does_not_keep_the_turns(host):
    """Though its queue never empties, another process has its turn before that queue ends."""
    one, other = host(1), host(1)
    order = []
    queue = [Holder(one, order) for _ in range(20)]
    stranger = Holder(other, order)
    for holder in queue:
        assert any(it.got.wait(0.01) for it in itertools.cycle((holder, stranger)))
        if stranger.got.is_set():
            break
        holder.end()
    assert stranger.got.is_set()
    assert len(order) < 21
    for holder in (*queue, stranger):
        holder.go.set()
    for holder in (*queue, stranger):
        holder.thread.join()


def test_a_killed_process_loses_no_turn(tmp_path, host):
    """The kernel gives back what it had."""
    turns = host(2, 0.01)
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "True True\n"
        with pytest.raises(TurnsBusy), turns.turn():
            pass
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with turns.turn(), turns.turn():
        assert turns.load().taken == 2


def test_who_waits_too_long_is_refused_and_the_next_is_first(host):
    """At the deadline, of this process alone and among several; nobody behind is forgotten."""
    for make in (Turns, host):
        turns = make(1, 0.05)
        holder = Holder(turns)
        waiting = [Holder(turns) for _ in range(3)]
        for late in waiting:
            late.thread.join(LONG)
        assert [late.refused for late in waiting] == [True] * 3
        assert turns.load().waiting == 0
        holder.end()
        with turns.turn():
            pass


def test_a_turn_that_is_expected_too_late_is_refused_at_once(monkeypatch):
    """By the time that turns took lately and the length of the queue."""
    now = [0.0]
    monkeypatch.setattr("crypto.turns.time.monotonic", lambda: now[0])
    turns = Turns(1, 2.0)
    with turns.turn():
        now[0] += 1.5
    holder = Holder(turns)
    waiting = Holder(turns)
    assert turns.load().waiting == 1
    with pytest.raises(TurnsBusy), turns.turn():
        pass
    holder.end()
    waiting.end()


def test_an_error_gives_the_turn_back(host):
    """Whatever ends the work."""
    for turns in (Turns(1, LONG), host(1)):
        with pytest.raises(RuntimeError), turns.turn():
            raise RuntimeError
        with turns.turn():
            assert turns.load().taken == 1
