"""Heartbeats: the serving processes and the keys each of them holds."""

import threading
from datetime import datetime, timedelta
from typing import Final

from crypto.errors import CryptoError
from service.domain.clock import Clock
from service.domain.ids import new_id
from service.keys.actions.keystore import KeyStore
from service.keys.actions.signing import SigningKeys
from service.keys.model import ALIVE, REFRESH, Instance, InstanceKeys, key_name
from service.keys.store import hierarchy as store
from service.keys.store import roots
from service.store.engine import Store, Tx
from service.telemetry import logs

_LABEL_LENGTH: Final = 128
_ASK_AGAIN: Final = timedelta(minutes=1)


class Instances:
    """Writes the heartbeat of this process and lists all instances."""

    def __init__(
        self,
        *,
        database: Store,
        key_store: KeyStore,
        signing: SigningKeys,
        clock: Clock,
        label: str,
    ) -> None:
        self._database = database
        self._key_store = key_store
        self._signing = signing
        self._clock = clock
        self._label = label[:_LABEL_LENGTH]
        self._started = clock.now()
        self._id = new_id(self._started)
        self._stop = threading.Event()
        self._asked: dict[str, datetime] = {}

    def listed(self, tx: Tx) -> list[Instance]:
        """Return the instances with a recent heartbeat."""
        return [
            Instance(row.id, row.label, row.seen_at, InstanceKeys.from_json(row.held))
            for row in store.instances(tx)
        ]

    def beat(self) -> None:
        """Write a heartbeat: reload the key states, then report the keys held here."""
        self._look_for_roots()
        with self._database.transaction() as tx:
            self._key_store.refresh(tx)
            signing = {
                key_name("signing", kid): status for kid, status in self._signing.states().items()
            }
            held = InstanceKeys(
                tuple(sorted(self._key_store.classes())),
                self._key_store.held() | signing,
                self._key_store.roots_held(),
            )
            now = self._clock.now()
            values: store.Heartbeat = {
                "id": self._id,
                "label": self._label,
                "started_at": self._started,
                "seen_at": now,
                "held": held.to_json(),
            }
            store.beat(tx, values)
            store.drop_instances(tx, now - 2 * ALIVE)

    def _look_for_roots(self) -> None:
        """Reopen the root of each class for which a newer version was announced.

        A provider may derive its key slowly or over a network, so no transaction is open meanwhile.
        A provider without the new version yet is asked again after one minute.
        """
        with self._database.transaction(read=True) as tx:
            wanted = roots.announced(tx)
        held = self._key_store.roots_held()
        now = self._clock.now()
        for key_class in sorted(held.keys() & wanted.keys()):
            asked = self._asked.get(key_class)
            if held[key_class] >= wanted[key_class] or (
                asked is not None and timedelta(0) <= now - asked < _ASK_AGAIN
            ):
                continue
            self._asked[key_class] = now
            try:
                self._key_store.reopen_root(key_class)
            except CryptoError as error:
                logs.get().warning("root_not_reopened", outcome=key_class, **logs.kind(error))

    def start(self) -> None:
        """Write a heartbeat every few seconds, in a thread."""
        threading.Thread(target=self._loop, name="lamina-heartbeat", daemon=True).start()

    def stop(self) -> None:
        """Report that this process stops serving."""
        self._stop.set()
        with self._database.transaction() as tx:
            store.leave(tx, self._id)

    def _loop(self) -> None:
        while True:
            try:
                self.beat()
            except Exception as error:  # noqa: BLE001 - an unavailable root must not end the thread
                logs.get().warning("heartbeat_missed", **logs.kind(error))
            if self._stop.wait(REFRESH.total_seconds()):
                return
