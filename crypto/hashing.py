"""Password hashing with Argon2id (RFC 9106) and bounded memory."""

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
    """The load of a hasher: its concurrency, how many hashes run and how many wait."""

    turns: int
    taken: int
    waiting: int


class PasswordHasher:
    """Hashes and verifies passwords, at most ``concurrency`` at a time.

    Args:
        concurrency: How many hashes run at once; each uses ``memory_kib``.
        memory_kib: Memory of one hash in KiB, at least 19 MiB (OWASP).
        passes: Iterations, at least 2.
        wait_seconds: How long a hash waits before HasherBusy is raised.

    Raises:
        ValueError: The parameters are below these minimums.
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
        """Return a fast, insecure hasher for tests."""
        hasher = cls.__new__(cls)
        hasher._set(concurrency, 8, 1, wait_seconds)  # noqa: SLF001 - an alternative constructor
        return hasher

    def _set(self, concurrency: int, memory_kib: int, passes: int, wait_seconds: float) -> None:
        self._argon2 = argon2.PasswordHasher(
            time_cost=passes, memory_cost=memory_kib, parallelism=1, type=argon2.Type.ID
        )
        self._turns = threading.BoundedSemaphore(concurrency)
        self._wait = wait_seconds
        self._count = concurrency
        self._taken = 0
        self._waiting = 0
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
        """Return the current load."""
        with self._counting:
            return Load(self._count, self._taken, self._waiting)

    def hash(self, password: str) -> str:
        """Return the encoded hash with its parameters and a new salt; raises HasherBusy."""
        with self._turn():
            return self._argon2.hash(password)

    def verify(self, encoded: str, password: str) -> None:
        """Verify a password against an encoded hash.

        Raises:
            PasswordMismatch: The password does not match, or the stored hash is malformed.
            HasherBusy: The waiting time ended before the hash could start.
        """
        with self._turn():
            try:
                self._argon2.verify(encoded, password)
            except (VerificationError, InvalidHashError):
                raise PasswordMismatch from None

    def needs_rehash(self, encoded: str) -> bool:
        """Return whether a hash was made with parameters other than the current ones."""
        return self._argon2.check_needs_rehash(encoded)
