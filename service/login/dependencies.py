"""The dependencies of the login flow."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from service.accounts.actions.accounts import Accounts
from service.accounts.actions.suspension import Suspensions
from service.audit.actions.audit_log import AuditLog
from service.authenticators.actions import Authenticators
from service.authenticators.factor import AnyFactor
from service.devices.actions import Devices
from service.domain.clock import Clock
from service.factors.help_desk.actions.recoveries import Recoveries
from service.login.model import IDLE, WHOLE
from service.policy.actions.evaluation import Policies
from service.policy.actions.subject_risk import SubjectRisks
from service.risk.model import ClientContext
from service.risk.runner import Signals
from service.sessions.actions import Sessions
from service.signals.behavior.actions import Behaviors
from service.store.engine import Store
from service.telemetry.metrics import Metrics
from service.throttling.actions import Throttling
from service.tokens.actions import Tokens


@dataclass(kw_only=True, frozen=True, slots=True)
class LoginDependencies:
    """The features that a login depends on.

    Args:
        origin: Returns the origin data that a session stores; None for none.
    """

    database: Store
    accounts: Accounts
    suspensions: Suspensions
    authenticators: Authenticators
    sessions: Sessions
    tokens: Tokens
    devices: Devices
    throttling: Throttling
    policies: Policies
    standing: SubjectRisks
    behaviors: Behaviors
    signals: Signals
    factors: Mapping[str, AnyFactor]
    recoveries: Recoveries
    audit: AuditLog
    metrics: Metrics
    clock: Clock
    origin: Callable[[ClientContext, datetime], Mapping[str, object] | None]
    lifetime: timedelta = WHOLE
    """After how long a flow that begins now ends; `idle` is how long it may be unused."""
    idle: timedelta = IDLE
