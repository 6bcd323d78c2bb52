"""Recovery exports: seal all KEKs for a recipient, and import them under other roots."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TypedDict

from crypto.errors import KeyFileError
from crypto.keyring import export_kek, import_kek
from crypto.recovery import ExportedKey, open_export, seal_export
from service.audit.actions.audit_log import AuditLog
from service.domain.clock import Clock, rfc3339
from service.domain.errors import Expired
from service.domain.ids import new_id
from service.keys.actions.keystore import KeyStore
from service.keys.model import KekStatus
from service.keys.store import hierarchy as store
from service.keys.store.hierarchy import KeyExport
from service.store.engine import Tx


class Recovered(TypedDict):
    """The number of recovered KEKs, and the description of their export."""

    keys: int
    about: Mapping[str, object]


class KeyRecovery:
    """Exports KEKs from a deployment and imports them again."""

    def __init__(self, key_store: KeyStore, audit: AuditLog, clock: Clock, issuer: str) -> None:
        self._key_store = key_store
        self._audit = audit
        self._clock = clock
        self._issuer = issuer

    def export(self, tx: Tx, recipient: str, days: int, actor: str) -> bytes:
        """Return all KEKs held here, sealed for a recipient; the export is recorded until expiry.

        Raises:
            KeyFileError: The recipient is not a public line of `create_recipient`.
            KeyUnavailable, OpenError: A KEK does not open here.
        """
        now = self._clock.now()
        keys = list[ExportedKey]()
        for row in store.keks(tx):
            if row.key_class in self._key_store.classes():
                root = self._key_store.root(row.key_class)
                key = export_kek(root, row.key_class, row.version, row.wrapped)
                keys.append((row.key_class, row.version, key))
        number = new_id(now)
        expires = now + timedelta(days=days)
        about = {
            "id": str(number),
            "issuer": self._issuer,
            "created_at": rfc3339(now),
            "expires_at": rfc3339(expires),
        }
        content = seal_export(recipient, keys, about)
        names = [[key_class, version] for key_class, version, _ in keys]
        tx.add(KeyExport(id=number, created_at=now, expires_at=expires, keys=names))
        self._audit.append(
            tx,
            "keys.exported",
            actor=actor,
            export=str(number),
            keys=len(keys),
            expires_at=about["expires_at"],
        )
        return content

    def recover(
        self, tx: Tx, private: str, content: bytes, actor: str, *, expired: bool = False
    ) -> Recovered:
        """Wrap the KEKs of an export under the roots of this process; nothing else changes.

        Args:
            tx: A transaction.
            private: The private line of the recipient.
            content: The export.
            actor: The actor.
            expired: Whether to accept an expired export.

        Raises:
            KeyFileError, OpenError: It is not an export, or is for another recipient.
            KeyUnavailable: This process has no root for one of its classes.
            Expired: It has expired and should have been destroyed.
        """
        about, keys = open_export(private, content)
        if not expired:
            self._require_current(about)
        for key_class, version, key in keys:
            wrapped = import_kek(self._key_store.root(key_class), key_class, version, key)
            row = store.kek(tx, key_class, version)
            if row is not None:
                row.wrapped = wrapped
                continue
            now = self._clock.now()
            values: store.NewKek = {
                "id": new_id(now),
                "key_class": key_class,
                "version": version,
                "status": KekStatus.RETIRING.value,
                "wrapped": wrapped,
                "created_at": now,
                "changed_at": now,
                "destroy_after": None,
            }
            store.add_kek(tx, values)
        self._audit.append(
            tx, "keys.recovered", actor=actor, export=about.get("id"), keys=len(keys)
        )
        return {"keys": len(keys), "about": about}

    def _require_current(self, about: Mapping[str, object]) -> None:
        try:
            expires = datetime.fromisoformat(str(about["expires_at"]))
            over = expires <= self._clock.now()
        except (KeyError, ValueError, TypeError):
            raise KeyFileError("the export does not say when it expires") from None
        if over:
            detail = f"This export expired at {about['expires_at']}; say --expired to take it."
            raise Expired("export_expired", detail)
