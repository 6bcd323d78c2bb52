"""The fifth floor: keys, erasure and its ledger, and the export of personal data."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from service.accounts.actions.accounts import Accounts
from service.app.core import Core
from service.app.factors import Factors
from service.app.identity import Identity
from service.app.key_setup import open_keys, open_ledger
from service.app.repeats import RepeatedActs
from service.app.risk import RiskFloor
from service.idempotency.actions import Lasting
from service.key_admin.actions import KeyAdminDependencies
from service.keys.actions.crypto_shredding import Shredding
from service.privacy.actions.erasure import Erasure, ErasureDependencies
from service.privacy.actions.export import ExportDependencies, Exports
from service.privacy.actions.memory import Memory
from service.privacy.actions.watching import Watch
from service.store.engine import Tx
from service.store.erasing import ErasureRegistry


@dataclass(kw_only=True, frozen=True)
class Privacy:
    """Key administration, and the rights of a subject to its data."""

    keys: KeyAdminDependencies
    shredding: Shredding
    memory: Memory
    exports: Exports
    erasures: ErasureRegistry
    erasure: Erasure
    watch: Watch


def build_privacy(core: Core, identity: Identity, risk: RiskFloor, factors: Factors) -> Privacy:
    """Return the features of privacy; raises SetupError if the ledger cannot be used."""
    settings = core.settings
    accounts = identity.accounts
    keys = open_keys(
        settings,
        store=core.store,
        key_store=core.key_store,
        signing=core.signing,
        audit=core.audit,
        clock=core.clock,
    )
    shredding = Shredding(
        records=keys.records,
        audit=core.audit,
        clock=core.clock,
        retention=timedelta(days=settings.backup_days),
        lock=accounts.lock,
    )
    core.answers.watch(_lasting(accounts, shredding))
    memory = Memory(
        database=core.store,
        ledger=open_ledger(settings, core.store, core.key_store, core.clock),
        audit=core.audit,
        outbox=core.outbox,
        metrics=core.metrics,
        clock=core.clock,
    )
    exports = _exports(core, accounts)
    registry = _registry(core, identity, risk, factors, exports=exports)
    acts = RepeatedActs(
        identity=identity, lives=factors.lives, shredding=shredding, clock=core.clock
    )
    erasure = Erasure(
        database=core.store,
        shredding=shredding,
        ends=ErasureDependencies(
            present=accounts.lock,
            registry=registry,
            end_sessions=identity.sessions.end_everything,
        ),
        memory=memory,
        repeating=acts.repeating(core.store),
    )
    return Privacy(
        keys=keys,
        shredding=shredding,
        memory=memory,
        exports=exports,
        erasures=registry,
        erasure=erasure,
        watch=Watch(core.store, memory, erasure.compare, erasure.remember),
    )


def _registry(
    core: Core, identity: Identity, risk: RiskFloor, factors: Factors, *, exports: Exports
) -> ErasureRegistry:
    """Return what every feature deletes with a subject, in the order in which it is done."""
    registry = ErasureRegistry()
    registry.add(
        identity.accounts,
        core.outbox,
        factors.face,
        identity.sessions,
        identity.devices,
        identity.authenticators,
        identity.authenticators.grants,
        identity.operators.roles,
        identity.operators,
        identity.recoveries,
        risk.behaviors,
        risk.context,
        core.policies,
        risk.standing,
        exports,
    )
    return registry


def _lasting(accounts: Accounts, shredding: Shredding) -> Lasting:
    """Return a function that locks a subject and tells whether its data lasts since a time."""

    def lasting(tx: Tx, subject: UUID, since: datetime) -> bool:
        return accounts.hold(tx, subject) and not shredding.since(tx, subject, since)

    return lasting


def _exports(core: Core, accounts: Accounts) -> Exports:
    throttling = core.throttling

    def bucket(tx: Tx, subject: UUID) -> str:
        return throttling.bucket(tx, f"subject:{subject}")

    return Exports(
        database=core.store,
        dependencies=ExportDependencies(accounts.lock, bucket, accounts.notify),
        audit=core.audit,
        clock=core.clock,
        issuer=core.settings.issuer,
        bounds=core.settings,
    )
