"""Queues before the threads of a worker: one for what may hash or infer, one for the rest.

Whoever would wait longer than the patience of its queue is refused at once, and whoever does wait
is in no thread. So a flood of passwords leaves threads for tokens and keys, and what is refused has
reached no view and changed nothing; a large body was admitted and read before. Health checks wait
for no turn.
"""

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from enum import Enum
from typing import Any, Final

from service.domain.errors import Unavailable

Event = Mapping[str, Any]
"""A scope or an event of ASGI; its members follow from its `type`."""
Receive = Callable[[], Awaitable[Event]]
_RECENT: Final = 0.1
"""Weight of the last request in the averages."""
_FIRST_GUESS: Final = 0.05
"""Seconds of a request, before any was measured."""
_LATE: Final = 2.5
"""How many times the patience a request waits where it was expected to wait less."""
_IN_A_ROW: Final = 3
"""How many steps go before a beginning that waits: a step shows no token before it is served."""
_LEAST_SHARE: Final = 1 / (_IN_A_ROW + 1)
"""Of the threads, what begins gets beside what goes on."""


class Effort(Enum):
    """What a request may cost, by which its queue is chosen."""

    NONE = "none"
    """It asks for nothing that others wait for."""
    QUICK = "quick"
    """It neither hashes nor infers."""
    STEP = "step"
    """It may, and goes on with what was begun: served before `START`, three times of four."""
    START = "start"
    """It may, and begins something."""


class Gone(Exception):
    """The client disconnected before its request was answered."""


class Queue:
    """A queue before a number of threads.

    Args:
        width: How many requests are processed at once.
        patience: Seconds that a request may expect to wait, by its effort.
    """

    def __init__(self, width: int, patience: dict[Effort, float]) -> None:
        self._width = self._free = width
        self._patience = patience
        self._waiting: dict[Effort, deque[asyncio.Future[None]]] = {
            effort: deque() for effort in patience
        }
        self._seconds = _FIRST_GUESS
        self._spread = 0.0
        self._steps = 0.0
        self._in_a_row = 0

    @asynccontextmanager
    async def turn(self, effort: Effort, receive: Receive) -> AsyncIterator[None]:
        """Wait for a thread to be free.

        Raises:
            Unavailable: No thread is expected, or was free, within the patience.
            Gone: The client disconnected meanwhile.
        """
        if self._free > 0:
            self._free -= 1
        else:
            await self._wait(effort, receive)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            yield
        finally:
            self._measure(loop.time() - begun)
            self._leave()

    async def _wait(self, effort: Effort, receive: Receive) -> None:
        patience = self._patience[effort]
        if (expected := self._expected(effort)) > patience:
            raise _overloaded(expected)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue = self._waiting[effort]
        queue.append(turn)
        gone = asyncio.ensure_future(_leaving(receive))
        try:
            await asyncio.wait(
                {turn, gone}, timeout=_LATE * patience, return_when="FIRST_COMPLETED"
            )
        except asyncio.CancelledError:
            if turn.done():
                self._leave()
            raise
        finally:
            left = gone.done()
            gone.cancel()
            if not turn.done():
                turn.cancel()
                queue.remove(turn)
        if left and not turn.cancelled():
            self._leave()
        if left:
            raise Gone
        if turn.cancelled():
            raise _overloaded(patience)

    def _measure(self, seconds: float) -> None:
        self._spread += _RECENT * (abs(seconds - self._seconds) - self._spread)
        self._seconds += _RECENT * (seconds - self._seconds)

    def _expected(self, effort: Effort) -> float:
        """Return the seconds until a request that comes now would have a thread.

        Each before it is taken to last an average deviation longer than the average: whoever is
        refused at once may come again, and whoever waits in vain has lost that time.
        """
        ahead = sum(len(self._waiting[other]) for other in self._waiting if _before(other, effort))
        share = 1.0 if effort is not Effort.START else max(_LEAST_SHARE, 1.0 - self._steps)
        return (ahead + 1) * (self._seconds + self._spread) / (self._width * share)

    def _leave(self) -> None:
        """Call the next: steps go first, but beginnings have their share whoever sends steps."""
        waiting = [effort for effort, queue in self._waiting.items() if queue]
        if not waiting:
            self._free += 1
            return
        due = self._in_a_row >= _IN_A_ROW and Effort.START in waiting
        effort = Effort.START if due else waiting[0]
        self._in_a_row = self._in_a_row + 1 if effort is Effort.STEP else 0
        self._steps += _RECENT * ((effort is Effort.STEP) - self._steps)
        self._waiting[effort].popleft().set_result(None)


class Queues:
    """The queues of a worker.

    Args:
        effort_of: Returns the effort of a request, by its method and path.
        slow: Threads for what may hash or infer.
        quick: Threads for the rest.
    """

    def __init__(
        self, effort_of: Callable[[str, str], Effort], *, slow: int, quick: int = 16
    ) -> None:
        self._effort_of = effort_of
        self._slow = Queue(slow, {Effort.STEP: 1.5, Effort.START: 0.75})
        self._quick = Queue(quick, {Effort.QUICK: 1.0})
        self.threads = slow + quick

    def turn(self, method: str, path: str, receive: Receive) -> AbstractAsyncContextManager[None]:
        """Wait for a thread for a request; raises as `Queue.turn` does."""
        effort = self._effort_of(method, path)
        if effort is Effort.NONE:
            return nullcontext()
        queue = self._quick if effort is Effort.QUICK else self._slow
        return queue.turn(effort, receive)


async def _leaving(receive: Receive) -> None:
    """Return when the client has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _before(other: Effort, effort: Effort) -> bool:
    return other is effort or effort is Effort.START


def _overloaded(expected: float) -> Unavailable:
    return Unavailable(
        "overloaded", "The service is overloaded; try again.", max(1, math.ceil(expected))
    )
