"""Complete flows: reset counters, issue a grant or start a session, renew the device."""

from typing import Final

from service.accounts.model import Lead
from service.devices.actions import Device
from service.domain.assurance import Acr
from service.domain.authenticator import HELP_DESK
from service.domain.errors import Denied, Fault, NotFound
from service.login.decisions import FlowDecisions
from service.login.dependencies import LoginDependencies
from service.login.model import Flow, FlowKind, FlowOutcome, FlowRequest, FlowStatus
from service.login.noting import note
from service.sessions.model import SessionOrigin
from service.store.engine import Tx
from service.throttling.model import Counter, Lane

UNVERIFIED: Final = Fault(
    "/identifier",
    "email_unverified",
    "This address is not verified: it signs in until another subject claims it.",
)


class Completing:
    """Completes flows that reached their level."""

    def __init__(self, dependencies: LoginDependencies, decisions: FlowDecisions) -> None:
        self._dependencies = dependencies
        self._decisions = decisions

    def require_session(self, tx: Tx, terms: FlowRequest) -> None:
        """Check that the session in which a flow was begun is active; raises NotFound."""
        if terms.session and not self._dependencies.tokens.is_active(
            tx, terms.session, terms.token
        ):
            raise no_session()

    def conclude(self, tx: Tx, flow: Flow, *, first_party: bool) -> FlowOutcome:
        """Return the outcome of an ended flow; a pending flow continues."""
        if flow.status is FlowStatus.PENDING:
            return FlowOutcome(flow=flow)
        self._dependencies.metrics.flows.labels(flow.terms.kind.value, flow.status.value).inc()
        note(
            self._dependencies.audit,
            tx,
            flow,
            f"flow.{flow.status.value}",
            acr=flow.required.urn,
            band=flow.band.label,
            policy=flow.policy,
            reasons=[item.code for item in flow.reasons],
        )
        if flow.status is FlowStatus.COMPLETED:
            return self._completed(tx, flow, first_party=first_party)
        reason = flow.reasons[-1]
        return FlowOutcome(flow=flow, refusal=Denied(reason.code, reason.detail))

    def _completed(self, tx: Tx, flow: Flow, *, first_party: bool) -> FlowOutcome:
        """Issue the results of a completed flow; the subject is locked.

        Args:
            tx: A transaction.
            flow: The flow.
            first_party: Whether the client of a login may receive grants.
        """
        dependencies = self._dependencies
        terms = flow.terms
        self.require_session(tx, terms)
        afresh = self._settle_counters(tx, flow)
        act = self._recovered(tx, flow)
        if terms.kind in {FlowKind.ENROLLMENT, FlowKind.RECOVERY}:
            if refusal := self._decisions.too_young(tx, flow):
                return FlowOutcome(flow=flow, refusal=refusal)
            grant = dependencies.authenticators.grants.issue(
                tx, terms.subject, client=terms.client, act=act, session=terms.session
            )
            return FlowOutcome(flow=flow, grant=grant)
        account = dependencies.accounts.get(tx, terms.subject)
        enrollable, offered = self._enrollable(tx, flow, account.segment, first_party=first_party)
        if terms.kind is FlowKind.LOGIN:
            dependencies.accounts.completed_login(tx, account)
        if self._decisions.shown_afresh(flow) >= Acr.AAL2:
            dependencies.signals.learn(tx, self._decisions.seen(tx, flow, account.segment))
        self._decisions.cleared(tx, flow, account.segment)
        device = Device(*terms.device) if terms.device else None
        issued = dependencies.devices.renew(tx, terms.subject, device) if afresh else None
        known = issued or device
        origin = dependencies.origin(terms.client_context, dependencies.clock.now())
        session = dependencies.sessions.start(
            tx,
            account,
            terms.client,
            flow.evidence,
            replaces=terms.session,
            place=SessionOrigin(known.id if known else None, origin),
        )
        return FlowOutcome(
            flow=flow,
            completion_code=dependencies.tokens.issue_code(tx, session),
            device_token=issued.token if issued else "",
            enrollable=enrollable,
            grants={
                act: dependencies.authenticators.grants.issue(
                    tx, account.id, client=terms.client, act=act, session=session.id
                )
                for act in (f"enroll:{kind}" for kind in offered)
            },
            notices=(UNVERIFIED,) if self._decisions.led(tx, flow) is Lead.CLAIM else (),
        )

    def _recovered(self, tx: Tx, flow: Flow) -> str:
        """Finish a recovery by the help desk, or stop an open one; return the act of the grant.

        Someone who verifies an authenticator has not lost all of them, and may not have requested
        the recovery.
        """
        recoveries = self._dependencies.recoveries
        terms = flow.terms
        own = flow.own_evidence
        numbers = [item.authenticator for item in own if item.factor == HELP_DESK]
        if numbers:
            return recoveries.finish(tx, numbers[0])
        if own:
            recoveries.stop(tx, terms.subject, "signed_in")
        return terms.act

    def _enrollable(
        self, tx: Tx, flow: Flow, segment: str, *, first_party: bool
    ) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
        """Return the types that a login may offer to enroll, and those that it grants.

        For other flows these are None and empty. Call this before signals learn from this login, so
        that they assess it as they did for its decision.
        """
        if flow.terms.kind is not FlowKind.LOGIN:
            return None, ()
        enrollable = self._decisions.enrollable(tx, flow.terms.subject, segment)
        if not first_party:
            return enrollable, ()
        return enrollable, self._decisions.offered(tx, flow, segment, enrollable)

    def _settle_counters(self, tx: Tx, flow: Flow) -> bool:
        """Clear failures if this flow alone reached its level; return whether it did.

        Evidence from an earlier session does not prove who is guessing now.
        """
        throttling = self._dependencies.throttling
        terms = flow.terms
        own = flow.own_evidence
        counters = [Counter(self._dependencies.factors[item.factor].counter) for item in own]
        afresh = bool(own) and self._decisions.shown_afresh(flow) >= flow.required
        if afresh:
            throttling.verified(tx, terms.bucket, Lane(terms.lane), counters)
        elif terms.deferred:
            throttling.give_back(tx, terms.bucket, Lane(terms.lane), counters)
        return afresh


def no_session() -> NotFound:
    """Return the error for a session that does not exist or is no longer active."""
    return NotFound("session_not_found", "There is no such active session.")
