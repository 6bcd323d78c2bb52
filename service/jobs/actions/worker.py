"""Run due background tasks while holding the lease, until stopped."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from crypto import opaque
from service.domain.clock import Clock
from service.domain.errors import LaminaError
from service.jobs import store
from service.jobs.actions.readings import Readings
from service.store.dropping import PAGE
from service.store.engine import Store, Tx
from service.telemetry import logs

_NAME: Final = "worker"
_LEASE: Final = timedelta(seconds=30)
ROUND: Final = 2.0
"""Seconds that the further pages of all tasks may take in a round; each task has a first page."""
TICK: Final = 1.0
"""Seconds between rounds, unless one left work."""
_BREATH: Final = 0.02
"""Seconds between rounds while there is work, so that others get the database in between."""
_AGAIN: Final = timedelta(minutes=1)
"""Retry interval of failed work, if its next run would not be sooner."""


Ended = Callable[[str, float, bool], None]


def _ignore(_name: str, _seconds: float, _failed: bool) -> None:  # noqa: FBT001 - a listener
    return None


@dataclass(kw_only=True, frozen=True, slots=True)
class Task:
    """A periodic task: its interval, and its work in one transaction (returns the number of rows).

    A paged task is called again while it fills whole pages, in this round for at most `share`
    seconds and in the next ones until nothing is left. A final task is irreversible, and waits
    while clocks disagree.
    """

    name: str
    every: timedelta
    run: Callable[[Tx, datetime], int]
    paged: bool = False
    final: bool = False
    share: float = 0.5


@dataclass(frozen=True, slots=True)
class Apart:
    """Long-running work with separate transactions, in a thread beside the tasks."""

    name: str
    every: timedelta
    run: Callable[[], int]
    stop: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class WorkerHeartbeat:
    """The last heartbeat of the background worker.

    Args:
        at: Time of the heartbeat, or of the end of the work.
        until: Time until which it counts.
    """

    at: datetime
    until: datetime

    def alive(self, now: datetime) -> bool:
        """Return whether a worker is active; a time beyond any lease is from a wrong clock."""
        return now < self.until <= now + 2 * _LEASE


class Jobs:
    """The background work of a process."""

    def __init__(
        self,
        *,
        database: Store,
        tasks: Sequence[Task],
        clock: Clock,
        readings: Readings | None = None,
        apart: Sequence[Apart] = (),
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self.readings = readings
        self._elapsed = elapsed
        self._left: set[str] = set()
        self._served: dict[str, float] = {}
        self._database = database
        self._tasks = tuple(tasks)
        self._apart = tuple(apart)
        self._clock = clock
        self._holder = opaque.random_bytes(16).hex()
        self._due: dict[str, datetime] = {}
        self._stop = threading.Event()
        self._beside: dict[str, threading.Thread] = {}
        self._ended: Ended = _ignore

    def on_end(self, listener: Ended) -> None:
        """Register a listener, called after each run with task name, seconds, and failure."""
        self._ended = listener

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of all tasks."""
        return (*(item.name for item in self._tasks), *(item.name for item in self._apart))

    def run_due(self) -> dict[str, int]:
        """Run every due task if this process holds the lease; return rows by task.

        A failing task is logged and retried within a minute; it does not delay the others. A task
        that leaves work is due in the next round, behind those that got less.
        """
        now = self._clock.now()
        with self._database.transaction() as tx:
            if not store.take(tx, name=_NAME, holder=self._holder, now=now, until=now + _LEASE):
                self._left.clear()
                return {}
            sure = self.readings is None or self.readings.agree(tx)
        done = {}
        spare = ROUND
        for task in self._in_turn():
            # A due time more than one interval ahead was set by a wrong clock: run at once.
            self._left.discard(task.name)
            if now < self._due.get(task.name, now) <= now + task.every:
                continue
            if task.final and not sure:
                continue
            wait = task.every
            begun = self._elapsed()
            failed = False
            try:
                done[task.name], further = self._run(task, now, min(task.share, spare))
                if further:
                    spare = max(0.0, spare - further)
                    self._served[task.name] = self._elapsed()
                if task.name in self._left:
                    wait = timedelta(0)
            except Exception as error:  # noqa: BLE001 - whatever it was, the other tasks run
                logs.get().error("job_failed", job=task.name, **logs.kind(error))
                wait = min(wait, _AGAIN)
                failed = True
            self._ended(task.name, self._elapsed() - begun, failed)
            self._due[task.name] = now + wait
        return done

    def _in_turn(self) -> Sequence[Task]:
        """Return the tasks: final ones last, ordered by how long ago each had more than a page."""
        return sorted(self._tasks, key=lambda task: (task.final, self._served.get(task.name, 0.0)))

    @staticmethod
    def seen(tx: Tx) -> WorkerHeartbeat | None:
        """Return the last heartbeat of the worker, in this process or another."""
        until = store.lease(tx, _NAME)
        return None if until is None else WorkerHeartbeat(until - _LEASE, until)

    def begin_apart(self) -> list[threading.Thread]:
        """Start due long-running work; return its threads."""
        now = self._clock.now()
        begun = []
        for work in self._apart:
            # As above: a due time more than one interval ahead was set by a wrong clock.
            waits = now < self._due.get(work.name, now) <= now + work.every
            former = self._beside.get(work.name)
            if waits or (former is not None and former.is_alive()):
                continue
            self._due[work.name] = now + work.every
            self._beside[work.name] = self._thread(work)
            begun.append(self._beside[work.name])
        for thread in begun:
            thread.start()
        return begun

    def _thread(self, work: Apart) -> threading.Thread:
        return threading.Thread(
            target=self._do_apart, args=(work,), name=f"lamina-{work.name}", daemon=True
        )

    def loop(self) -> None:
        """Run until `stop`; a failure is logged and retried in the next round."""
        while not self._stop.wait(_BREATH if self._left else TICK):
            try:
                if self.run_due():
                    self.begin_apart()
            except Exception as error:  # noqa: BLE001 - the thread must not end
                # What is left waits for the next tick: an outage is not asked 50 times a second.
                self._left.clear()
                logs.get().warning("jobs_paused", **logs.kind(error))
        self._give_up()

    def start(self) -> None:
        """Run in a thread of this process."""
        threading.Thread(target=self.loop, name="lamina-jobs", daemon=True).start()

    def stop(self) -> None:
        """End the loop after the current task, and stop the long-running work."""
        self._stop.set()
        for work in self._apart:
            if work.stop is not None:
                work.stop()

    def _run(self, task: Task, now: datetime, most: float) -> tuple[int, float]:
        """Run a task; return its rows and the seconds of the pages after the first one."""
        rows = 0
        further = 0.0
        begun: float | None = None
        while True:
            with self._database.transaction() as tx:
                done = task.run(tx, now)
            rows += done
            if begun is None:
                begun = self._elapsed()
            else:
                further = self._elapsed() - begun
            if done < PAGE or not task.paged or self._stop.is_set():
                break
            if further >= most:
                self._left.add(task.name)
                break
        if rows:
            logs.get().info("job", job=task.name, rows=rows)
        return rows, further

    def _do_apart(self, work: Apart) -> None:
        begun = time.monotonic()
        failed = False
        try:
            if rows := work.run():
                logs.get().info("job", job=work.name, rows=rows)
        except Exception as error:  # noqa: BLE001 - as above
            logs.get().error("job_failed", job=work.name, **logs.kind(error))
            again = min(work.every, _AGAIN)
            self._due[work.name] = self._clock.now() + again
            failed = True
        self._ended(work.name, time.monotonic() - begun, failed)

    def _give_up(self) -> None:
        try:
            with self._database.transaction() as tx:
                store.give_up(tx, _NAME, self._holder, self._clock.now())
        except LaminaError as error:
            logs.get().warning("jobs_paused", **logs.kind(error))
