"""What a flow is decided on: facts gathered, signals asked, the decision kept and carried out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from crypto import opaque
from service.accounts.model import LIFTING, Lead
from service.domain.assurance import Acr, Evidence, Kind, worth
from service.domain.authenticator import FACTOR_OF_TYPE, HELP_DESK
from service.domain.errors import Denied, VerificationFailed
from service.login import model
from service.login.dependencies import LoginDependencies
from service.login.model import Flow, FlowKind, FlowStatus
from service.policy.model.compiler import supposed
from service.policy.model.decision import Decision, Effect, Facts
from service.risk.model import Reason, SignalFacts
from service.store.engine import Tx

TYPED: Final = frozenset({"password", "totp"})
"""Factors that are typed, so that keystroke timings may come with them."""
_MOVED: Final = "This address leads to this account no more; verify it, or sign in by another name."


class FlowDecisions:
    """Asks the policy about a flow."""

    def __init__(self, dependencies: LoginDependencies) -> None:
        self._dependencies = dependencies

    def decide(self, tx: Tx, flow: Flow) -> Flow:
        """Return the flow as the decision leaves it, with fresh challenges.

        A deferred flow is planned on what was tried, as if all of it had verified, until nothing
        more is asked; then the verdict falls on all of it at once.
        """
        flow, active = self._looked_over(tx, flow)
        if flow.deferring:
            planned = self._plan(tx, flow)
            if planned.effect is not Effect.ALLOW:
                return self.challenged(tx, model.apply(flow, planned))
            flow = model.verdict(self._used_up(tx, flow))
            if flow.status is not FlowStatus.PENDING:
                return self.challenged(tx, flow)
            if not flow.disclosed:
                return self.challenged(tx, model.apply(flow, self._plan(tx, flow)))
        return self._decided(tx, flow, active)

    def _used_up(self, tx: Tx, flow: Flow) -> Flow:
        """Use up what a round has shown, once all of it verified: all of it or nothing."""
        if not flow.tried or not all(verified for _, verified in flow.tried):
            return flow
        now = self._dependencies.clock.now()
        try:
            with tx.begin_nested():
                for (name, _), match in zip(flow.tried, flow.matches, strict=True):
                    factor = self._dependencies.factors[name]
                    factor.consume(tx, factor.kept(match), now)
        except VerificationFailed:
            return model.spoil(flow)
        return flow

    def still(self, tx: Tx, flow: Flow) -> Flow:
        """Return the flow with the evidence that is worth something now.

        What an authenticator gave that is not active any more is not, nor what was brought along
        from a session that is over. Where nothing of it may be told, it costs the same without any.
        """
        return self._looked_over(tx, flow)[0]

    def _looked_over(self, tx: Tx, flow: Flow) -> tuple[Flow, Mapping[UUID, str] | None]:
        """Return the same, and what is active, where that had to be read."""
        if not flow.evidence and not flow.deferring:
            return flow, None
        terms, dependencies = flow.terms, self._dependencies
        active = dependencies.authenticators.active(tx, terms.subject)
        # The code of a recovery is no authenticator: the flow ends as it is used up.
        codes = {item.authenticator for item in flow.evidence if item.factor == HELP_DESK}
        found = worth(flow.evidence, dependencies.clock.now(), {*active, *codes}).evidence
        if terms.session and not dependencies.tokens.stands(tx, terms.session, terms.token):
            found = tuple(item for item in found if item.flow == str(flow.id))
        return replace(flow, evidence=found), active

    def shown_afresh(self, flow: Flow, evidence: Sequence[Evidence] | None = None) -> Acr:
        """Return the level of what was verified in this flow alone.

        What a session brought along says nothing about who is here now.

        Args:
            flow: A flow that `still` has looked over.
            evidence: That part of its evidence which is to count, where not all of it is.
        """
        own = flow.own_evidence if evidence is None else evidence
        active = {item.authenticator for item in own}
        return worth(own, self._dependencies.clock.now(), active).level.acr

    def seen(self, flow: Flow, segment: str) -> SignalFacts:
        """Return what signals may look at."""
        terms, now, own = flow.terms, self._dependencies.clock.now(), flow.own_evidence
        passwords = [item.authenticator for item in own if item.factor == "password"]
        return SignalFacts(
            subject=terms.subject,
            flow=str(flow.id),
            client=terms.client,
            segment=segment,
            now=now,
            client_context=terms.client_context,
            samples=flow.samples,
            shown=tuple(item.factor for item in own),
            known_device=terms.device is not None,
            readings=flow.readings,
            password=passwords[-1] if passwords else None,
            level=self.shown_afresh(flow),
        )

    def segments(self, tx: Tx, flow: Flow) -> tuple[str, ...]:
        """Return the subject's segment; before it may be told, all that the client serves."""
        if not flow.disclosing:
            return flow.terms.segments
        return (self._dependencies.accounts.get(tx, flow.terms.subject).segment,)

    def challenged(self, tx: Tx, flow: Flow, segments: tuple[str, ...] | None = None) -> Flow:
        """Give every legal action a fresh challenge; the old ones are void.

        Args:
            tx: A unit of work.
            flow: The flow.
            segments: What `segments` would return, where it is known already.
        """
        fresh: dict[str, dict[str, Any]] = {}
        for name in flow.actions:
            if name != model.BACK:
                fresh[name] = self._challenge(tx, flow, name, segments)
            if name in TYPED:
                fresh[name] |= {"capture_id": opaque.random_bytes(16).hex()}
        return replace(flow, challenges=fresh)

    def _challenge(
        self, tx: Tx, flow: Flow, name: str, segments: tuple[str, ...] | None
    ) -> dict[str, Any]:
        factor = self._dependencies.factors[name]
        # Only a biometric is told to show more or less by segment; the others need no look-up.
        if factor.kind is not Kind.INHERENCE:
            return factor.challenge(())
        return factor.challenge(segments or self.segments(tx, flow))

    def cleared(self, tx: Tx, flow: Flow, segment: str) -> None:
        """Let go of what is held against the subject, where this flow was strong enough."""
        dependencies, subject = self._dependencies, flow.terms.subject
        if not flow.held:
            return
        level = self.shown_afresh(flow, self.established(tx, flow.own_evidence, segment))
        if dependencies.policies.clears(segment, level, self._enrolled(tx, subject)):
            dependencies.standing.clear(tx, subject, f"flow:{flow.id}")

    def established(
        self, tx: Tx, evidence: Sequence[Evidence], segment: str
    ) -> tuple[Evidence, ...]:
        """Return the evidence that no young authenticator gave.

        Whatever a young one may not do is decided on this: clearing risk, lifting a suspension,
        and, with transactions, approving a payment of high risk.
        """
        young = self._dependencies.policies.cooldown(segment)
        named = {item.authenticator for item in evidence}
        old = self._dependencies.authenticators.established(tx, named, young)
        return tuple(item for item in evidence if item.authenticator in old)

    def too_young(self, tx: Tx, flow: Flow) -> Denied | None:
        """Return why a completed flow gives no grant, where its authenticators are too young."""
        if flow.terms.act != LIFTING:
            return None
        segment = self._dependencies.accounts.get(tx, flow.terms.subject).segment
        proven, now = self.established(tx, flow.evidence, segment), self._dependencies.clock.now()
        active = {item.authenticator for item in proven}
        if worth(proven, now, active, flow.terms.max_age).level.acr >= flow.required:
            return None
        hours = int(self._dependencies.policies.cooldown(segment).total_seconds() // 3600)
        detail = f"An authenticator younger than {hours} hours does not lift a suspension."
        return Denied("young_authenticator", detail)

    def unproven(self, kind: FlowKind, segments: Sequence[str]) -> tuple[str, ...]:
        """Return the segments, of those that a client serves, in which an unverified e-mail leads.

        It leads a login only: nobody recovers an account by an address that proves nothing.
        """
        if kind is not FlowKind.LOGIN:
            return ()
        return tuple(
            name for name in segments if self._dependencies.policies.admits_unverified(name)
        )

    def led(self, tx: Tx, flow: Flow) -> Lead:
        """Tell how the address that a login began with leads to its subject now."""
        terms = flow.terms
        if not terms.address:
            return Lead.PROOF
        unproven = self.unproven(terms.kind, terms.segments)
        return self._dependencies.accounts.leading.led(tx, terms.subject, terms.address, unproven)

    def enrollable(self, tx: Tx, subject: UUID, segment: str) -> tuple[str, ...]:
        """Return the types that a subject may enroll, which policy accepts and this can check."""
        usable = self._dependencies.policies.accepts(segment) & self._available()
        lacking = self._dependencies.authenticators.lacking(tx, subject)
        return tuple(kind for kind in lacking if FACTOR_OF_TYPE[kind] in usable)

    def offered(
        self, tx: Tx, flow: Flow, segment: str, enrollable: Sequence[str]
    ) -> tuple[str, ...]:
        """Return the types that a login which completes gives a grant for.

        Of those that the person may enroll, what policy offers and the person has none of; and
        only where an enrollment flow that began with what was shown here would complete at once,
        at the highest level that the person reaches: to be asked here is no weaker ground.
        """
        dependencies, subject = self._dependencies, flow.terms.subject
        wanted = dependencies.policies.offers(segment).intersection(enrollable)
        enrolled = self._enrolled(tx, subject) if wanted else frozenset()
        lacked = tuple(
            kind for kind in enrollable if kind in wanted and FACTOR_OF_TYPE[kind] not in enrolled
        )
        if not lacked:
            return ()
        facts = self._facts(tx, flow, flow.own_evidence)
        highest = dependencies.policies.reachable(segment, facts.enrolled)
        judged = dependencies.policies.judge(
            replace(facts, purpose=FlowKind.ENROLLMENT.value, requested=highest, max_age=None)
        )
        if judged.decision.effect is not Effect.ALLOW:
            return ()
        dependencies.policies.record(tx, subject, judged)
        return lacked

    def _decided(self, tx: Tx, flow: Flow, active: Mapping[UUID, str] | None) -> Flow:
        dependencies, subject = self._dependencies, flow.terms.subject
        judged = dependencies.policies.judge(self._facts(tx, flow, flow.evidence, active))
        decision, facts = judged.decision, judged.facts
        # Before that the answer depends on client and policy only: there is nobody to keep it of.
        if flow.disclosing:
            dependencies.policies.record(tx, subject, judged)
            dependencies.standing.hold(tx, subject, decision, facts.standing)
            flow = replace(flow, held=min(decision.hold, facts.standing) < 0)
        if decision.effect is Effect.SUSPEND:
            self._suspend(tx, subject)
        if decision.effect is Effect.ALLOW and self.led(tx, flow) is Lead.NOWHERE:
            decision = _moved(decision)
        segments = (facts.segment,) if flow.disclosing else None
        return self.challenged(tx, model.apply(flow, decision), segments)

    def _plan(self, tx: Tx, flow: Flow) -> Decision:
        claimed = tuple(supposed(factor) for factor, _ in flow.tried)
        # Nothing that a try has left may show in what is asked for next.
        facts = self._facts(tx, model.undisclosed(flow), (*flow.brought, *claimed))
        return self._dependencies.policies.judge(facts).decision

    def _facts(
        self,
        tx: Tx,
        flow: Flow,
        evidence: tuple[Evidence, ...],
        active: Mapping[UUID, str] | None = None,
    ) -> Facts:
        dependencies, terms = self._dependencies, flow.terms
        facts = Facts(
            purpose=terms.kind.value,
            segment=terms.segment,
            evidence=evidence,
            enrolled=self._available(),
            assessments=(),
            requested=terms.requested,
            max_age=terms.max_age,
            now=dependencies.clock.now(),
            disclosed=flow.disclosing,
            proven=bool(flow.own_evidence) and not flow.deferring,
            context={"client": str(terms.client)},
        )
        if not flow.disclosing:
            return facts
        account = dependencies.accounts.get(tx, terms.subject)
        return replace(
            facts,
            segment=account.segment,
            suspended=not account.may_sign_in,
            enrolled=facts.enrolled & self._enrolled(tx, terms.subject, active),
            assessments=dependencies.signals.assess(tx, self.seen(flow, account.segment)),
            standing=dependencies.standing.of(tx, terms.subject),
            context={**facts.context, "known_device": terms.device is not None},
        )

    def _enrolled(
        self, tx: Tx, subject: UUID, active: Mapping[UUID, str] | None = None
    ) -> frozenset[str]:
        if active is None:
            active = self._dependencies.authenticators.active(tx, subject)
        return frozenset(FACTOR_OF_TYPE[name] for name in active.values())

    def _available(self) -> frozenset[str]:
        factors = self._dependencies.factors
        return frozenset(name for name, factor in factors.items() if factor.available())

    def _suspend(self, tx: Tx, subject: UUID) -> None:
        self._dependencies.accounts.suspend(tx, subject, "login", "risk", "policy")


def _moved(decision: Decision) -> Decision:
    """Return the end of a login whose address leads to its subject no more.

    Somebody has verified or claimed the same meanwhile, or the subject has let go of it.
    """
    reason = Reason("identifier_moved", "policy", 0.0, _MOVED)
    return replace(decision, effect=Effect.DENY, reasons=(*decision.reasons, reason))
