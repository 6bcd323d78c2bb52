"""Look after log and ledger while the process runs: a restore under it is found out too."""

import threading
from collections.abc import Callable
from typing import Final

from service.privacy.actions.memory import Memory
from service.store.engine import Store, Tx
from service.telemetry import logs

_EVERY: Final = 15.0
_LOOKS: Final = 20
"""At each of so many turns the log is held against the checkpoints of the database too."""


class Watch:
    """A thread of every process that serves or works.

    Args:
        compare: Puts right what a restored database has undone.
        remember: Brings the ledger of this process up to date.
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
        """Look once; return whether the database had to be put right."""
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
        """Look every few seconds, in a thread."""
        threading.Thread(target=self._loop, name="lamina-watch", daemon=True).start()

    def stop(self) -> None:
        """Let the thread end."""
        self._stop.set()

    def _loop(self) -> None:
        while not self._stop.wait(_EVERY):
            try:
                self.once()
            except Exception as error:  # noqa: BLE001 - whatever it was, it looks again
                logs.get().error("watch_failed", **logs.kind(error))
