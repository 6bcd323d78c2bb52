"""Decide about a flow: collect facts, assess signals, record and apply the decision."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from crypto import opaque
from service.accounts.model import LIFTING, Lead
from service.domain.assurance import Acr, Evidence, Kind, current_assurance
from service.domain.authenticator import FACTOR_OF_TYPE, HELP_DESK
from service.domain.errors import Denied, VerificationFailed
from service.login import model
from service.login.dependencies import LoginDependencies
from service.login.model import Flow, FlowKind, FlowStatus
from service.policy.model.compiler import supposed
from service.policy.model.decision import Decision, Effect, Facts
from service.risk.model import Reason, SignalFacts
from service.store.engine import Tx
from service.store.moment import moment

TYPED: Final = frozenset({"password", "totp"})
"""Factors with typed input, which may come with keystroke timings."""
_MOVED: Final = "This address no longer leads to this account; verify it or use another identifier."


class FlowDecisions:
    """Evaluates the policy for flows."""

    def __init__(self, dependencies: LoginDependencies) -> None:
        self._dependencies = dependencies

    def decide(self, tx: Tx, flow: Flow) -> Flow:
        """Return the flow after the policy's decision, with new challenges.

        A deferred flow is planned as if every tried factor had verified, until no further factor is
        required; then the verdict on all of them is made at once.
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
        """Consume the matches of a round if all of them verified: all or none."""
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
        """Return the flow with only the evidence that currently counts.

        Evidence of authenticators that are no longer active does not count, nor does evidence of a
        session that has ended. A flow that must not disclose takes the same time without evidence.
        """
        return self._looked_over(tx, flow)[0]

    def _looked_over(self, tx: Tx, flow: Flow) -> tuple[Flow, Mapping[UUID, str] | None]:
        """Return the flow with its current evidence, and the active authenticators if read."""
        if not flow.evidence and not flow.deferring:
            return flow, None
        terms = flow.terms
        dependencies = self._dependencies
        active = dependencies.authenticators.active(tx, terms.subject)
        # A recovery's code is not an authenticator: its use ends the flow.
        codes = {item.authenticator for item in flow.evidence if item.factor == HELP_DESK}
        found = current_assurance(
            flow.evidence, dependencies.clock.now(), {*active, *codes}
        ).evidence
        if terms.session and not dependencies.tokens.is_active(tx, terms.session, terms.token):
            found = tuple(item for item in found if item.flow == str(flow.id))
        return replace(flow, evidence=found), active

    def shown_afresh(self, flow: Flow, evidence: Sequence[Evidence] | None = None) -> Acr:
        """Return the level of the evidence from this flow alone.

        Evidence from an earlier session does not prove who is present now.

        Args:
            flow: A flow returned by `still`.
            evidence: The part of its evidence to count; None for all.
        """
        own = flow.own_evidence if evidence is None else evidence
        active = {item.authenticator for item in own}
        return current_assurance(own, self._dependencies.clock.now(), active).level.acr

    def seen(self, tx: Tx, flow: Flow, segment: str) -> SignalFacts:
        """Return the facts that signals may use."""
        terms = flow.terms
        now = moment(tx, self._dependencies.clock)
        own = flow.own_evidence
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
        """Return the subject's segment; before disclosure, all that the client serves."""
        if not flow.disclosing:
            return flow.terms.segments
        return (self._dependencies.accounts.get(tx, flow.terms.subject).segment,)

    def challenged(self, tx: Tx, flow: Flow, segments: tuple[str, ...] | None = None) -> Flow:
        """Issue a new challenge for every legal action; old ones become void.

        Args:
            tx: A transaction.
            flow: The flow.
            segments: The result of `segments`, if already known.
        """
        fresh: dict[str, Mapping[str, object]] = {}
        for name in flow.actions:
            if name != model.BACK:
                fresh[name] = self._challenge(tx, flow, name, segments)
            if name in TYPED:
                fresh[name] = {**fresh[name], "capture_id": opaque.random_bytes(16).hex()}
        return replace(flow, challenges=fresh)

    def _challenge(
        self, tx: Tx, flow: Flow, name: str, segments: tuple[str, ...] | None
    ) -> Mapping[str, object]:
        factor = self._dependencies.factors[name]
        # Only biometric challenges depend on the segment; the others need no query.
        if factor.kind is not Kind.INHERENCE:
            return factor.challenge(())
        return factor.challenge(segments or self.segments(tx, flow))

    def cleared(self, tx: Tx, flow: Flow, segment: str) -> None:
        """Clear the subject's risk if this flow authenticated strongly enough."""
        dependencies = self._dependencies
        subject = flow.terms.subject
        if not flow.held:
            return
        level = self.shown_afresh(flow, self.established(tx, flow.own_evidence, segment))
        if dependencies.policies.clears(segment, level, self._enrolled(tx, subject)):
            dependencies.standing.clear(tx, subject, f"flow:{flow.id}")

    def established(
        self, tx: Tx, evidence: Sequence[Evidence], segment: str
    ) -> tuple[Evidence, ...]:
        """Return the evidence of authenticators that are past their cool-down.

        Acts denied to an authenticator in its cool-down depend on this: clearing risk, lifting a
        suspension, and, with transactions, approving a payment of high risk.
        """
        young = self._dependencies.policies.cooldown(segment)
        named = {item.authenticator for item in evidence}
        old = self._dependencies.authenticators.established(tx, named, young)
        return tuple(item for item in evidence if item.authenticator in old)

    def too_young(self, tx: Tx, flow: Flow) -> Denied | None:
        """Return the refusal of a grant if the authenticators are in their cool-down."""
        if flow.terms.act != LIFTING:
            return None
        segment = self._dependencies.accounts.get(tx, flow.terms.subject).segment
        proven = self.established(tx, flow.evidence, segment)
        now = self._dependencies.clock.now()
        active = {item.authenticator for item in proven}
        if current_assurance(proven, now, active, flow.terms.max_age).level.acr >= flow.required:
            return None
        hours = int(self._dependencies.policies.cooldown(segment).total_seconds() // 3600)
        detail = f"An authenticator younger than {hours} hours cannot lift a suspension."
        return Denied("young_authenticator", detail)

    def unproven(self, kind: FlowKind, segments: Sequence[str]) -> tuple[str, ...]:
        """Return the client's segments in which an unverified e-mail address leads to a subject.

        Only for a login: an unverified address must not recover an account.
        """
        if kind is not FlowKind.LOGIN:
            return ()
        return tuple(
            name for name in segments if self._dependencies.policies.admits_unverified(name)
        )

    def led(self, tx: Tx, flow: Flow) -> Lead:
        """Return how the identifier of a login leads to its subject now."""
        terms = flow.terms
        if not terms.address:
            return Lead.PROOF
        unproven = self.unproven(terms.kind, terms.segments)
        return self._dependencies.accounts.leading.lead_of(
            tx, terms.subject, terms.address, unproven
        )

    def enrollable(self, tx: Tx, subject: UUID, segment: str) -> tuple[str, ...]:
        """Return the types that a subject may enroll: accepted by policy and available here."""
        usable = self._dependencies.policies.accepts(segment) & self._available()
        lacking = self._dependencies.authenticators.lacking(tx, subject)
        return tuple(kind for kind in lacking if FACTOR_OF_TYPE[kind] in usable)

    def offered(
        self, tx: Tx, flow: Flow, segment: str, enrollable: Sequence[str]
    ) -> tuple[str, ...]:
        """Return the types for which a completing login issues a grant.

        They are enrollable, offered by policy, and the subject has none of them. They also require
        that an enrollment flow with this evidence would complete at once, at the subject's highest
        reachable level, so that this way is no weaker than an enrollment flow.
        """
        dependencies = self._dependencies
        subject = flow.terms.subject
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
        dependencies = self._dependencies
        subject = flow.terms.subject
        judged = dependencies.policies.judge(self._facts(tx, flow, flow.evidence, active))
        decision = judged.decision
        facts = judged.facts
        # Before disclosure the decision depends on client and policy only: no subject to record.
        if flow.disclosing:
            passing = dependencies.policies.record(tx, subject, judged)
            if passing:
                dependencies.audit.mention(tx, decision=passing)
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
        # The next required factor must not depend on the result of a tried one.
        facts = self._facts(tx, model.undisclosed(flow), (*flow.brought, *claimed))
        return self._dependencies.policies.judge(facts).decision

    def _facts(
        self,
        tx: Tx,
        flow: Flow,
        evidence: tuple[Evidence, ...],
        active: Mapping[UUID, str] | None = None,
    ) -> Facts:
        dependencies = self._dependencies
        terms = flow.terms
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
            assessments=dependencies.signals.assess(tx, self.seen(tx, flow, account.segment)),
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
        self._dependencies.suspensions.suspend(
            tx, subject, capability="login", reason="risk", actor="policy"
        )


def _moved(decision: Decision) -> Decision:
    """Return the denial of a login with an identifier that no longer leads to its subject.

    Another subject has verified or claimed it meanwhile, or the subject has removed it.
    """
    reason = Reason("identifier_moved", "policy", 0.0, _MOVED)
    return replace(decision, effect=Effect.DENY, reasons=(*decision.reasons, reason))
