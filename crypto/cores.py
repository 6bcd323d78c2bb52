"""The cores that threads of this process run on.

An interpreter runs one thread at a time, so a request that passes through several threads is
served faster where all of them share the caches of one core: by a sixth of its processor time on
2 cores. What leaves the interpreter, a hash or an inference, runs on any core.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

_KNOWN: Final = hasattr(os, "sched_setaffinity")  # on Linux
_ALL: Final = frozenset(os.sched_getaffinity(0)) if _KNOWN else frozenset[int]()
_kept: list[frozenset[int]] = []
"""The core that this process keeps to, once it does."""


def count() -> int:
    """Return how many cores this process may use."""
    return len(_ALL) or os.cpu_count() or 1


def keep_to_one(number: int, processes: int) -> None:
    """Let this thread, and each that it starts, run on one core.

    Nothing happens unless every core gets as many processes as any other: some would be full
    while others idle.

    Args:
        number: Which of the processes this one is, from 0. One that replaces another before that
            has ended has a number above theirs, and keeps to no core.
        processes: How many there are.
    """
    if not _KNOWN or processes % len(_ALL) or number >= processes:
        return
    core = frozenset({sorted(_ALL)[number % len(_ALL)]})
    # The system may have taken the core away meanwhile.
    with suppress(OSError):
        os.sched_setaffinity(0, core)
        _kept[:] = [core]


def leave() -> None:
    """Let this thread run on every core."""
    if _kept:
        with suppress(OSError):
            os.sched_setaffinity(0, _ALL)


@contextmanager
def anywhere() -> Iterator[None]:
    """Let this thread run on every core for the enclosed work."""
    leave()
    try:
        yield
    finally:
        if _kept:
            with suppress(OSError):
                os.sched_setaffinity(0, _kept[0])
