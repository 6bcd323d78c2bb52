"""The vault: loads the key ring, finds or makes data keys, seals and opens fields."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy.orm import Session

from crypto import envelope
from crypto.blind_index import BlindIndex
from crypto.errors import KeyUnavailable, OpenError
from crypto.fields import FieldContext, Owner, OwnerKind
from crypto.keyring import KeyRing, create_kek, open_kek
from crypto.providers.base import RootProvider
from crypto.signing import SigningKey
from service.domain.clock import Clock
from service.domain.errors import Unavailable
from service.domain.ids import new_id, service_owner
from service.keys import store
from service.keys.store import SigningKeyRow
from service.store.engine import Tx

_LOCAL: Final = "lamina_data_keys"
_KeyName = tuple[Owner, str, int]


class Vault:
    """The keys of this process.

    Data keys of subjects live as long as one unit of work, so that no cache outlives a shred and
    a known subject costs exactly what an unknown one does. Those of the service and of clients
    are kept for the process, but never from the transaction that made them: it may roll back.
    """

    def __init__(self, roots: Mapping[str, RootProvider], clock: Clock) -> None:
        self._roots = roots
        self._clock = clock
        self._ring = KeyRing()
        self._kept: dict[_KeyName, envelope.DataKey] = {}
        self._newest: dict[tuple[Owner, str], int] = {}

    def load(self, tx: Tx) -> None:
        """Unwrap the KEKs of the classes this process holds; make the first of each.

        Raises:
            KeyUnavailable, OpenError: The root keys are not those the database was made with.
        """
        present = {row.key_class for row in store.keks(tx)}
        for key_class, root in self._roots.items():
            if key_class not in present:
                now = self._clock.now()
                wrapped, _ = create_kek(root, key_class, 1)
                row = {
                    "id": new_id(now), "key_class": key_class, "version": 1, "status": "active",
                    "wrapped": wrapped, "created_at": now,
                }  # fmt: skip
                store.add_kek(tx, row)
        for kek in store.keks(tx):
            if kek.key_class in self._roots:
                root = self._roots[kek.key_class]
                opened = open_kek(root, kek.key_class, kek.version, kek.wrapped)
                self._ring.add(opened, active=kek.status == "active")

    def classes(self) -> frozenset[str]:
        """Return the key classes that this process can seal."""
        return self._ring.classes()

    def status(self, tx: Tx) -> list[dict[str, Any]]:
        """Return one line per KEK: class, version, status, and whether it is held here."""
        held = self._ring.classes()
        return [
            {
                "class": row.key_class,
                "version": row.version,
                "status": row.status,
                "created_at": row.created_at.isoformat(),
                "held": row.key_class in held,
            }
            for row in store.keks(tx)
        ]

    def seal(
        self, session: Session, key_class: str, context: FieldContext, plaintext: bytes
    ) -> bytes:
        """Seal a cell under the newest data key of its owner, which is made when there is none."""
        return self._newest_key(session, context.owner, key_class).seal(plaintext, context)

    def open(self, session: Session, key_class: str, context: FieldContext, sealed: bytes) -> bytes:
        """Open a cell; raises OpenError when anything about it was changed."""
        name = (context.owner, key_class, envelope.sealed_generation(sealed))
        key = self._find(session, name)
        if key is None:
            self._load(session, context.owner, key_class)
            key = self._find(session, name)
        if key is None:
            raise OpenError
        return key.open(sealed, context)

    def blind_index(self, session: Session) -> BlindIndex:
        """Return the index that new look-up digests are made with."""
        key = self._newest_key(session, service_owner("index"), "index")
        return BlindIndex(key.derive("blind-index"), key.generation)

    def purpose_key(self, session: Session, purpose: str) -> bytes:
        """Return 32 bytes for one purpose of the service."""
        return self._newest_key(session, service_owner("purposes"), "service").derive(purpose)

    def _local(self, session: Session) -> dict[_KeyName, envelope.DataKey]:
        keys: dict[_KeyName, envelope.DataKey] = session.info.setdefault(_LOCAL, {})
        return keys

    def _find(self, session: Session, name: _KeyName) -> envelope.DataKey | None:
        return self._local(session).get(name) or self._kept.get(name)

    def _newest_key(self, session: Session, owner: Owner, key_class: str) -> envelope.DataKey:
        local = [
            name[2] for name in self._local(session) if name[0] == owner and name[1] == key_class
        ]
        generation = max(local, default=self._newest.get((owner, key_class), 0))
        key = self._find(session, (owner, key_class, generation))
        return key or self._load(session, owner, key_class) or self._make(session, owner, key_class)

    def _load(self, session: Session, owner: Owner, key_class: str) -> envelope.DataKey | None:
        newest = None
        for wrapped in store.deks(session, owner, key_class):
            kek = self._ring.get(key_class, envelope.wrapped_kek_version(wrapped))
            newest = envelope.open_data_key(kek, owner, wrapped)
            self._remember(session, newest)
        return newest

    def _remember(self, session: Session, key: envelope.DataKey) -> None:
        name = (key.owner, key.key_class, key.generation)
        # A key this session made may still roll back; it is found in `_local` before any load.
        if key.owner.kind is OwnerKind.SUBJECT:
            self._local(session)[name] = key
        else:
            self._kept[name] = key
            self._newest[key.owner, key.key_class] = key.generation

    def _make(self, session: Session, owner: Owner, key_class: str) -> envelope.DataKey:
        wrapped, key = envelope.create_data_key(self._ring.active(key_class), owner)
        now = self._clock.now()
        values = {
            "id": new_id(now), "owner_kind": int(owner.kind), "owner_id": owner.id,
            "key_class": key_class, "generation": key.generation, "wrapped": wrapped,
            "created_at": now,
        }  # fmt: skip
        if store.add_dek(session, values):
            self._local(session)[owner, key_class, key.generation] = key
            return key
        raced = self._load(session, owner, key_class)
        if raced is None:
            raise KeyUnavailable(key_class)
        return raced


class SigningKeys:
    """The keys that sign tokens: one active, all of them published."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._active: SigningKey | None = None
        self._published: dict[str, dict[str, Any]] = {}

    def load(self, tx: Tx) -> None:
        """Read the keys, or make the first one."""
        rows = store.signing_keys(tx)
        if not rows:
            rows = [self._create(tx)]
        self._published = {row.kid: row.public_jwk for row in rows}
        active = [row for row in rows if row.status == "active"]
        self._active = SigningKey.from_bytes(active[-1].private) if active else None

    def _create(self, tx: Tx) -> SigningKeyRow:
        key, now = SigningKey.generate(), self._clock.now()
        row = SigningKeyRow(
            id=new_id(now), kid=key.kid, status="active", public_jwk=key.public_jwk(),
            created_at=now,
        )  # fmt: skip
        row.private = key.to_bytes()
        tx.add(row)
        tx.flush()
        return row

    @property
    def active(self) -> SigningKey:
        """Return the key that signs; raises Unavailable when this process holds none."""
        if self._active is None:
            raise Unavailable("signing_unavailable", "This process holds no signing key.")
        return self._active

    def jwks(self) -> dict[str, Any]:
        """Return the JSON Web Key Set (RFC 7517) of every published key."""
        return {"keys": list(self._published.values())}
