"""Long-running jobs: paged, rate-limited, stoppable after any page, resumable."""

import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from crypto import opaque
from service.domain.bounds import USUAL, Bounds
from service.domain.clock import Clock, rfc3339
from service.domain.errors import Conflict, LaminaError, NotFound, TooMany, Unavailable
from service.domain.ids import new_id
from service.jobs import store
from service.jobs.actions.work import JobRate, Plan, Progress, Watch, Work, pause
from service.jobs.store import LongJob
from service.store.engine import Store, Tx
from service.store.turns import take_turn
from service.telemetry import logs
from service.web.jobs import JobView

_LEASE: Final = timedelta(seconds=60)
_KEPT: Final = timedelta(days=400)
_UNHELD: Final = timedelta(days=1)
_FULL: Final = 60
_LISTED: Final = 100
_SAVE_EVERY: Final = 1.0
_POLL: Final = 2.0
_YIELD: Final = 0.01
_PATIENCE: Final = 3000
_SCOPES: Final = {"export": "subjects:export", "policy.backtest": "policy:write"}


class LongJobs:
    """Runs long-running jobs, in a command or in the background; one per kind and class at a time.

    Args:
        entitled: Returns whether the requester of a job still has a scope.
    """

    def __init__(
        self,
        *,
        database: Store,
        plans: Mapping[str, Plan],
        clock: Clock,
        bounds: Bounds = USUAL,
        entitled: Callable[[Tx, str, str], bool] = lambda _tx, _actor, _scope: True,
    ) -> None:
        self._bounds = bounds
        self._entitled = entitled
        self._database = database
        self._plans = plans
        self._clock = clock
        self._holder = opaque.random_bytes(16).hex()
        self._stop = threading.Event()
        self._ended: Callable[[str, float, bool], None] = _ignore
        # SQLite's write lock has no queue: without a pause other writers would never get it.
        self._yield = _YIELD if database.engine.dialect.name == "sqlite" else 0.0

    def on_end(self, listener: Callable[[str, float, bool], None]) -> None:
        """Register a listener, called after each job with kind, seconds, and whether it failed."""
        self._ended = listener

    @property
    def kinds(self) -> tuple[str, ...]:
        """Return the kinds of jobs."""
        return tuple(self._plans)

    def plan(self, tx: Tx, kind: str, params: Mapping[str, object], actor: str) -> UUID:
        """Queue a job and return its id.

        Raises:
            NotFound: The kind is unknown.
            TooMany: The requester has too many unfinished jobs.
        """
        if kind not in self._plans:
            raise NotFound("job_kind_not_found", f"There is no job {kind}.")
        take_turn(tx, "jobs", actor)
        if store.waiting_of(tx, actor) >= self._bounds.max_jobs:
            detail = f"{self._bounds.max_jobs} jobs that you asked for are not finished; wait."
            raise TooMany("too_many_jobs", detail, _FULL)
        number = new_id(self._clock.now())
        tx.add(
            LongJob(
                id=number,
                kind=kind,
                params=dict(params),
                status="queued",
                actor=actor,
                done=0,
                total=0,
                report={},
                created_at=self._clock.now(),
                started_at=None,
                finished_at=None,
            )
        )
        return number

    def queue(self, tx: Tx, kind: str, params: Mapping[str, object], actor: str) -> JobView:
        """Queue a job and return its view; raises NotFound for an unknown kind."""
        number = self.plan(tx, kind, params, actor)
        tx.flush()
        return self.view(tx, number)

    def work(self, kind: str, params: Mapping[str, object]) -> Work:
        """Return the work of a kind, to count its rows without running it."""
        return self._plans[kind](params)

    def view(self, tx: Tx, number: UUID) -> JobView:
        """Return the API view of a job; raises NotFound."""
        row = store.job(tx, number)
        if row is None:
            raise no_job()
        return {
            "id": str(row.id),
            "kind": row.kind,
            "params": row.params,
            "status": row.status,
            "actor": row.actor,
            "done": row.done,
            "total": row.total,
            "report": row.report,
            "created_at": rfc3339(row.created_at),
            "started_at": rfc3339(row.started_at) if row.started_at else None,
            "finished_at": rfc3339(row.finished_at) if row.finished_at else None,
        }

    def run(
        self,
        number: UUID,
        *,
        pace: JobRate | None = None,
        watch: Watch | None = None,
        helper: bool = False,
    ) -> JobView:
        """Run a job to its end and return its view.

        Args:
            number: The job.
            pace: The rate limits.
            watch: Called with the progress after each page.
            helper: Whether to work beside the process with the lock, which alone updates the
                record.

        Raises:
            Conflict: Another process is running it.
        """
        if helper and not self._begun(number):
            with self._database.transaction(read=True) as tx:
                return self.view(tx, number)
        with self._database.transaction() as tx:
            begun = self._begin(tx, number, helper=helper)
            if begun is None:
                return self.view(tx, number)
        kind, params, lock = begun
        progress = Progress(total=0)
        at = time.monotonic()
        try:
            work = self._plans[kind](params)
            progress.total = work.total()
            self._steps(
                work,
                progress=progress,
                pace=pace or JobRate(),
                watch=watch,
                record=None if helper else (number, lock),
            )
            report = dict(work.finish()) | {"bad": progress.bad, "failed": progress.failed}
        except Exception as error:  # noqa: BLE001 - a job left open would be restarted forever
            report = _why(kind, error) | {"failed": progress.failed}
            progress.failed += 1
        self._ended(kind, time.monotonic() - at, progress.failed > 0)
        return self._end(number, lock, progress, report, helper=helper)

    @staticmethod
    def depth(tx: Tx) -> tuple[int, int, datetime | None]:
        """Return the numbers of waiting and running jobs, and the age of the oldest one."""
        rows = store.unfinished(tx)
        running = sum(row.status == "running" for row in rows)
        return len(rows) - running, running, min((row.created_at for row in rows), default=None)

    def drop_old(self, tx: Tx, now: datetime) -> int:
        """Delete jobs that ended long ago, and unused locks; return how many."""
        return store.drop_old(tx, now - _KEPT, now - _UNHELD)

    def _begin(
        self, tx: Tx, number: UUID, *, helper: bool
    ) -> tuple[str, dict[str, object], str] | None:
        """Start a job; return kind, parameters and lock, or None if it has ended."""
        row = store.job(tx, number)
        if row is None:
            raise no_job()
        if helper:
            return row.kind, dict(row.params), ""
        lock = _lock_name(row.kind, row.params)
        if self._refused(tx, row):
            return None
        # Lease first, then job: the same order as at each page and at the end.
        self._lock(tx, lock)
        row = store.job(tx, number, lock=True)
        if row is None or self._refused(tx, row):
            store.give_up(tx, lock, self._holder, self._clock.now())
            return None
        kind = row.kind
        params = dict(row.params)
        if row.started_at is None:
            params |= self._plans[kind](params).prepare(tx)
            row.params = params
        row.status = "running"
        row.started_at = self._clock.now()
        return kind, params, lock

    def _refused(self, tx: Tx, row: LongJob) -> bool:
        """Return whether a job has ended, or is void because its requester lost the scope."""
        if row.status == "queued" and not self._entitled(tx, row.actor, scope_of(row.kind)):
            store.void(tx, row.id, _voided(self._clock.now()))
            tx.refresh(row)
        return row.status not in {"queued", "running"}

    def stop(self) -> None:
        """Stop every job after its current page."""
        self._stop.set()

    def start(self) -> None:
        """Run queued jobs, and jobs left by a killed process, in a thread."""
        threading.Thread(target=self._loop, name="lamina-long-jobs", daemon=True).start()

    def run_queued(self) -> int:
        """Run every queued job; return how many. One that cannot start ends with the reason."""
        with self._database.transaction(read=True) as tx:
            waiting = [(row.id, row.kind) for row in store.unfinished(tx)]
        done = 0
        for number, kind in waiting:
            try:
                self.run(number)
                done += 1
            except Conflict:
                continue
            except Unavailable:
                raise
            except Exception as error:  # noqa: BLE001 - as above; the other jobs run
                report = _why(kind, error) | {"failed": 0}
                self._end(number, "", Progress(total=0, failed=1), report, helper=False)
        return done

    def _loop(self) -> None:
        while not self._stop.wait(_POLL):
            try:
                self.run_queued()
            except Exception as error:  # noqa: BLE001 - the thread must not end
                logs.get().warning("jobs_paused", **logs.kind(error))

    def _begun(self, number: UUID) -> bool:
        """Wait until the process with the lock starts the job; return False if it has ended."""
        for _ in range(_PATIENCE):
            with self._database.transaction(read=True) as tx:
                row = store.job(tx, number)
                status = row.status if row else "done"
            if status != "queued":
                return status == "running"
            time.sleep(_YIELD)
        return False

    def _lock(self, tx: Tx, lock: str) -> None:
        now = self._clock.now()
        if not store.take(tx, name=lock, holder=self._holder, now=now, until=now + _LEASE):
            raise Conflict("job_running", "Another process does this already; wait for it.")

    def _steps(
        self,
        work: Work,
        *,
        progress: Progress,
        pace: JobRate,
        watch: Watch | None,
        record: tuple[UUID, str] | None,
    ) -> None:
        saved = begun = time.monotonic()
        previous = begun
        for step in work.steps():
            progress.done += step.rows
            progress.failed += len(step.bad)
            progress.bad.extend(step.bad[: max(0, _LISTED - len(progress.bad))])
            if watch:
                watch(progress)
            now = time.monotonic()
            if record and now - saved >= _SAVE_EVERY:
                saved = now
                self._save(*record, progress)
            if self._stop.is_set():
                progress.stopped = True
                return
            time.sleep(
                max(
                    self._yield,
                    pause(pace, rows=progress.done, elapsed=now - begun, page=now - previous),
                )
            )
            previous = time.monotonic()

    def _save(self, number: UUID, lock: str, progress: Progress) -> None:
        with self._database.transaction() as tx:
            self._lock(tx, lock)
            row = store.job(tx, number)
            if row is not None:
                row.done = progress.done
                row.total = progress.total

    def _end(
        self,
        number: UUID,
        lock: str,
        progress: Progress,
        report: dict[str, object],
        *,
        helper: bool,
    ) -> JobView:
        with self._database.transaction() as tx:
            if not helper:
                store.give_up(tx, lock, self._holder, self._clock.now())
            row = store.job(tx, number)
            if row is not None and not helper:
                row.status = progress.status
                row.finished_at = self._clock.now()
                row.done = progress.done
                row.total = progress.total
                row.report = report
                tx.flush()
            return self.view(tx, number)


