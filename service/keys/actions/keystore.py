"""The key store: loads the key ring, finds or creates data keys, seals and opens fields."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from crypto import envelope
from crypto.blind_index import BlindIndex
from crypto.envelope import DataKey
from crypto.errors import CryptoError, KeyUnavailable, OpenError
from crypto.fields import Owner, OwnerKind
from crypto.keyring import (
    KEY_CLASSES,
    KeyEncryptionKey,
    KeyRing,
    create_kek,
    open_kek,
)
from crypto.providers.base import RootProvider
from crypto.rows import RowKey
from service.domain.clock import Clock
from service.domain.ids import new_id, service_owner
from service.keys.actions.unit_keys import UnitKeys
from service.keys.model import REFRESH, IndexStatus, KekStatus, key_name
from service.keys.store import erasures
from service.keys.store import hierarchy as store
from service.keys.views import KekView, kek_view
from service.store.ahead import PlannedRead
from service.store.engine import AnyRow, SessionInfo, Tx
from service.store.sealed import KeyName, Peers, data_key_name, opened_keys

_UNIT: Final = "lamina_data_keys"
_FEW: Final = 2
_TOUCHED: Final = "lamina_canaries"
INDEX_OWNER: Final = service_owner("index")
PURPOSE_OWNER: Final = service_owner("purposes")
ROWS_OWNER: Final = service_owner("rows")
ROWS_CLASS: Final = "service"
INDEX_CLASS: Final = "index"


class KeyStore:
    """The keys of this process.

    Data keys of subjects are cached for one transaction only, so that no cache outlives a shred and
    a known subject costs exactly what an unknown one does. Those of the service and of clients are
    cached until the key states are reloaded, every `REFRESH`, but never from the transaction that
    created them: it may roll back.

    Args:
        roots: The root key provider of each class that this process may use.
        clock: Determines when the key states must be reloaded.
        reopen: Reopens the root of a class, to load versions added since.
    """

    def __init__(
        self,
        roots: Mapping[str, RootProvider],
        clock: Clock,
        reopen: Callable[[str], RootProvider] | None = None,
    ) -> None:
        self._roots = dict(roots)
        self._clock = clock
        self._reopen = reopen
        self._ring = KeyRing()
        self._kept: dict[KeyName, DataKey] = {}
        self._newest: dict[tuple[str, Owner], int] = {}
        self._generations: dict[str, int] = {}
        self._index: dict[int, str] = {}
        self._purposes: dict[str, bytes] = {}
        self._row_keys: dict[int, RowKey] = {}
        self._statuses: dict[tuple[str, int], str] = {}
        self._read_at: datetime | None = None
        self._canaries: frozenset[UUID] = frozenset()
        self._listeners: list[Callable[[Session], None]] = []
        self._alarm: Callable[[UUID], None] = _ignore

    def load(self, tx: Tx) -> None:
        """Unwrap the KEKs of the classes held here; create the first one of each class.

        Raises:
            KeyUnavailable, OpenError: The root keys do not match the database.
        """
        present = {row.key_class for row in store.keks(tx)}
        for key_class in self._roots:
            if key_class not in present:
                self.create_kek(tx, key_class, 1, KekStatus.ACTIVE)
        for row in store.keks(tx):
            if row.key_class in self._roots:
                self._ring.add(self._opened(row))
        if not store.index_keys(tx):
            # Only if there is none: the first one is deleted when a later one has replaced it.
            store.add_index_key(tx, 1, IndexStatus.ACTIVE, self._clock.now())
        self.refresh(tx)

    def create_kek(self, tx: Tx, key_class: str, version: int, status: KekStatus) -> bool:
        """Add a KEK under the newest root of its class; return False if the version exists."""
        wrapped, _ = create_kek(self.root(key_class), key_class, version)
        now = self._clock.now()
        values: store.NewKek = {
            "id": new_id(now),
            "key_class": key_class,
            "version": version,
            "status": status.value,
            "wrapped": wrapped,
            "created_at": now,
            "changed_at": now,
            "destroy_after": None,
        }
        return store.add_kek(tx, values)

    def begin(self, session: Session) -> None:
        """Start a transaction with key states that are at most `REFRESH` old."""
        if self._read_at is not None and self._clock.now() - self._read_at >= REFRESH:
            self.refresh(session)

    def ended(self, info: SessionInfo) -> None:
        """Raise the alarm for each canary that a transaction opened."""
        for subject in info.get(_TOUCHED, ()):
            self._alarm(subject)

    def on_canary(self, alarm: Callable[[UUID], None]) -> None:
        """Register the alarm, called outside any transaction with each opened canary subject."""
        self._alarm = alarm

    def refresh(self, session: Session) -> None:
        """Reload the states of all keys; add new KEKs and drop deleted ones."""
        rows = store.keks(session)
        for row in rows:
            if row.key_class in self._roots and not self._ring.holds(row.key_class, row.version):
                self._take_up(row)
        statuses = {(row.key_class, row.version): row.status for row in rows}
        self._ring.settle(
            {name for name, status in statuses.items() if status == KekStatus.ACTIVE}, statuses
        )
        self._statuses = statuses
        self._generations = store.generations(session)
        self._index = {row.version: row.status for row in store.index_keys(session)}
        self._canaries = erasures.canaries(session)
        self._kept = {}
        self._newest = {}
        self._purposes = {}
        self._row_keys = {}
        self._read_at = self._clock.now()
        for listener in self._listeners:
            listener(session)

    def on_refresh(self, listener: Callable[[Session], None]) -> None:
        """Register a listener that is called whenever the key states are reloaded."""
        self._listeners.append(listener)

    def root(self, key_class: str) -> RootProvider:
        """Return the root key provider of a class; raises KeyUnavailable."""
        if key_class not in self._roots:
            raise KeyUnavailable(key_class)
        return self._roots[key_class]

    def reopen_root(self, key_class: str) -> RootProvider:
        """Reopen the root of a class, to load versions added since."""
        if self._reopen is not None:
            self._roots[key_class] = self._reopen(key_class)
        return self.root(key_class)

    def classes(self) -> frozenset[str]:
        """Return the key classes that this process can seal."""
        return self._ring.classes()

    def kek(self, key_class: str, version: int) -> KeyEncryptionKey:
        """Return a KEK; raises KeyUnavailable."""
        return self._ring.get(key_class, version)

    def kek_of(self, session: Session, key_class: str, wrapped: bytes) -> KeyEncryptionKey:
        """Return the KEK of a wrapped data key; reload the states if it was just promoted.

        Raises:
            KeyUnavailable: This process does not hold it.
            OpenError: The bytes are not a wrapped data key.
        """
        version = envelope.wrapped_kek_version(wrapped)
        if key_class in self._roots and not self._ring.holds(key_class, version):
            self.refresh(session)
        return self._ring.get(key_class, version)

    def active_kek(self, key_class: str) -> KeyEncryptionKey:
        """Return the KEK that wraps new data keys of a class; raises KeyUnavailable."""
        return self._ring.active(key_class)

    def generation(self, key_class: str) -> int:
        """Return the generation of new data keys of a class."""
        return self._generations.get(key_class, 1)

    def held(self) -> dict[str, str]:
        """Return the names and known states of the KEKs and index keys held here."""
        found = {
            key_name("kek", *name): status
            for name, status in self._statuses.items()
            if self._ring.holds(*name)
        }
        if INDEX_CLASS in self._roots:
            found |= {key_name("index", number): state for number, state in self._index.items()}
        return found

    def roots_held(self) -> dict[str, int]:
        """Return the newest root version of each class held here."""
        return {name: root.version(name) for name, root in self._roots.items()}

    def status(self, tx: Tx) -> list[KekView]:
        """Return class, version, status, root version and availability of each KEK."""
        return [
            kek_view(row, held=self._ring.holds(row.key_class, row.version))
            for row in store.keks(tx)
        ]

    def newest_key(self, session: Session, key_class: str, owner: Owner) -> DataKey:
        """Return the data key that seals an owner's fields; created if its generation is new."""
        key = self._current(session, owner, key_class)
        wanted = self.generation(key_class)
        if key is None or key.generation < wanted:
            return self.make_key(session, owner, key_class, wanted)
        return key

    def key(
        self, session: Session, *, key_class: str, owner: Owner, generation: int, peers: Peers
    ) -> DataKey:
        """Return the data key of a cell; keys of its peers are loaded in the same statement.

        Raises:
            OpenError: The key does not exist: it was shredded, or never created.
            KeyUnavailable: This process does not hold its KEK.
        """
        name = data_key_name(key_class, owner, generation)
        key = self._find(session, name)
        if key is None:
            self._load(session, owner, key_class, peers)
            key = self._find(session, name)
        if key is None:
            raise OpenError
        if owner.id in self._canaries:
            session.info.setdefault(_TOUCHED, set()).add(owner.id)
        return key

    def ahead(self, owners: Iterable[Owner]) -> list[PlannedRead]:
        """Return what reads the keys of subjects with other rows, for their later use.

        A process that may not use a class does not read its keys, and none ahead.
        """
        every = len(self._roots) == len(KEY_CLASSES)
        return [store.deks_ahead(owner) for owner in owners] if every else []

    def index_versions(self) -> frozenset[int]:
        """Return the versions of the index key, including pending ones."""
        return frozenset(self._index)

    def index_states(self) -> dict[int, str]:
        """Return the known state of each version of the index key."""
        return dict(self._index)

    def blind_indexes(self, session: Session) -> list[BlindIndex]:
        """Return the blind indexes used to write and query digests, the active one first."""
        order = {IndexStatus.ACTIVE: 0, IndexStatus.WRITING: 1, IndexStatus.RETIRING: 2}
        live = [number for number, state in self._index.items() if state in order]
        return [
            self.blind_index(session, number)
            for number in sorted(live, key=lambda number: order[IndexStatus(self._index[number])])
        ]

    def blind_index(self, session: Session, version: int) -> BlindIndex:
        """Return one version of the blind index; creates the first one if missing."""
        name = data_key_name(INDEX_CLASS, INDEX_OWNER, version)
        key = self._find(session, name)
        if key is None:
            self._load(session, INDEX_OWNER, INDEX_CLASS)
            key = self._find(session, name)
        if key is None and version == 1:
            key = self.make_key(session, INDEX_OWNER, INDEX_CLASS, 1)
        if key is None:
            raise KeyUnavailable(INDEX_CLASS, version)
        return BlindIndex(key.derive("blind-index"), key.generation)

    def purpose_key(self, session: Session, purpose: str) -> bytes:
        """Return a 32-byte key for one purpose of the service, unaffected by re-encryption."""
        known = self._purposes.get(purpose)
        if known is not None:
            return known
        key = self._current(session, PURPOSE_OWNER, "service")
        key = key or self.make_key(session, PURPOSE_OWNER, "service", 1)
        derived = key.derive(purpose)
        if data_key_name("service", PURPOSE_OWNER, key.generation) in self._kept:
            self._purposes[purpose] = derived
        return derived

    def row_key(self, session: Session, generation: int | None) -> RowKey:
        """Return the MAC key of rows, which rotates with the class `service`.

        Raises:
            OpenError: The generation does not exist.
            KeyUnavailable: This process does not hold its KEK.
        """
        wanted = self.generation(ROWS_CLASS) if generation is None else generation
        known = self._row_keys.get(wanted)
        if known is not None:
            return known
        if generation is None:
            key = self.newest_key(session, ROWS_CLASS, ROWS_OWNER)
        else:
            key = self.key(
                session, key_class=ROWS_CLASS, owner=ROWS_OWNER, generation=generation, peers=tuple
            )
        made = RowKey(key.derive("rows"), key.generation)
        # A key created by this transaction may still roll back, so it is not cached.
        if data_key_name(ROWS_CLASS, ROWS_OWNER, key.generation) in self._kept:
            self._row_keys[key.generation] = made
        return made

    def make_key(self, session: Session, owner: Owner, key_class: str, generation: int) -> DataKey:
        """Create a data key, or return the one that another transaction created first."""
        kek = self._ring.active(key_class)
        wrapped, key = envelope.create_data_key(kek, owner, generation)
        now = self._clock.now()
        values: store.NewDekRow = {
            "id": new_id(now),
            "owner_kind": int(owner.kind),
            "owner_id": owner.id,
            "key_class": key_class,
            "generation": generation,
            "kek_version": kek.version,
            "wrapped": wrapped,
            "created_at": now,
        }
        if store.add_dek(session, values):
            self.unit(session).put(key)
            return key
        self._load(session, owner, key_class)
        raced = self._find(session, data_key_name(key_class, owner, generation))
        if raced is None:
            raise KeyUnavailable(key_class)
        return raced

    def _opened(self, row: AnyRow) -> KeyEncryptionKey:
        return open_kek(self._roots[row.key_class], row.key_class, row.version, row.wrapped)

    def _take_up(self, row: AnyRow) -> None:
        try:
            self._ring.add(self._opened(row))
        except CryptoError:
            # It may be under a root added after the start. A key that still does not open is
            # reported as not held, and its promotion waits.
            try:
                self.reopen_root(row.key_class)
                self._ring.add(self._opened(row))
            except CryptoError:
                return

    def unit(self, session: Session) -> UnitKeys:
        """Return the data keys of a transaction."""
        keys: UnitKeys | None = session.info.get(_UNIT)
        if keys is None:
            keys = session.info[_UNIT] = UnitKeys(
                partial(self.kek_of, session), opened_keys(session)
            )
        return keys

    def _find(self, session: Session, name: KeyName) -> DataKey | None:
        return self.unit(session).find(name) or self._kept.get(name)

    def _current(self, session: Session, owner: Owner, key_class: str) -> DataKey | None:
        key = self._newest_found(session, owner, key_class)
        if key is None:
            self._load(session, owner, key_class)
            key = self._newest_found(session, owner, key_class)
        return key

    def _newest_found(self, session: Session, owner: Owner, key_class: str) -> DataKey | None:
        name = (key_class, owner)
        generation = self.unit(session).newest.get(name) or self._newest.get(name, 0)
        return self._find(session, data_key_name(key_class, owner, generation))

    def _load(self, session: Session, owner: Owner, key_class: str, peers: Peers = tuple) -> None:
        if owner.kind is OwnerKind.SUBJECT:
            unit = self.unit(session)
            owners = {owner, *peers()}
            # One person's keys of every class in one statement, as a login opens several. A process
            # that may not use a class does not read its keys.
            every = len(owners) <= _FEW and len(self._roots) == len(KEY_CLASSES)
            unit.add(store.deks(session, None if every else key_class, owners))
            return
        # Keys created by this transaction may still roll back; they are found before any load.
        for _, _, _, wrapped in store.deks(session, key_class, {owner}):
            key = envelope.open_data_key(self.kek_of(session, key_class, wrapped), owner, wrapped)
            self._kept[data_key_name(key_class, owner, key.generation)] = key
            self._newest[key_class, owner] = key.generation


def _ignore(_subject: UUID) -> None:
    return None
