"""A process keeps to one core where each core has one, and what leaves the interpreter does not."""

import os
import threading

import pytest

from crypto import cores
from crypto.hashing import PasswordHasher

FOUR = frozenset({0, 1, 2, 5})
pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="a thread has cores of its own on Linux"
)


@pytest.fixture
def here(monkeypatch):
    """Let a system of four cores note what it is told; return the notes."""
    told = []
    monkeypatch.setattr(cores, "_ALL", FOUR)
    monkeypatch.setattr(cores, "_kept", [])
    monkeypatch.setattr(os, "sched_setaffinity", lambda who, which: told.append((who, set(which))))
    return told


def test_each_process_keeps_to_a_core_of_its_own(here):
    """Or shares it with one more, where there are twice as many."""
    for number in range(4):
        cores.keep_to_one(number, 4)
    cores.keep_to_one(7, 8)
    assert here == [(0, {0}), (0, {1}), (0, {2}), (0, {5}), (0, {5})]
    assert cores.count() == 4


@pytest.mark.parametrize(("number", "processes"), [(0, 3), (0, 5), (4, 4)])
def test_where_some_cores_would_idle_processes_keep_to_none(here, number, processes):
    """Nor does one that replaces another that has not ended."""
    cores.keep_to_one(number, processes)
    cores.leave()
    with cores.anywhere():
        pass
    assert here == []


def test_work_outside_the_interpreter_runs_anywhere_and_its_thread_comes_back(here):
    """Also when it fails."""
    cores.keep_to_one(1, 4)
    del here[:]
    with pytest.raises(ValueError, match="work"), cores.anywhere():
        raise ValueError("work")
    assert here == [(0, set(FOUR)), (0, {1})]


def test_a_core_that_was_taken_away_stops_nothing(here, monkeypatch):
    """The threads run where they may."""

    def refuse(*_):
        raise OSError

    cores.keep_to_one(1, 4)
    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    cores.keep_to_one(2, 4)
    with cores.anywhere():
        cores.leave()


@pytest.mark.skipif(cores.count() == 1, reason="there is one core")
def test_threads_follow_and_hashes_do_not():
    """What the system says of the threads of a process that keeps to a core."""
    every = os.sched_getaffinity(0)
    seen = []

    def look():
        cores.keep_to_one(0, len(every))
        hasher = PasswordHasher.unsafe_for_tests()
        after = threading.Thread(target=lambda: seen.append(os.sched_getaffinity(0)))
        after.start()
        after.join()
        seen.append(hasher._threads.submit(os.sched_getaffinity, 0).result())

    before = list(cores._kept)
    thread = threading.Thread(target=look)
    try:
        thread.start()
        thread.join()
    finally:
        cores._kept[:] = before
    assert seen == [{min(every)}, every]
    assert os.sched_getaffinity(0) == every
