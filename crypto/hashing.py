"""Password hashing with Argon2id (RFC 9106) and bounded memory."""

import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Final

# Before argon2, which takes the bindings that are loaded first.
from crypto import bindings  # noqa: F401 - it loads them  # isort: skip

import argon2
from argon2.exceptions import InvalidHashError, VerificationError

from crypto import cores
from crypto.errors import HasherBusy, PasswordMismatch, TurnsBusy
from crypto.turns import HostTurns, Load, Turns

LEAST_MEMORY_KIB: Final = 19 * 1024
LEAST_PASSES: Final = 2
WAIT_SECONDS: Final = 2.0
_NICENESS: Final = 10
"""Niceness of a thread that hashes: what else wakes up gets its core at once."""


class PasswordHasher:
    """Hashes and verifies passwords, at most ``concurrency`` at a time.

    Args:
        concurrency: How many hashes run at once; each uses ``memory_kib``.
        memory_kib: Memory of one hash in KiB, at least 19 MiB (OWASP).
        passes: Iterations, at least 2.
        wait_seconds: How long a hash may wait; HasherBusy is raised then, or at once if its turn is
            expected later.
        host: Shares the turns with other processes; None if they are of this process alone.

    Raises:
        ValueError: The parameters are below these minimums.
    """

    def __init__(
        self,
        concurrency: int,
        memory_kib: int = LEAST_MEMORY_KIB,
        passes: int = LEAST_PASSES,
        *,
        wait_seconds: float = WAIT_SECONDS,
        host: HostTurns | None = None,
    ) -> None:
        if memory_kib < LEAST_MEMORY_KIB or passes < LEAST_PASSES:
            raise ValueError("Argon2id needs at least 19 MiB and 2 passes")
        self._set(concurrency, (memory_kib, passes), wait_seconds, host)

    @classmethod
    def unsafe_for_tests(cls, concurrency: int = 4, wait_seconds: float = 60.0) -> "PasswordHasher":
        """Return a fast, insecure hasher for tests."""
        hasher = cls.__new__(cls)
        hasher._set(concurrency, (8, 1), wait_seconds, None)  # noqa: SLF001 - an alternative constructor
        return hasher

    def _set(
        self,
        concurrency: int,
        cost: tuple[int, int],
        wait_seconds: float,
        host: HostTurns | None,
    ) -> None:
        memory_kib, passes = cost
        self._argon2 = argon2.PasswordHasher(
            time_cost=passes, memory_cost=memory_kib, parallelism=1, type=argon2.Type.ID
        )
        self._turns = Turns(concurrency, wait_seconds, host)
        # A process may not lower a niceness again, so these threads do nothing else.
        self._threads = ThreadPoolExecutor(concurrency, "hash", initializer=_stand_apart)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        try:
            with self._turns.turn():
                yield
        except TurnsBusy:
            raise HasherBusy from None

    def load(self) -> Load:
        """Return the current load."""
        return self._turns.load()

    def hash(self, password: str) -> str:
        """Return the encoded hash with its parameters and a new salt; raises HasherBusy."""
        with self._turn():
            return self._threads.submit(self._argon2.hash, password).result()

    def verify(self, encoded: str, password: str) -> None:
        """Verify a password against an encoded hash.

        Raises:
            PasswordMismatch: The password does not match, or the stored hash is malformed.
            HasherBusy: The waiting time ended before the hash could start.
        """
        with self._turn():
            try:
                self._threads.submit(self._argon2.verify, encoded, password).result()
            except (VerificationError, InvalidHashError):
                raise PasswordMismatch from None

    def needs_rehash(self, encoded: str) -> bool:
        """Return whether a hash was made with parameters other than the current ones."""
        return self._argon2.check_needs_rehash(encoded)


def _stand_apart() -> None:
    """Let this thread hash on any core, with a higher niceness where that is not refused."""
    cores.leave()
    if sys.platform != "linux":  # elsewhere a niceness is the whole process's
        return
    thread = threading.get_native_id()
    with suppress(OSError):
        # A process that was started with a higher one may not lower it.
        if os.getpriority(os.PRIO_PROCESS, thread) < _NICENESS:
            os.setpriority(os.PRIO_PROCESS, thread, _NICENESS)
