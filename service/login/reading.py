"""Read what an action of a flow needs of its subject in one statement."""

from service.authenticators.factor import AnyFactor
from service.login.decisions import FlowDecisions
from service.login.dependencies import LoginDependencies
from service.login.model import Flow
from service.store.ahead import PlannedRead, read_ahead
from service.store.engine import Tx
from service.throttling.model import Counter, Lane


class FlowReading:
    """Reads the rows of a flow's subject ahead; for a decision, the subject is locked.

    An unknown subject is read as the decoy, by the same statement.
    """

    def __init__(self, dependencies: LoginDependencies, decisions: FlowDecisions) -> None:
        self._dependencies = dependencies
        self._decisions = decisions

    def for_check(self, tx: Tx, flow: Flow, factor: AnyFactor) -> None:
        """Read what the check of a fast factor and the decision after it need."""
        dependencies = self._dependencies
        terms = flow.terms
        counter = Counter(factor.counted(flow.challenges.get(factor.name, {})))
        wanted = dependencies.throttling.ahead(tx, terms.bucket, Lane(terms.lane), counter)
        wanted += factor.ahead(tx, terms.subject)
        read_ahead(tx, [*wanted, *self._for_decision(tx, flow)])

    def for_slow_check(self, tx: Tx, flow: Flow, factor: AnyFactor) -> None:
        """Read what the check of a slow factor compares with."""
        read_ahead(tx, factor.ahead(tx, flow.terms.subject))

    def for_decision(self, tx: Tx, flow: Flow) -> None:
        """Read what the decision after a slow check needs."""
        wanted = self._dependencies.authenticators.active_ahead(tx, flow.terms.subject)
        read_ahead(tx, [*wanted, *self._for_decision(tx, flow)])
        # Whether the authenticator that was checked is active is known from here on.
        self._dependencies.authenticators.active(tx, flow.terms.subject)

    def _for_decision(self, tx: Tx, flow: Flow) -> list[PlannedRead]:
        dependencies = self._dependencies
        subject = flow.terms.subject
        return [
            dependencies.accounts.ahead(subject),
            dependencies.standing.ahead(subject),
            dependencies.recoveries.ahead(subject),
            dependencies.devices.ahead(subject),
            *dependencies.signals.ahead(tx, self._decisions.seen(tx, flow, flow.terms.segment)),
        ]
