"""The first floor: database, keys, log, messages and rules, which every feature uses."""

from dataclasses import dataclass

from service.app.delivery import DeliveryService, open_delivery
from service.app.ground import foundation, open_audit
from service.audit.actions.audit_log import AuditLog
from service.domain.clock import Clock
from service.idempotency.actions import Answers
from service.keys.actions import KeyStore, SigningKeys
from service.notifications.actions.outbox import Outbox
from service.policy.actions.evaluation import Policies
from service.settings import Settings
from service.store.engine import Store
from service.telemetry.metrics import Metrics
from service.throttling.actions import Throttling


@dataclass(kw_only=True, frozen=True)
class Core:
    """The features that know no subject."""

    settings: Settings
    clock: Clock
    store: Store
    key_store: KeyStore
    signing: SigningKeys
    audit: AuditLog
    metrics: Metrics
    outbox: Outbox
    delivery: DeliveryService
    policies: Policies
    throttling: Throttling
    answers: Answers


def build_core(*, settings: Settings, clock: Clock) -> Core:
    """Open database and keys; raises SetupError or Unavailable as `open_container` does."""
    store, key_store, signing = foundation(settings, clock)
    audit = open_audit(settings, key_store, clock)
    metrics = Metrics()
    outbox, delivery = open_delivery(
        settings, store=store, audit=audit, clock=clock, metrics=metrics
    )
    policies = Policies(clock)
    policies.take_up(store, sealing="service" in key_store.classes())
    # Reload with the key states: every five seconds.
    key_store.on_refresh(policies.refresh)
    return Core(
        settings=settings,
        clock=clock,
        store=store,
        key_store=key_store,
        signing=signing,
        audit=audit,
        metrics=metrics,
        outbox=outbox,
        delivery=delivery,
        policies=policies,
        throttling=Throttling(key_store.purpose_key, clock, settings.free_attempts),
        answers=Answers(store, key_store.purpose_key, clock, settings),
    )
