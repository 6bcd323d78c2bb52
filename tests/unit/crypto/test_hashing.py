"""Password hashing: one error for what does not match, and a bound on memory."""

import os
import sys
import threading
from types import SimpleNamespace

import pytest

from crypto.errors import HasherBusy, PasswordMismatch
from crypto.hashing import PasswordHasher


def test_a_password_verifies_against_its_hash():
    """The right password passes; another one, and a foreign hash, raise the same error."""
    hasher = PasswordHasher.unsafe_for_tests()
    encoded = hasher.hash("correct horse")
    hasher.verify(encoded, "correct horse")
    for wrong in ((encoded, "Correct horse"), ("$1$md5", "correct horse"), ("", "")):
        with pytest.raises(PasswordMismatch):
            hasher.verify(*wrong)


def test_old_parameters_are_noticed():
    """A hash of weaker parameters is to be made anew; one of today's is not."""
    hasher = PasswordHasher(concurrency=1)
    assert hasher.needs_rehash(PasswordHasher.unsafe_for_tests().hash("x"))
    assert not hasher.needs_rehash(hasher.hash("x"))


@pytest.mark.parametrize("weak", [{"memory_kib": 19 * 1024 - 1}, {"passes": 1}])
def test_parameters_below_the_floor_are_refused(weak):
    """19 MiB and two passes are the least."""
    with pytest.raises(ValueError, match="19 MiB"):
        PasswordHasher(concurrency=1, **weak)


def test_a_hash_beyond_the_bound_is_not_begun():
    """While every turn is taken, another hash raises after its waiting time."""
    hasher = PasswordHasher.unsafe_for_tests(concurrency=1, wait_seconds=0.01)
    taken, done = threading.Event(), threading.Event()

    def hold():
        with hasher._turn():
            taken.set()
            done.wait(120)

    thread = threading.Thread(target=hold)
    thread.start()
    assert taken.wait(120)
    with pytest.raises(HasherBusy):
        hasher.hash("x")
    done.set()
    thread.join()
    assert hasher.hash("x")


@pytest.mark.skipif(sys.platform != "linux", reason="a thread has a niceness of its own on Linux")
def test_hashing_steps_back_and_its_caller_does_not(monkeypatch):
    """A thread that hashes has a higher niceness; the one that waits for it keeps its own."""
    hasher = PasswordHasher.unsafe_for_tests()
    seen = []

    def niceness():
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    asked = SimpleNamespace(
        hash=lambda _: seen.append(niceness()), verify=lambda *_: seen.append(niceness())
    )
    monkeypatch.setattr(hasher, "_argon2", asked)
    before = niceness()
    assert before < 10
    hasher.hash("x")
    hasher.verify("", "x")
    assert niceness() == before
    assert seen == [10, 10]


@pytest.mark.skipif(sys.platform != "linux", reason="a thread has a niceness of its own on Linux")
@pytest.mark.parametrize("already", [0, 15])
def test_a_niceness_that_may_not_be_set_stops_no_hash(monkeypatch, already):
    """Neither a process that has a higher one nor a system that refuses it loses its passwords."""

    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "getpriority", lambda *_: already)
    monkeypatch.setattr(os, "setpriority", refuse)
    hasher = PasswordHasher.unsafe_for_tests()
    hasher.verify(hasher.hash("x"), "x")


def test_no_niceness_is_touched_where_it_is_the_whole_process(monkeypatch):
    """Only Linux gives each thread its own."""

    def never(*_):
        raise AssertionError("the niceness of a process was changed")

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(os, "setpriority", never)
    hasher = PasswordHasher.unsafe_for_tests()
    hasher.verify(hasher.hash("x"), "x")
