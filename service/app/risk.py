"""The third floor: the signals of risk, and what is remembered for them."""

from dataclasses import dataclass

from service.app.core import Core
from service.app.identity import Identity
from service.policy.actions.subject_risk import SubjectRisks
from service.risk.runner import Signals
from service.signals.behavior.actions import Behaviors, BehaviorSignal, Measuring
from service.signals.behavior.scoring import Models
from service.signals.face_passive.actions import FacePassiveSignal
from service.signals.login_context.actions import LoginContextSignal
from service.throttling.actions import Limits


@dataclass(kw_only=True, frozen=True)
class RiskFloor:
    """The signals that a login is assessed by, and the standing risk of subjects."""

    standing: SubjectRisks
    behaviors: Behaviors
    measuring: Measuring
    context: LoginContextSignal
    signals: Signals


def build_risk(core: Core, identity: Identity, *, models: Models) -> RiskFloor:
    """Return the features of risk.

    Args:
        core: The first floor.
        identity: The second floor.
        models: The models of behavior.

    Raises:
        SetupError: A file of networks or places is invalid; the detail names the setting.
    """
    policies = core.policies
    settings = core.settings
    behaviors = Behaviors(
        accounts=identity.accounts,
        models=models,
        audit=core.audit,
        outbox=core.outbox,
        clock=core.clock,
    )
    context = LoginContextSignal(
        core.key_store.purpose_key, settings.geoip_db, settings.bad_networks
    )
    return RiskFloor(
        standing=SubjectRisks(core.audit, core.clock),
        behaviors=behaviors,
        measuring=Measuring(
            database=core.store,
            accounts=identity.accounts,
            authenticators=identity.authenticators,
            policies=policies,
            behaviors=behaviors,
            limits=Limits(core.key_store.purpose_key, core.clock),
        ),
        context=context,
        signals=Signals((BehaviorSignal(behaviors), context, FacePassiveSignal()), policies),
    )
