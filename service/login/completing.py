"""What a completed flow gives: counters that fall, a grant or a session, and a device token."""

from typing import Final

from service.accounts.model import Lead
from service.authenticators.factor import HELP_DESK
from service.devices.actions import Device
from service.domain.assurance import Acr
from service.domain.errors import Fault, NotFound
from service.login.decisions import Judging
from service.login.dependencies import Parts
from service.login.model import Flow, FlowKind, Outcome, Terms
from service.sessions.model import Place
from service.store.engine import Tx
from service.throttling.model import Counter, Lane

UNVERIFIED: Final = Fault(
    "/identifier", "email_unverified",
    "Nobody has verified this address: it signs in until somebody else claims it.",
)  # fmt: skip


class Completing:
    """Ends flows that reached their level."""

    def __init__(self, parts: Parts, judging: Judging) -> None:
        self._parts = parts
        self._judging = judging

    def require_session(self, tx: Tx, terms: Terms) -> None:
        """Refuse to go on once the session that a flow was begun in is over; raises NotFound."""
        if terms.session and not self._parts.tokens.stands(tx, terms.session, terms.token):
            raise no_session()

    def completed(self, tx: Tx, flow: Flow, *, first_party: bool) -> Outcome:
        """Give what a flow has earned; the subject is locked.

        Args:
            tx: A unit of work.
            flow: The flow.
            first_party: Whether its client may be given grants by a login.
        """
        parts, terms = self._parts, flow.terms
        self.require_session(tx, terms)
        afresh = self._settle_counters(tx, flow)
        act = self._recovered(tx, flow)
        if terms.kind in {FlowKind.ENROLLMENT, FlowKind.RECOVERY}:
            if refusal := self._judging.too_young(tx, flow):
                return Outcome(flow, refusal=refusal)
            grant = parts.authenticators.issue_grant(
                tx, terms.subject, terms.client, act, terms.session
            )
            return Outcome(flow, grant=grant)
        account = parts.accounts.get(tx, terms.subject)
        enrollable, offered = self._enrollable(tx, flow, account.segment, first_party=first_party)
        if terms.kind is FlowKind.LOGIN:
            parts.accounts.completed_login(tx, account)
        if self._judging.shown_afresh(flow) >= Acr.AAL2:
            parts.signals.learn(tx, self._judging.seen(flow, account.segment))
        self._judging.cleared(tx, flow, account.segment)
        device = Device(*terms.device) if terms.device else None
        issued = parts.devices.renew(tx, terms.subject, device) if afresh else None
        known = issued or device
        origin = parts.origin(terms.surroundings, parts.clock.now())
        session = parts.sessions.start(
            tx, account, terms.client, flow.evidence, replaces=terms.session,
            place=Place(known.id if known else None, origin),
        )  # fmt: skip
        return Outcome(
            flow,
            completion_code=parts.tokens.issue_code(tx, session),
            device_token=issued.token if issued else "",
            enrollable=enrollable,
            grants={
                act: parts.authenticators.issue_grant(tx, account.id, terms.client, act, session.id)
                for act in (f"enroll:{kind}" for kind in offered)
            },
            notices=(UNVERIFIED,) if self._judging.led(tx, flow) is Lead.CLAIM else (),
        )

    def _recovered(self, tx: Tx, flow: Flow) -> str:
        """Complete a recovery by the help desk, or stop one that is under way; return the act.

        Whoever verifies afresh has not lost everything, and may be the one who asked for none.
        """
        recoveries, terms = self._parts.recoveries, flow.terms
        own = flow.own_evidence
        numbers = [item.authenticator for item in own if item.factor == HELP_DESK]
        if numbers:
            return recoveries.finish(tx, numbers[0])
        if own:
            recoveries.stop(tx, terms.subject, "signed_in")
        return terms.act

    def _enrollable(
        self, tx: Tx, flow: Flow, segment: str, *, first_party: bool
    ) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:  # fmt: skip
        """Return what a login may offer to enroll next, and what it gives a grant for.

        Of other flows it is None, and nothing. Asked before signals learn from this login: they
        are to say the same of it as when it was let through.
        """
        if flow.terms.kind is not FlowKind.LOGIN:
            return None, ()
        enrollable = self._judging.enrollable(tx, flow.terms.subject, segment)
        if not first_party:
            return enrollable, ()
        return enrollable, self._judging.offered(tx, flow, segment, enrollable)

    def _settle_counters(self, tx: Tx, flow: Flow) -> bool:
        """Let failures be forgotten, where this flow alone has reached its level; tell whether.

        What a session brought along proves nothing about who is guessing now.
        """
        throttling, terms, own = self._parts.throttling, flow.terms, flow.own_evidence
        counters = [Counter(self._parts.factors[item.factor].counter) for item in own]
        afresh = bool(own) and self._judging.shown_afresh(flow) >= flow.required
        if afresh:
            throttling.verified(tx, terms.bucket, Lane(terms.lane), counters)
        elif terms.deferred:
            throttling.give_back(tx, terms.bucket, Lane(terms.lane), counters)
        return afresh


def no_session() -> NotFound:
    """Return the refusal of a session that is not there, or not in force any more."""
    return NotFound("session_not_found", "There is no such session in force.")
