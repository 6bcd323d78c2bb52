"""The container: opens database and keys, and builds all features, floor by floor."""

from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any

from crypto.hashing import PasswordHasher
from service.app.administration import Administration, build_administration
from service.app.core import Core, build_core
from service.app.factors import Factors, build_factors
from service.app.identity import Identity, build_identity
from service.app.privacy import Privacy, build_privacy
from service.app.risk import RiskFloor, build_risk
from service.domain.clock import Clock, SystemClock
from service.login.actions import Login
from service.login.dependencies import LoginDependencies
from service.settings import Settings
from service.signals.behavior.population import open_models


@dataclass(kw_only=True, frozen=True)
class Container(Core, Identity, RiskFloor, Factors, Privacy, Administration):
    """The features of a process: those of every floor, and the login."""

    login: Login


def open_container(
    settings: Settings, clock: Clock | None = None, hasher: PasswordHasher | None = None
) -> Container:
    """Open database and keys, and wire the features.

    Raises:
        SetupError: A key file is missing or unsafe, the schema version differs, the keys are not
            those of this database, or a model is invalid; the detail says what to correct.
        Unavailable: The database does not answer.
    """
    models = open_models(settings.behavior_model)
    core = build_core(settings=settings, clock=clock or SystemClock())
    identity = build_identity(core)
    risk = build_risk(core, identity, models=models)
    factors = build_factors(core, identity, risk, hasher=hasher)
    login = _login(core, identity, risk, factors)
    privacy = build_privacy(core, identity, risk, factors)
    administration = build_administration(
        core, identity, risk=risk, factors=factors, login=login, privacy=privacy
    )
    floors = (core, identity, risk, factors, privacy, administration)
    return Container(**_features(*floors), login=login)


def _login(core: Core, identity: Identity, risk: RiskFloor, factors: Factors) -> Login:
    return Login(
        LoginDependencies(
            database=core.store,
            accounts=identity.accounts,
            suspensions=identity.suspensions,
            authenticators=identity.authenticators,
            sessions=identity.sessions,
            tokens=identity.tokens,
            devices=identity.devices,
            throttling=core.throttling,
            policies=core.policies,
            standing=risk.standing,
            behaviors=risk.behaviors,
            signals=risk.signals,
            factors=factors.factors,
            recoveries=identity.recoveries,
            audit=core.audit,
            metrics=core.metrics,
            clock=core.clock,
            origin=risk.context.origin,
            lifetime=timedelta(seconds=core.settings.flow_lifetime),
            idle=timedelta(seconds=core.settings.flow_idle),
        )
    )


def _features(
    *floors: Core | Identity | RiskFloor | Factors | Privacy | Administration,
) -> dict[str, Any]:
    """Return the features of floors by name, as the fields that the container inherits."""
    return {item.name: getattr(floor, item.name) for floor in floors for item in fields(floor)}
