"""Background work goes on after whatever fails in it, and tells what failed but not its text."""

import json
import threading
import time
from datetime import timedelta
from types import SimpleNamespace

import pytest
import structlog

from crypto.errors import KeyUnavailable
from service.domain.errors import Unavailable
from service.jobs.actions import long
from service.jobs.actions import worker as actions
from service.jobs.actions.long import LongJobs
from service.jobs.actions.work import JobStep, Work
from service.jobs.actions.worker import ROUND, TICK, Jobs, Task
from service.keys.actions import instances
from service.store.dropping import PAGE
from service.telemetry import logs

TEXT = "ada@example.org"
PATIENCE = 120.0


class Clockwork:
    """Work that fails as often as it is told to, and counts its turns."""

    def __init__(self, failures, error=ValueError):
        self.failures = failures
        self.error = error
        self.turns = 0

    def __call__(self, *_):
        self.turns += 1
        if self.turns <= self.failures:
            raise self.error(TEXT)
        return 1

    def gone_on(self):
        """Wait until a turn after the last failure has come."""
        end = time.monotonic() + PATIENCE
        while self.turns <= self.failures:
            assert time.monotonic() < end, "it ended with the failure"
            time.sleep(0.01)


@pytest.fixture
def logged(service):
    """What was logged since the service was opened, which sets logging up; a list that grows."""
    before = structlog.get_config()
    logs.configure("warning")
    with structlog.testing.capture_logs() as entries:
        yield entries
    structlog.configure(**before)


def jobs_of(service, *tasks, **named):
    """Background work with tasks of our own."""
    return Jobs(database=service.container.store, tasks=tasks, clock=service.clock, **named)


def test_a_task_that_fails_holds_up_no_other_and_is_tried_again_soon(service, logged):
    """A daily task comes again after a minute, the one behind it keeps its turn."""
    failing, sound = Clockwork(1), Clockwork(0)
    jobs = jobs_of(
        service,
        Task(name="first", every=timedelta(days=1), run=failing),
        Task(name="second", every=timedelta(hours=1), run=sound),
    )
    assert jobs.run_due() == {"second": 1}
    assert jobs.run_due() == {}
    service.clock.advance(seconds=59)
    assert jobs.run_due() == {}
    service.clock.advance(seconds=1)
    assert jobs.run_due() == {"first": 1}
    assert (failing.turns, sound.turns) == (2, 1)
    service.clock.advance(hours=1)
    assert jobs.run_due() == {"second": 1}
    assert logged == [
        {
            "event": "job_failed",
            "log_level": "error",
            "job": "first",
            "error": "ValueError",
            "code": None,
        },
    ]


def test_a_frequent_task_that_fails_waits_no_longer_than_its_turn(service):
    """The minute is a bound, no penalty."""
    failing = Clockwork(1)
    jobs = jobs_of(service, Task(name="often", every=timedelta(seconds=5), run=failing))
    assert jobs.run_due() == {}
    service.clock.advance(seconds=5)
    assert jobs.run_due() == {"often": 1}


def test_the_loop_goes_on_after_any_error(service, logged, monkeypatch):
    """An error that none of ours is, at the lease itself, ends the thread no more."""
    failing = Clockwork(2)
    monkeypatch.setattr(actions, "TICK", 0.001)
    jobs = jobs_of(service)
    monkeypatch.setattr(jobs, "run_due", failing)
    thread = threading.Thread(target=jobs.loop)
    thread.start()
    failing.gone_on()
    jobs.stop()
    thread.join(PATIENCE)  # it gives its lease up in the database at last
    told = [(line["event"], line["error"]) for line in logged]
    assert told == [("jobs_paused", "ValueError")] * 2


def test_the_heartbeat_goes_on_without_a_key(service, logged, monkeypatch):
    """A root that is away for a moment makes no instance look dead for good."""
    failing = Clockwork(2, KeyUnavailable)
    monkeypatch.setattr(instances, "REFRESH", timedelta(milliseconds=1))
    alive = service.container.keys.instances
    monkeypatch.setattr(alive, "beat", failing)
    alive.start()
    failing.gone_on()
    alive.stop()
    told = [(line["event"], line["error"]) for line in logged]
    assert told == [("heartbeat_missed", "KeyUnavailable")] * 2


def a_step():
    """Do one page of three rows."""
    yield JobStep(3)


def a_broken_step():
    """Do one page, and fail in the second."""
    yield JobStep(3)
    raise ValueError(TEXT)


def long_jobs_of(service, *works):
    """Queue a long job for each work; return the jobs and their numbers."""
    plans = {f"work-{n}": lambda _, work=work: work for n, work in enumerate(works)}
    jobs = LongJobs(database=service.container.store, plans=plans, clock=service.clock)
    with service.container.store.transaction() as tx:
        return jobs, [jobs.plan(tx, kind, {}, "operator:test") for kind in plans]


def shown(service, jobs, number):
    """Return how a job stands."""
    with service.container.store.transaction(read=True) as tx:
        return jobs.view(tx, number)


def test_a_long_job_that_fails_ends_and_is_not_begun_for_ever(service, logged):
    """What it had done is told, why it ended by kind; the next one has its turn at once."""
    jobs, (broken, sound) = long_jobs_of(
        service, Work(lambda: 6, a_broken_step), Work(lambda: 3, a_step)
    )
    assert jobs.run_queued() == 2
    ended = shown(service, jobs, broken)
    assert (ended["status"], ended["done"], ended["total"]) == ("partial", 3, 6)
    assert ended["report"] == {
        "error": "internal_error",
        "detail": "It failed by ValueError.",
        "failed": 0,
    }
    assert shown(service, jobs, sound)["status"] == "done"
    assert jobs.run_queued() == 0
    (line,) = logged
    assert (line["event"], line["job"], line["error"]) == ("job_failed", "work-0", "ValueError")
    assert TEXT not in json.dumps([ended, line], default=str)


