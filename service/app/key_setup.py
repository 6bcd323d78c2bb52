"""What works with keys: their life cycle, the ledger and recovery."""

import os
import platform
from datetime import timedelta

from service.accounts.actions.blind_indexes import Indexing
from service.app.ground import open_vault
from service.audit.actions import AuditLog
from service.domain.clock import Clock, SystemClock
from service.key_admin.actions import Room
from service.keys.actions import SigningKeys, Vault
from service.keys.actions.instances import Instances
from service.keys.actions.lifecycle import Lifecycle
from service.keys.actions.record_signing import RecordKeys
from service.keys.actions.recovery import Recovery
from service.keys.actions.rotation import Moving
from service.keys.actions.verification import Proving
from service.keys.ledger import Ledger
from service.privacy.model import folded
from service.settings import Settings
from service.store import migrate
from service.store.engine import Store, make_engine
from service.store.turns import take_start


def open_ledger(settings: Settings, store: Store, vault: Vault, clock: Clock) -> Ledger | None:
    """Return the memory outside the database, where there is one that this process can read."""
    if settings.ledger_path is None or "service" not in vault.classes():
        return None
    with store.transaction() as tx:
        take_start(tx)
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
