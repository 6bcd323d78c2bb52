"""One slice of load: an operation of one target over several connections, for some moments.

Each connection is a process of its own, so that no request waits for another one's client. What
an operation needs is prepared first, then all start together and the clock with them.
"""

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from multiprocessing.connection import Connection as Pipe
from multiprocessing.sharedctypes import Synchronized
from typing import Any, Final, TypeAlias

from benchmarks.http.connection import Answer, Connection
from benchmarks.http.target import Operation, Target, Wrong

_FORK: Final = multiprocessing.get_context("fork")
_PATIENCE: Final = 300.0
_STEP: Final = 30
"""Seconds of a step of TOTP."""
KEPT: Final = 240.0
"""Seconds for which what was prepared for many runs is used: access tokens last five minutes."""
_PER_ADDRESS: Final = 400
"""Requests of a connection after which it is opened from another address, as limits count by it."""
_ADDRESSES: Final = 16
"""Addresses of a connection in one slice, at most."""
_FIRST: Final = int(IPv4Address("127.1.0.0"))
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_Turn: TypeAlias = "Synchronized[int]"


class Persons:
    """Persons in turn: each uses a TOTP code at most once in a step.

    Args:
        count: How many there are; all have used a code now, to confirm it.
        now: The Unix time in seconds.
        wait: Waits for some seconds.
    """

    def __init__(
        self,
        count: int,
        now: Callable[[], float] = time.time,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._now = now
        self._wait = wait
        self._order = list(range(count))
        self._last = dict.fromkeys(range(count), self._step())

    def take(self, count: int, *, code: bool) -> list[int]:
        """Return persons, those first that have waited longest; waits until each has a new code."""
        taken = self._order[:count]
        if len(taken) < count:
            raise ValueError(f"{count} persons are needed, and there are {len(taken)}")
        last = max((self._last[who] for who in taken), default=-1) if code else -1
        # Half a second into the next step: clocks of servers and this one are the same.
        left = (last + 1) * _STEP + 0.5 - self._now()
        if left > 0:
            self._wait(left)
        return taken

    def used(self, persons: Sequence[int], *, code: bool) -> None:
        """Note that persons were used until now; they come last from here on."""
        done = set(persons)
        self._order = [who for who in self._order if who not in done] + list(persons)
        if code:
            self._last |= dict.fromkeys(persons, self._step())

    def _step(self) -> int:
        return int(self._now()) // _STEP


@dataclass
class Job:
    """What the connections of a slice do.

    Attributes:
        target: Whose operation it is.
        operation: The operation.
        persons: The persons: one for each connection where the operation is lasting.
        kept: What was prepared before for each connection, where the operation is lasting.
        connections: How many there are.
        seconds: When none starts another run.
        number: Which slice of the whole run it is: each comes from other addresses.
    """

    target: Target
    operation: Operation
    persons: Sequence[int]
    kept: Sequence[Any] | None
    connections: int
    seconds: float
    number: int = 0


@dataclass
class Slice:
    """What a slice of load gave.

    Attributes:
        waits: Milliseconds of each run.
        seconds: From the start to the last answer.
        client_ms: Processor time of the clients.
        kept: What each connection hands to its next slice, where the operation is lasting.
        done: How many persons were used, where each run has its own.
    """

    waits: list[float]
    seconds: float
    client_ms: float
    kept: list[Any] = field(default_factory=list)
    done: int = 0


def address(number: int) -> str:
    """Return a loopback address for a number, each another one up to four million."""
    return str(IPv4Address(_FIRST + number % (1 << 22)))


def run(job: Job, started: Callable[[], None], ended: Callable[[], None]) -> Slice:
    """Run a slice; raises Wrong for the first wrong answer.

    Args:
        job: What is done.
        started: Called when all are prepared, just before the load.
        ended: Called after the last answer.
    """
    turn = _FORK.Value("i", 0)
    pipes: list[Pipe] = []
    children = []
    # The handlers of this process are not those of a connection that has just been made.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        for number in range(job.connections):
            here, there = _FORK.Pipe()
            child = _FORK.Process(target=_child, args=(job, number, turn, there), daemon=True)
            child.start()
            there.close()
            pipes.append(here)
            children.append(child)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    try:
        for pipe in pipes:
            _told(pipe)
        started()
        begun = time.perf_counter()
        for pipe in pipes:
            pipe.send("go")
        found = [_told(pipe) for pipe in pipes]
        ended()
    finally:
        for child in children:
            child.terminate()
            child.join()
    whole = job.operation.lasting or job.operation.prepare is not None
    return Slice(
        waits=[wait for one in found for wait in one["waits"]],
        seconds=max(one["ended"] for one in found) - begun,
        client_ms=sum(one["cpu"] for one in found),
        kept=[one["kept"] for one in found],
        done=len(job.persons) if whole else min(turn.value, len(job.persons)),
    )


def _told(pipe: Pipe) -> dict[str, Any]:
    """Return what a connection says; raises Wrong if it is of a wrong answer."""
    if not pipe.poll(_PATIENCE):
        raise Wrong(f"a connection said nothing for {_PATIENCE:g} s")
    try:
        found: dict[str, Any] = pipe.recv()
    except EOFError:
        raise Wrong("a connection ended") from None
    if "wrong" in found:
        raise Wrong(found["wrong"])
    return found


class _Moving(Connection):
    """A connection that is opened again from another address after some requests."""

    def __init__(self, port: int, first: int) -> None:
        super().__init__(port, address(first))
        self._number = first
        self._sent = 0

    def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request and return its answer."""
        self._sent += 1
        if self._sent % _PER_ADDRESS == 0:
            self._number += 1
            self.close()
            self.source = address(self._number)
        return super().request(method, path, body, headers)


class _Work:
    """What one connection does, prepared when this is made."""

    def __init__(self, job: Job, connection: Connection, number: int, turn: _Turn) -> None:
        self._job = job
        self._connection = connection
        self._turn = turn
        self._lasting = job.operation.lasting
        self.kept: Any = None
        self._left: list[tuple[int, Any]] = []
        if self._lasting:
            self._who = job.persons[number]
            kept = job.kept
            self.kept = self._prepared(self._who) if kept is None else kept[number]
        elif job.operation.prepare is not None:
            mine = job.persons[number :: job.connections]
            self._left = [(who, self._prepared(who)) for who in reversed(mine)]

    def step(self) -> bool:
        """Run the operation once; return False if there is no person left for it."""
        run = self._job.operation.run
        if self._lasting:
            self.kept = run(self._connection, self._who, self.kept)
        elif self._job.operation.prepare is not None:
            if not self._left:
                return False
            run(self._connection, *self._left.pop())
        else:
            with self._turn.get_lock():
                place = self._turn.value
                self._turn.value += 1
            if place >= len(self._job.persons):
                return False
            run(self._connection, self._job.persons[place], None)
        return True

    def _prepared(self, who: int) -> Any:  # noqa: ANN401 - a target's own
        prepare = self._job.operation.prepare
        return prepare(self._connection, who) if prepare is not None else None


def _child(job: Job, number: int, turn: _Turn, pipe: Pipe) -> None:
    """Be one connection."""
    # Ctrl-C reaches the whole group: the parent alone answers it, and ends its connections.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    try:
        pipe.send(_serve(job, number, turn, pipe))
    except (Wrong, OSError, ValueError, LookupError) as error:
        with contextlib.suppress(OSError):
            kind = "" if isinstance(error, Wrong) else f"{type(error).__name__}: "
            pipe.send({"wrong": f"{kind}{error}"})
    finally:
        pipe.close()
        # Nothing of the parent, such as its connection to the database, ends with this process.
        os._exit(0)


def _serve(job: Job, number: int, turn: _Turn, pipe: Pipe) -> dict[str, Any]:
    connection = _Moving(job.target.port, (job.number * job.connections + number) * _ADDRESSES)
    job.target.enter(connection)
    work = _Work(job, connection, number, turn)
    pipe.send({})
    pipe.recv()
    before = time.process_time()
    until = time.perf_counter() + job.seconds
    waits: list[float] = []
    begun = ended = time.perf_counter()
    while begun < until and work.step():
        ended = time.perf_counter()
        waits.append((ended - begun) * 1000)
        begun = ended
    spent = (time.process_time() - before) * 1000
    connection.close()
    return {"waits": waits, "ended": ended, "kept": work.kept, "cpu": spent}
