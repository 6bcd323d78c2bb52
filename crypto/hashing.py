"""Password hashing with Argon2id (RFC 9106), with a bound on the memory in use."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import argon2
from argon2.exceptions import InvalidHashError, VerificationError

from crypto.errors import HasherBusy, PasswordMismatch

LEAST_MEMORY_KIB: Final = 19 * 1024
LEAST_PASSES: Final = 2


@dataclass(frozen=True, slots=True)
class Load:
    """How busy a hasher is: its turns, how many of them are taken, and how many hashes wait."""

    turns: int
    taken: int
    waiting: int


class PasswordHasher:
    """Hashes and checks passwords, at most ``concurrency`` at a time.

    Args:
        concurrency: How many hashes run at once; each holds ``memory_kib``.
        memory_kib: Memory of one hash, at least 19 MiB (OWASP).
        passes: Iterations, at least 2.
        wait_seconds: How long a hash waits for its turn.

    Raises:
        ValueError: The parameters are below the floor.
    """

    def __init__(
        self,
        concurrency: int,
        memory_kib: int = LEAST_MEMORY_KIB,
        passes: int = LEAST_PASSES,
        wait_seconds: float = 5.0,
    ) -> None:
        if memory_kib < LEAST_MEMORY_KIB or passes < LEAST_PASSES:
            raise ValueError("Argon2id needs at least 19 MiB and 2 passes")
        self._set(concurrency, memory_kib, passes, wait_seconds)

    @classmethod
    def unsafe_for_tests(cls, concurrency: int = 4, wait_seconds: float = 5.0) -> "PasswordHasher":
        """Return a hasher that is fast and worthless, for tests alone."""
        hasher = cls.__new__(cls)
        hasher._set(concurrency, 8, 1, wait_seconds)  # noqa: SLF001 - an alternative constructor
        return hasher

    def _set(self, concurrency: int, memory_kib: int, passes: int, wait_seconds: float) -> None:
        self._argon2 = argon2.PasswordHasher(
            time_cost=passes, memory_cost=memory_kib, parallelism=1, type=argon2.Type.ID
        )
        self._turns = threading.BoundedSemaphore(concurrency)
        self._wait = wait_seconds
        self._count, self._taken, self._waiting = concurrency, 0, 0
        self._counting = threading.Lock()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with self._counting:
            self._waiting += 1
        got = self._turns.acquire(timeout=self._wait)
        with self._counting:
            self._waiting -= 1
            self._taken += got
        if not got:
            raise HasherBusy
        try:
            yield
        finally:
            with self._counting:
                self._taken -= 1
            self._turns.release()

    def load(self) -> Load:
        """Return how busy it is now."""
        with self._counting:
            return Load(self._count, self._taken, self._waiting)

    def hash(self, password: str) -> str:
        """Return the encoded hash with its parameters and a fresh salt; raises HasherBusy."""
        with self._turn():
            return self._argon2.hash(password)

    def verify(self, encoded: str, password: str) -> None:
        """Check a password.

        Raises:
            PasswordMismatch: It is another one, or the stored hash is malformed.
            HasherBusy: No turn came within the waiting time.
        """
        with self._turn():
            try:
                self._argon2.verify(encoded, password)
            except (VerificationError, InvalidHashError):
                raise PasswordMismatch from None

    def needs_rehash(self, encoded: str) -> bool:
        """Tell whether a hash was made with other parameters than today's."""
        return self._argon2.check_needs_rehash(encoded)
