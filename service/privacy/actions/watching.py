"""Compare log and ledger while the process runs, to detect a restore under a running process."""

import threading
from collections.abc import Callable
from typing import Final

from service.privacy.actions.memory import Memory
from service.store.engine import Store, Tx
from service.telemetry import logs

_EVERY: Final = 15.0
_LOOKS: Final = 20
"""How many rounds pass between comparisons with the checkpoints of the database."""


class Watch:
    """A thread in each process that serves or works.

    Args:
        compare: Repeats what a restored database has undone.
        remember: Adds missing lines to the ledger.
    """

    def __init__(
        self,
        database: Store,
        memory: Memory,
        compare: Callable[[], object],
        remember: Callable[[Tx], int],
    ) -> None:
        self._database = database
        self._memory = memory
        self._compare = compare
        self._remember = remember
        self._stop = threading.Event()
        self._turn = 0

    def once(self) -> bool:
        """Compare once; return whether the database had to be repaired."""
        self._database.follow()
        lines = self._memory.entries()
        with self._database.transaction(read=True) as tx:
            behind = self._memory.behind(tx, lines)
        self._turn += 1
        if behind:
            self._compare()
        elif self._turn % _LOOKS == 0:
            self._memory.look()
        with self._database.transaction() as tx:
            self._memory.tell_late(tx)
            self._remember(tx)
        return behind

    def start(self) -> None:
        """Start a thread that compares every few seconds."""
        threading.Thread(target=self._loop, name="lamina-watch", daemon=True).start()

    def stop(self) -> None:
        """Stop the thread."""
        self._stop.set()

    def _loop(self) -> None:
        while not self._stop.wait(_EVERY):
            try:
                self.once()
            except Exception as error:  # noqa: BLE001 - whatever it was, it looks again
                logs.get().error("watch_failed", **logs.kind(error))
