"""How a process opens its keys: roots, vault, life cycle, ledger and recovery."""

import os
import platform
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from crypto.errors import ChainBroken, CryptoError
from crypto.providers import open_root
from crypto.providers.base import RootProvider
from service.accounts.actions.indexing import Indexing
from service.audit.actions import AuditLog
from service.audit.actions.state import RowState
from service.custody.actions import Room
from service.domain.clock import Clock, SystemClock
from service.domain.errors import SetupError
from service.keys.actions import SigningKeys, Vault
from service.keys.actions.instances import Instances
from service.keys.actions.lifecycle import Lifecycle
from service.keys.actions.moving import Moving
from service.keys.actions.proving import Proving
from service.keys.actions.records import RecordKeys
from service.keys.actions.recovering import Recovery
from service.keys.actions.vault import ROWS_CLASS
from service.keys.ledger import Ledger
from service.privacy.model import ABOUT, folded
from service.settings import Settings
from service.store import migrate
from service.store.engine import Store, Tx, make_engine
from service.telemetry import logs


def foundation(settings: Settings, clock: Clock) -> tuple[Store, Vault, SigningKeys]:
    """Return the database and the keys of this process, read; raises SetupError."""
    vault, signing = open_vault(settings, clock), SigningKeys(clock)
    engine = make_engine(settings.database_url)
    migrate.require_current(engine)
    store = Store(engine, vault)
    store.at_end(AuditLog(clock).close)
    _load(store, vault, signing)
    _settle(store, vault, clock)
    vault.on_refresh(signing.refresh)
    return store, vault, signing


class _Notary:
    """What authenticates the audit log: keys of the vault, and the key of records."""

    def __init__(self, vault: Vault, records: RecordKeys) -> None:
        self._vault = vault
        self._records = records

    def key(self, tx: Tx, purpose: str) -> bytes:
        """Return 32 bytes for a purpose; raises KeyUnavailable without the class `service`."""
        return self._vault.purpose_key(tx, purpose)

    def sign(self, tx: Tx, claims: Mapping[str, Any]) -> str:
        """Return a JWS, empty where this process does not hold the class `receipt`."""
        if "receipt" not in self._vault.classes():
            return ""
        return self._records.sign(tx, "checkpoint", claims)


def open_audit(settings: Settings, vault: Vault, clock: Clock) -> AuditLog:
    """Return the audit log under keys of the vault."""
    return AuditLog(clock, _Notary(vault, RecordKeys(clock, settings.issuer)), ABOUT)


def open_ledger(settings: Settings, store: Store, vault: Vault, clock: Clock) -> Ledger | None:
    """Return the memory outside the database, where there is one that this process can read."""
    if settings.ledger_path is None or "service" not in vault.classes():
        return None
    with store.transaction() as tx:
        key = vault.purpose_key(tx, "ledger")
    backups = timedelta(days=settings.backup_days)
    return Ledger(settings.ledger_path, key, lambda lines: folded(lines, clock.now(), backups))


def open_keys(
    settings: Settings,
    store: Store,
    vault: Vault,
    signing: SigningKeys,
    audit: AuditLog,
    clock: Clock,
) -> Room:
    """Return what the life cycle of keys works with."""
    records = RecordKeys(clock, settings.issuer)
    instances = Instances(store, vault, signing, clock, f"{platform.node()} {os.getpid()}")
    return Room(
        store, vault, signing, instances,
        Lifecycle(
            vault, signing, instances, audit, clock, timedelta(days=settings.backup_days)
        ),
        Moving(store, vault, instances, clock), Proving(store, vault),
        Indexing(store, vault, clock), records,
        Recovery(vault, audit, clock, settings.issuer), clock,
    )  # fmt: skip


def open_recovery(settings: Settings) -> tuple[Store, Recovery]:
    """Open a database whose KEKs may be under roots that are lost, to recover them; raises."""
    clock = SystemClock()
    vault = open_vault(settings, clock)
    engine = make_engine(settings.database_url)
    migrate.require_current(engine)
    return Store(engine, vault), Recovery(vault, AuditLog(clock), clock, settings.issuer)


def open_vault(settings: Settings, clock: Clock) -> Vault:
    """Read the root keys; raises SetupError that names the file and what to mend."""

    def reopen(key_class: str) -> RootProvider:
        return open_root(settings.root_for(key_class), [key_class])

    try:
        roots = {key_class: reopen(key_class) for key_class in settings.key_classes}
    except CryptoError as error:
        raise SetupError("bad_key_file", f"{error} (new here? run: lamina keys init)") from None
    return Vault(roots, clock, reopen)


def _settle(store: Store, vault: Vault, clock: Clock) -> None:
    if ROWS_CLASS not in vault.classes():
        return
    try:
        count = RowState(store, AuditLog(clock), clock).settle()
    except ChainBroken as error:
        detail = f"rows have no MACs yet, and the log they must agree with is broken: {error}"
        raise SetupError("log_broken", detail) from None
    if count:
        logs.get().warning("rows_authenticated", rows=count)


def _load(store: Store, vault: Vault, signing: SigningKeys) -> None:
    try:
        with store.transaction() as tx:
            vault.load(tx)
            signing.load(tx)
    except CryptoError:
        detail = "the root keys are not those that this database was made with"
        raise SetupError("wrong_root_keys", detail) from None
