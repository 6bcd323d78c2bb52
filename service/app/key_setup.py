"""Wire key administration, the ledger and key recovery."""

import os
import platform
from datetime import timedelta

from service.accounts.actions.blind_indexes import Indexing
from service.app.ground import open_key_store
from service.audit.actions.audit_log import AuditLog
from service.domain.clock import Clock, SystemClock
from service.key_admin.actions import KeyAdminDependencies
from service.keys.actions import KeyStore, SigningKeys
from service.keys.actions.instances import Instances
from service.keys.actions.lifecycle import Lifecycle
from service.keys.actions.record_signing import RecordKeys
from service.keys.actions.recovery import KeyRecovery
from service.keys.actions.rotation import Moving
from service.keys.actions.verification import Proving
from service.keys.ledger import Ledger
from service.privacy.model import folded
from service.settings import Settings
from service.store import migrate
from service.store.engine import Store, make_engine
from service.store.turns import take_start


def open_ledger(
    settings: Settings, store: Store, key_store: KeyStore, clock: Clock
) -> Ledger | None:
    """Return the ledger; None if not configured or if this process lacks the class `service`."""
    if settings.ledger_path is None or "service" not in key_store.classes():
        return None
    with store.transaction() as tx:
        take_start(tx)
        key = key_store.purpose_key(tx, "ledger")
    backups = timedelta(days=settings.backup_days)
    return Ledger(settings.ledger_path, key, lambda lines: folded(lines, clock.now(), backups))


def open_keys(
    settings: Settings,
    *,
    store: Store,
    key_store: KeyStore,
    signing: SigningKeys,
    audit: AuditLog,
    clock: Clock,
) -> KeyAdminDependencies:
    """Return the dependencies of key administration."""
    records = RecordKeys(clock, settings.issuer)
    instances = Instances(
        database=store,
        key_store=key_store,
        signing=signing,
        clock=clock,
        label=f"{platform.node()} {os.getpid()}",
    )
    return KeyAdminDependencies(
        database=store,
        key_store=key_store,
        signing=signing,
        instances=instances,
        lifecycle=Lifecycle(
            key_store=key_store,
            signing=signing,
            instances=instances,
            audit=audit,
            clock=clock,
            retention=timedelta(days=settings.backup_days),
        ),
        moving=Moving(store, key_store, instances, clock),
        proving=Proving(store, key_store),
        indexing=Indexing(store, key_store, clock),
        records=records,
        recovery=KeyRecovery(key_store, audit, clock, settings.issuer),
        clock=clock,
    )


def open_recovery(settings: Settings) -> tuple[Store, KeyRecovery]:
    """Open a database with lost root keys for recovery; raises SetupError or Unavailable."""
    clock = SystemClock()
    key_store = open_key_store(settings, clock)
    engine = make_engine(settings.database_url)
    migrate.require_current(engine)
    return Store(engine, key_store), KeyRecovery(key_store, AuditLog(clock), clock, settings.issuer)