def test_a_long_job_that_cannot_begin_ends_and_leaves_its_lock_free(service):
    """Its preparation fails: nothing of it is kept, it is over, and another of its kind begins."""
    prepare = Clockwork(1)
    work = Work(lambda: 3, a_step, prepare=lambda tx: {"turn": prepare(tx)})
    jobs, (first,) = long_jobs_of(service, work)
    assert jobs.run_queued() == 0
    ended = shown(service, jobs, first)
    assert (ended["status"], ended["params"]) == ("partial", {})
    assert ended["report"]["error"] == "internal_error"
    with service.container.store.transaction() as tx:
        second = jobs.plan(tx, "work-0", {}, "operator:test")
    assert jobs.run_queued() == 1
    assert shown(service, jobs, second)["status"] == "done"


def test_a_long_job_waits_for_what_is_away(service):
    """Where the database or a root is away the job is no worse for it."""
    prepare = Clockwork(1, lambda text: Unavailable("store_unavailable", text))
    work = Work(lambda: 3, a_step, prepare=lambda tx: {"turn": prepare(tx)})
    jobs, (number,) = long_jobs_of(service, work)
    with pytest.raises(Unavailable):
        jobs.run_queued()
    assert shown(service, jobs, number)["status"] == "queued"
    assert jobs.run_queued() == 1
    assert shown(service, jobs, number)["status"] == "done"


def test_the_long_jobs_go_on_after_any_error(service, logged, monkeypatch):
    """The thread outlives what fails outside of a job."""
    failing = Clockwork(2)
    monkeypatch.setattr(long, "_POLL", 0.001)
    jobs, _ = long_jobs_of(service)
    monkeypatch.setattr(jobs, "run_queued", failing)
    jobs.start()
    failing.gone_on()
    jobs.stop()
    told = [(line["event"], line["error"]) for line in logged]
    assert told == [("jobs_paused", "ValueError")] * 2


class Backlog:
    """A paged task with rows to drop, each page of which takes a while."""

    def __init__(self, name, pages, watch, seconds=0.125, **task):
        self.left = PAGE * pages + 5
        self.watch = watch
        self.seconds = seconds
        self.task = Task(name=name, every=timedelta(hours=1), run=self.drop, paged=True, **task)

    def drop(self, _tx, _now):
        """Drop a page."""
        done = min(PAGE, self.left)
        self.left -= done
        self.watch[0] += self.seconds
        return done


def test_a_task_that_drops_pages_goes_on_until_none_is_whole(service):
    """Page after page, each a unit of work, for its share of a round; what is left comes next."""
    watch = [0.0]
    backlog = Backlog("drop", 9, watch)
    jobs = jobs_of(service, backlog.task, elapsed=lambda: watch[0])
    assert jobs.run_due() == {"drop": PAGE * 5}
    assert jobs.run_due() == {"drop": PAGE * 4 + 5}
    assert jobs.run_due() == {}
    assert backlog.left == 0


def test_a_round_has_a_page_of_each_task_and_few_seconds_of_more(service):
    """Nobody waits for a backlog of others, and who got least is the next one to get more."""
    watch = [0.0]
    names = [f"drop{number}" for number in range(8)]
    tasks = [Backlog(name, 40, watch, final=True) for name in names]
    chain = Backlog("chain", 40, watch, share=1.0)
    jobs = jobs_of(service, *(item.task for item in tasks), chain.task, elapsed=lambda: watch[0])
    first = jobs.run_due()
    assert list(first) == ["chain", *names]
    assert watch[0] <= ROUND + 0.125 * (len(names) + 1)
    assert min(first.values()) == PAGE
    assert first["chain"] == PAGE * 9
    for _ in range(12):
        jobs.run_due()
    rest = [item.left for item in tasks]
    assert max(rest) - min(rest) <= PAGE * 6
    while any(jobs.run_due().values()):
        pass
    assert [item.left for item in (*tasks, chain)] == [0] * 9


def test_work_that_is_left_is_gone_on_with_at_once_unless_it_may_not_be(service, monkeypatch):
    """The loop does not wait a second between rounds then; without the lease it does."""
    watch = [0.0]
    backlog = Backlog("drop", 20, watch, final=True)
    jobs = jobs_of(service, backlog.task, elapsed=lambda: watch[0])
    waits = []

    def wait(seconds):
        waits.append(seconds)
        return len(waits) > 4

    monkeypatch.setattr(jobs._stop, "wait", wait)
    jobs.loop()
    assert waits[0] == TICK
    assert set(waits[1:4]) == {0.02}


def test_what_waits_for_the_clocks_is_no_work_that_is_left(service, monkeypatch):
    """Otherwise the loop would ask for the lease fifty times a second until they agree."""
    watch = [0.0]
    backlog = Backlog("drop", 20, watch, final=True)
    jobs = jobs_of(service, backlog.task, elapsed=lambda: watch[0])
    jobs.run_due()
    jobs.readings = SimpleNamespace(agree=lambda _tx: False)
    assert jobs.run_due() == {}
    waits = []
    monkeypatch.setattr(jobs._stop, "wait", lambda seconds: waits.append(seconds) or True)
    jobs.loop()
    assert waits == [TICK]
