"""The fifth floor: keys, erasure and its ledger, and the export of personal data."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
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
from service.keys.actions.crypto_shredding import SUBJECT_CLASSES, Shredding
from service.privacy.actions.erasure import Erasure, ErasureDependencies
from service.privacy.actions.export import ExportDependencies, Exports
from service.privacy.actions.memory import Memory
from service.privacy.actions.watching import Watch
from service.store.engine import Tx


@dataclass(kw_only=True, frozen=True)
class Privacy:
    """Key administration, and the rights of a subject to its data."""

    keys: KeyAdminDependencies
    shredding: Shredding
    memory: Memory
    exports: Exports
    erasure: Erasure
    watch: Watch


def build_privacy(core: Core, identity: Identity, risk: RiskFloor, factors: Factors) -> Privacy:
    """Return the features of privacy; raises SetupError if the ledger cannot be used."""
    settings, accounts = core.settings, identity.accounts
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
    acts = RepeatedActs(
        identity=identity, lives=factors.lives, shredding=shredding, clock=core.clock
    )
    erasure = Erasure(
        database=core.store,
        shredding=shredding,
        ends=_ends(core, identity, risk, factors, exports=exports),
        memory=memory,
        repeating=acts.repeating(core.store),
    )
    return Privacy(
        keys=keys,
        shredding=shredding,
        memory=memory,
        exports=exports,
        erasure=erasure,
        watch=Watch(core.store, memory, erasure.compare, erasure.remember),
    )


def _ends(
    core: Core, identity: Identity, risk: RiskFloor, factors: Factors, *, exports: Exports
) -> ErasureDependencies:
    policies = core.policies
    ending = {
        "contact": (identity.accounts.erase_contact, core.outbox.delete_for),
        "biometric": (factors.face.delete_for, policies.delete_for),
        "behavior": (risk.behaviors.delete_for, risk.context.delete_for, policies.delete_for),
        "factor": (
            identity.authenticators.revoke_all,
            identity.recoveries.delete_for,
            policies.delete_for,
            risk.standing.delete_for,
        ),
    }
    return ErasureDependencies(
        present=identity.accounts.lock,
        # An export contains data of every class.
        by_class={name: (*ending.get(name, ()), exports.delete_for) for name in SUBJECT_CLASSES},
        whole=(
            identity.operators.roles.erase,
            identity.sessions.erase,
            identity.devices.delete_for,
            identity.accounts.mark_erased,
        ),
        end_sessions=identity.sessions.end_everything,
        restored=(
            identity.devices.forget_all,
            identity.authenticators.grants.drop_every,
            partial(identity.operators.close_approvals, actor="ledger"),
            identity.recoveries.stop_all,
        ),
    )


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