def _ignore(_kind: str, _seconds: float, _failed: bool) -> None:  # noqa: FBT001 - a listener
    return None


def scope_of(kind: str) -> str:
    """Return the scope that a requester needs for a kind of job."""
    return _SCOPES.get(kind, "keys:admin")


def void_queued(tx: Tx, actor: str, scopes: frozenset[str], now: datetime) -> list[UUID]:
    """Void the queued jobs of an actor that needed revoked scopes; return their ids."""
    return [
        row.id
        for row in store.queued(tx, actor)
        if scope_of(row.kind) in scopes and store.void(tx, row.id, _voided(now))
    ]


def _voided(now: datetime) -> dict[str, object]:
    detail = "Who asked for it may not any more; it did not begin."
    return {
        "status": "void",
        "finished_at": now,
        "report": {"error": "job_void", "detail": detail},
    }


def no_job() -> NotFound:
    """Return the error for an unknown job, or one of another requester."""
    return NotFound("job_not_found", "There is no such job.")


def _why(kind: str, error: Exception) -> dict[str, object]:
    """Log an error and return its report entry; only our own exceptions show their message."""
    logs.get().error("job_failed", job=kind, **logs.kind(error))
    if isinstance(error, LaminaError):
        return {"error": error.code, "detail": error.detail}
    return {"error": "internal_error", "detail": f"It failed by {type(error).__name__}."}


def _lock_name(kind: str, params: Mapping[str, object]) -> str:
    """Return the lock of a kind of job and its parameters, except prepared ones."""
    parts = [value for value in params.values() if isinstance(value, str)]
    return ":".join(("job", kind, *parts))[:32]
