"""Targets in turn: each is measured while the others stand still."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from benchmarks.http import load, procs
from benchmarks.http.figures import Found, Round, quantile
from benchmarks.http.load import Job, Persons, Slice
from benchmarks.http.room import Counted, OwnRoom
from benchmarks.http.target import OPERATIONS, Operation, Target, Wrong

_WAKE: Final = 0.3
_LOOK: Final = 0.25
_QUIET: Final = 10.0
"""Milliseconds of a worker in a look below which it has caught up: one tick is 10."""
_SHORT: Final = 0.5
_TRIES: Final = 3
_NOTHING: Final = Counted(0, 0, 0, 0)


@dataclass(frozen=True)
class Plan:
    """How much load there is.

    Attributes:
        operations: Names of operations.
        rounds: How often each is measured.
        connections: Keep-alive connections, each a process.
        seconds: When a slice starts no further run, where its runs share a preparation.
        most: Runs of a slice, where each has its own person.
        settle: Seconds that a worker has to catch up after a slice.
        spare: How many slices with a person for each run find new persons: a short round would wait
            for the next code otherwise.
    """

    operations: Sequence[str]
    rounds: int = 5
    connections: int = 8
    seconds: float = 3.0
    most: int = 64
    settle: float = 10.0
    spare: int = 2

    @property
    def persons(self) -> int:
        """Return how many persons a target needs so that few rounds wait for a new code."""
        return self.spare * self.most + 3 * self.connections


@dataclass(frozen=True)
class Reading:
    """What has been used so far, in processor milliseconds."""

    server: float
    postgres: float
    redis: float
    others: Mapping[str, float]
    counted: Counted


@dataclass
class Seat:
    """A target that was started, in its room."""

    target: Target
    room: OwnRoom
    persons: Persons
    found: Found
    kept: dict[str, tuple[float, list[int], list[Any]]] = field(default_factory=dict)

    def roots(self) -> list[int]:
        """Return the root processes of everything that belongs to the target."""
        beside = [pid for pids in self.target.others().values() for pid in pids]
        servers = [self.room.postgres_process, self.room.redis_process]
        return [pid for pid in (*self.target.processes(), *beside, *servers) if pid]

    def read(self) -> Reading:
        """Return what has been used so far."""
        target = self.target
        database = target.database
        return Reading(
            server=procs.cpu(target.processes()),
            postgres=procs.cpu([self.room.postgres_process]) if database else 0.0,
            redis=procs.cpu([self.room.redis_process]) if self.room.redis_process else 0.0,
            others={name: procs.cpu(pids) for name, pids in target.others().items()},
            counted=self.room.counted(database, target.role) if database else _NOTHING,
        )

    def settle(self, most: float) -> None:
        """Wait until what is beside the server has caught up, for some seconds at most."""
        beside = [pid for pids in self.target.others().values() for pid in pids]
        until = time.monotonic() + most
        before = procs.cpu(beside)
        while beside and time.monotonic() < until:
            time.sleep(_LOOK)
            now = procs.cpu(beside)
            if now - before <= _QUIET:
                return
            before = now


def warm(seat: Seat, plan: Plan, say: Callable[[str], None]) -> None:
    """Do every operation without a code until it succeeds: a cold process may be too late for one.

    Ours counts a signal that takes longer than the policy allows as its worst, say.
    """
    short = replace(plan, seconds=_SHORT, most=plan.connections, settle=0.0)
    for name, operation in seat.target.operations.items():
        for number in range(_TRIES) if not operation.code else ():
            try:
                measure(seat, (name, operation), short, -1 - number)
            except Wrong as error:
                say(f"{seat.target.name}: {name} while cold: {error}")
            else:
                break


def take_turns(seats: Sequence[Seat], plan: Plan, say: Callable[[str], None]) -> None:
    """Measure every operation of every target in every round."""
    number = 0
    for turn in range(plan.rounds):
        for name in order(plan.operations, seats):
            # Each goes first in every other round.
            for seat in seats if turn % 2 == 0 else list(reversed(seats)):
                operation = seat.target.operations.get(name)
                if operation is None or name in seat.found.wrong:
                    continue
                number += 1
                try:
                    made = measure(seat, (name, operation), plan, number)
                except Wrong as error:
                    seat.found.wrong[name] = str(error)
                    say(f"{seat.target.name} {name}: WRONG: {error}")
                else:
                    seat.found.rounds.setdefault(name, []).append(made)
                    say(
                        f"round {turn + 1}/{plan.rounds} {name:18} {seat.target.name:18}"
                        f" {made.rate:8.1f}/s  server {made.server:7.2f} ms"
                    )


def order(operations: Sequence[str], seats: Sequence[Seat]) -> list[str]:
    """Return names of operations in the order of a round: those that use a code come last.

    All persons have just used one when a run starts.
    """

    def coded(name: str) -> bool:
        return any(
            seat.target.operations[name].code for seat in seats if name in seat.target.operations
        )

    return sorted(operations, key=lambda name: (coded(name), OPERATIONS.index(name)))


def measure(seat: Seat, what: tuple[str, Operation], plan: Plan, number: int) -> Round:
    """Measure one operation of one target once; raises Wrong."""
    name, operation = what
    kept = seat.kept.get(name)
    if kept is not None and time.monotonic() - kept[0] > load.KEPT:
        kept = None
    wanted = plan.connections if operation.lasting else plan.most
    persons = kept[1] if kept else seat.persons.take(wanted, code=operation.code)
    readings: list[Reading] = []

    def read() -> None:
        readings.append(seat.read())

    procs.resume(seat.roots())
    try:
        time.sleep(_WAKE)
        since = kept[0] if kept else time.monotonic()
        job = Job(
            target=seat.target,
            operation=operation,
            persons=persons,
            kept=kept[2] if kept else None,
            connections=plan.connections,
            # Where each run has its own person, all are used: as many runs in every round.
            seconds=plan.seconds if operation.lasting else math.inf,
            number=number,
        )
        made = load.run(job, read, read)
        if not made.waits:
            raise Wrong("no run ended")
        seat.settle(plan.settle)
        read()
    finally:
        procs.pause(seat.roots())
    if kept is None:
        seat.persons.used(persons[: made.done], code=operation.code)
    if operation.lasting and operation.prepare is not None:
        seat.kept[name] = since, persons, made.kept
    return _round(seat, made, readings)


def _round(seat: Seat, made: Slice, readings: Sequence[Reading]) -> Round:
    """Return the costs of a request: of the server until the last answer, else when all is done."""
    before, ended, settled = readings
    count = len(made.waits)
    database = seat.target.database is not None
    counted = (before.counted, ended.counted, settled.counted)

    def each(start: float, end: float, *, known: bool = True) -> float | None:
        return (end - start) / count if known else None

    return Round(
        requests=count,
        rate=count / made.seconds,
        p50=quantile(made.waits, 0.5),
        p95=quantile(made.waits, 0.95),
        p99=quantile(made.waits, 0.99),
        server=(ended.server - before.server) / count,
        postgres=each(before.postgres, settled.postgres, known=database),
        redis=each(before.redis, settled.redis, known=bool(seat.room.redis_process)),
        others={
            name: (settled.others[name] - value) / count for name, value in before.others.items()
        },
        client=made.client_ms / count,
        statements=each(counted[0].statements, counted[1].statements, known=database),
        commits=each(counted[0].commits, counted[1].commits, known=database),
        wal=each(counted[0].wal, counted[2].wal, known=database),
        stored=each(counted[0].stored, counted[2].stored, known=database),
    )


def look(seat: Seat, seconds: float) -> None:
    """Note the memory of a target's processes, and what they use without load."""
    procs.resume(seat.roots())
    try:
        time.sleep(_WAKE)
        before = seat.read()
        time.sleep(seconds)
        after = seat.read()
        seat.found.idle = {
            "server": (after.server - before.server) / seconds,
            "postgres": (after.postgres - before.postgres) / seconds,
            **{
                name: (after.others[name] - value) / seconds
                for name, value in before.others.items()
            },
        }
        kinds = {"server": seat.target.processes(), **seat.target.others()}
        seat.found.memory = [
            (kind, procs.memory(pid)) for kind, pids in kinds.items() for pid in procs.tree(pids)
        ]
    finally:
        procs.pause(seat.roots())
