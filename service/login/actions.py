"""Begin a flow, act in it, cancel it; no transaction is open during a slow check."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

from crypto import opaque
from service.accounts.model import Account
from service.authenticators.actions import RECOVERY_ACT
from service.authenticators.factor import Factor, Match, Presented
from service.domain.assurance import Evidence, Kind
from service.domain.caller import Caller
from service.domain.errors import (
    BadInput,
    Conflict,
    Denied,
    Expired,
    Fault,
    Throttled,
    Unavailable,
    VerificationFailed,
)
from service.domain.ids import DECOY
from service.login import model, store
from service.login.completing import Completing, no_session
from service.login.decisions import TYPED, FlowDecisions
from service.login.dependencies import LoginDependencies
from service.login.holding import held, no_flow
from service.login.model import Begin, Flow, FlowKind, FlowOutcome, FlowRequest, FlowStatus
from service.sessions.actions import SessionValue
from service.signals.behavior.schema import Behavior
from service.store.bearer import token_digest
from service.store.engine import Tx
from service.throttling.actions import Reservation
from service.throttling.model import Counter, Lane

_KEPT: Final = timedelta(hours=1)
_MOST_FAULTS: Final = 5
"""The maximum number of reported faults per sample."""


@dataclass(kw_only=True, frozen=True, slots=True)
class _Attempt:
    """A reserved attempt during its check."""

    flow: Flow
    factor: Factor
    reservation: Reservation | None
    """None if it is counted only on failure."""
    presented: Presented = field(repr=False)
    sample: Behavior | None = field(repr=False)
    first_party: bool = False
    record: Mapping[str, Any] = field(default_factory=dict)
    """The audit record of the presented values."""


class Login:
    """The layered login flow."""

    def __init__(self, dependencies: LoginDependencies) -> None:
        self._dependencies = dependencies
        self._decisions = FlowDecisions(dependencies)
        self._completing = Completing(dependencies, self._decisions)

    def begin(self, caller: Caller, wanted: Begin) -> FlowOutcome:
        """Begin a flow; an unknown identifier makes no visible difference.

        Raises:
            NotFound: The access token does not prove an active session of this client.
        """
        dependencies, now = self._dependencies, self._dependencies.clock.now()
        with dependencies.database.transaction() as tx:
            terms, evidence = self._terms(tx, caller, wanted)
            flow = Flow(id=_flow_id(), terms=terms, began_at=now, active_at=now, evidence=evidence)
            flow = self._decisions.decide(tx, flow)
            token = opaque.new_token("lflow_")
            store.add(tx, flow, _digest(tx, flow.id, token))
            self._note(tx, flow, "flow.begun")
            done = self._conclude(tx, flow, first_party=caller.first_party)
            return replace(done, flow_token=token)

    def act(
        self,
        caller: Caller,
        *,
        flow_id: UUID,
        token: str,
        name: str,
        values: Mapping[str, Any],
        revision: int | None = None,
    ) -> FlowOutcome:
        """Verify one factor, or go back.

        Raises:
            NotFound: There is no such flow for this client and token.
            Conflict: The flow has changed, or the action is not legal now.
            Expired: The flow has expired.
            Throttled: The account is delayed.
        """
        values, aside = self._sampled(name, values)
        outcome = self._act(
            caller, flow_id=flow_id, token=token, name=name, values=values, revision=revision
        )
        return replace(outcome, aside=(*aside, *outcome.aside))

    def _sampled(
        self, name: str, values: Mapping[str, Any]
    ) -> tuple[Mapping[str, Any], tuple[Fault, ...]]:
        """Return the input with its sample parsed, and the faults of a sample that was ignored.

        Timings are evidence, not input of the person: a key without a release event, or a device
        that counts wrongly, must not prevent a login with the correct password.
        """
        if name not in TYPED or "behavior" not in values:
            return values, ()
        rest = {key: value for key, value in values.items() if key != "behavior"}
        try:
            sample = self._dependencies.behaviors.parse(values["behavior"], "/behavior")
        except BadInput as unfit:
            return rest, unfit.faults[:_MOST_FAULTS]
        return rest | {"behavior": sample}, ()

    def _act(
        self,
        caller: Caller,
        *,
        flow_id: UUID,
        token: str,
        name: str,
        values: Mapping[str, Any],
        revision: int | None,
    ) -> FlowOutcome:
        dependencies = self._dependencies
        with dependencies.database.transaction() as tx:
            flow = self._open(tx, caller, flow_id=flow_id, token=token, revision=revision)
            if name not in flow.actions:
                raise _not_legal(flow)
            if name == model.BACK:
                return self._back(tx, held(tx, dependencies.accounts, flow), values)
            factor = dependencies.factors[name]
            # Lock the subject before the counter (ADR 6); for a slow check, after the check.
            flow = flow if factor.slow else held(tx, dependencies.accounts, flow)
            attempt = self._reserve(tx, flow, factor, values)
            attempt = replace(attempt, first_party=caller.first_party)
            material = attempt.factor.load(tx, flow.terms.subject)
            if not attempt.factor.slow:
                return self._settle(tx, attempt, *self._check(attempt, material))
        outcome = self._act_slowly(attempt, material)
        # Report these faults whether or not the check matched, as they must not reveal it.
        return replace(outcome, aside=attempt.factor.aside(attempt.presented))

    def get(self, caller: Caller, flow_id: UUID, token: str) -> Flow:
        """Return a flow in its current state; raises NotFound."""
        with self._dependencies.database.transaction(read=True) as tx:
            return self._decisions.still(tx, self._find(tx, caller, flow_id, token))

    def cancel(self, caller: Caller, flow_id: UUID, token: str) -> None:
        """Cancel a flow; an ended one stays unchanged. Raises NotFound."""
        with self._dependencies.database.transaction() as tx:
            # The lock waits for a concurrent action in the flow, which is no reason to refuse.
            flow = self._find(tx, caller, flow_id, token, lock=True)
            if flow.status is FlowStatus.PENDING:
                self._note(tx, store.save(tx, model.cancel(flow)), "flow.cancelled")

    def drop_ended(self, tx: Tx, now: datetime) -> int:
        """Delete flows that ended an hour ago; return how many."""
        return store.drop_ended(tx, now - _KEPT)

    def _terms(
        self, tx: Tx, caller: Caller, wanted: Begin
    ) -> tuple[FlowRequest, tuple[Evidence, ...]]:
        session, token = None, None
        address: tuple[tuple[int, bytes], ...] = ()
        if wanted.kind in {FlowKind.STEP_UP, FlowKind.ENROLLMENT}:
            # Such a flow may complete at once. The subject to lock is known only from the session,
            # which may have ended while this waited for the lock.
            self._dependencies.accounts.hold(tx, self._session(tx, caller, wanted)[0].subject)
            session, token = self._session(tx, caller, wanted)
            account: Account | None = self._dependencies.accounts.get(tx, session.subject)
            counter = f"subject:{session.subject}"
        else:
            unproven = self._decisions.unproven(wanted.kind, caller.segments)
            found = self._dependencies.accounts.find(tx, wanted.identifier, unproven)
            account, counter, address = found.account, found.counter, found.digests
            # To this client, a subject of a segment that it does not serve is unknown.
            account = account if account and account.segment in caller.segments else None
        subject = account.id if account else DECOY
        device = self._dependencies.devices.recognize(tx, wanted.device_token, subject)
        deferred, one_bucket = self._dependencies.policies.ways(caller.segments)
        act = RECOVERY_ACT if wanted.kind is FlowKind.RECOVERY else wanted.act
        terms = FlowRequest(
            kind=wanted.kind,
            client=caller.client,
            subject=subject,
            known=account is not None,
            bucket=self._dependencies.throttling.bucket(tx, counter),
            lane=Lane.KNOWN_DEVICE if device and not one_bucket else Lane.STRANGER,
            segment=caller.segments[0],
            segments=caller.segments,
            requested=wanted.requested,
            max_age=wanted.max_age,
            act=act,
            session=session.id if session else None,
            device=(device.id, device.generation) if device else None,
            client_context=replace(wanted.client_context, asserted=caller.asserts_context),
            deferred=deferred,
            token=token,
            address=address,
            lifetime=self._dependencies.lifetime,
            idle=self._dependencies.idle,
        )
        return terms, session.evidence if session else ()

    def _session(self, tx: Tx, caller: Caller, wanted: Begin) -> tuple[SessionValue, UUID]:
        """Return the session that an access token proves, with its subject locked."""
        found = self._dependencies.tokens.session_of(tx, wanted.access_token, caller.client)
        if found is None:
            raise no_session()
        return found

    def _find(
        self, tx: Tx, caller: Caller, flow_id: UUID, token: str, *, lock: bool = False
    ) -> Flow:
        found = store.find(tx, flow_id, lock=lock)
        if found is not None:
            flow, client, digest = found
            proven = opaque.equal(digest, _digest(tx, flow_id, token))
            if proven and client == caller.client:
                return model.aged(flow, self._dependencies.clock.now())
        raise no_flow()

    def _open(
        self, tx: Tx, caller: Caller, *, flow_id: UUID, token: str, revision: int | None
    ) -> Flow:
        flow = self._find(tx, caller, flow_id, token)
        if flow.status is FlowStatus.EXPIRED:
            raise Expired("flow_expired", "This flow has expired; begin another.")
        if flow.status is not FlowStatus.PENDING:
            raise Conflict("flow_ended", f"This flow is {flow.status.value}; begin another.")
        if revision is not None and revision != flow.revision:
            raise store.moved()
        if flow.terms.session:
            self._dependencies.accounts.hold(tx, flow.terms.subject)
            self._completing.require_session(tx, flow.terms)
        if wait := model.waits(flow, self._dependencies.clock.now()):
            raise Throttled(wait)
        return flow

    def _back(self, tx: Tx, flow: Flow, values: Mapping[str, Any]) -> FlowOutcome:
        if values:
            raise BadInput(Fault("", "extra_forbidden", "back takes no input"))
        flow = self._decisions.decide(tx, model.back(flow))
        return FlowOutcome(flow=store.save(tx, flow))

    def _reserve(self, tx: Tx, flow: Flow, factor: Factor, values: Mapping[str, Any]) -> _Attempt:
        rest = dict(values)
        sample = rest.pop("behavior", None) if factor.name in TYPED else None
        challenge = flow.challenges.get(factor.name, {})
        # A sample for another challenge, or for none, is a replay and is not stored.
        if sample is not None and sample.capture_id != challenge.get("capture_id"):
            sample = None
        segments = self._decisions.segments(tx, flow) if factor.kind is Kind.INHERENCE else ()
        presented = Presented(factor.parse(rest), challenge, segments)
        attempt = _Attempt(
            flow=model.reserve(flow),
            factor=factor,
            reservation=None,
            presented=presented,
            sample=sample,
        )
        if factor.slow or flow.deferring:
            # Checks may be concurrent, or the attempt stays counted until the round is disclosed.
            return replace(attempt, reservation=self._counted(tx, attempt))
        throttling, terms = self._dependencies.throttling, flow.terms
        with self._throttled(factor):
            throttling.require(tx, terms.bucket, Lane(terms.lane), _counter(attempt))
        return attempt

    def _counted(self, tx: Tx, attempt: _Attempt) -> Reservation:
        throttling, terms = self._dependencies.throttling, attempt.flow.terms
        with self._throttled(attempt.factor):
            return throttling.reserve(tx, terms.bucket, Lane(terms.lane), _counter(attempt))

    @contextmanager
    def _throttled(self, factor: Factor) -> Iterator[None]:
        try:
            yield
        except Throttled:
            self._dependencies.metrics.factors.labels(factor.name, "throttled").inc()
            raise

    def _check(
        self, attempt: _Attempt, material: object
    ) -> tuple[Match | None, VerificationFailed | None]:
        try:
            now = self._dependencies.clock.now()
            return attempt.factor.check(material, attempt.presented, now), None
        except VerificationFailed as failure:
            return None, failure

    def _act_slowly(self, attempt: _Attempt, material: object) -> FlowOutcome:
        """Check outside every transaction; unreadable input counts for the flow only.

        It counts there because it issues a new challenge: otherwise one could redraw challenges
        until a wanted one comes. The attempt is already in the committed counter; the flow is saved
        once, after the check, guarded by its revision: of concurrent checks only one is accepted.
        """
        database = self._dependencies.database
        database.outside()
        attempt = replace(attempt, record=attempt.factor.record(attempt.presented))
        try:
            match, failure = self._check(attempt, material)
        except (BadInput, Unavailable) as refused:
            return database.unit(partial(self._unread, attempt, refused))
        try:
            return database.unit(partial(self._settle_held, attempt, match, failure))
        except Conflict:
            with database.transaction() as tx:
                self._note(
                    tx, attempt.flow, "factor.outrun", factor=attempt.factor.name, **attempt.record
                )
            raise

    def _unread(self, attempt: _Attempt, refused: BadInput | Unavailable, tx: Tx) -> FlowOutcome:
        away, flow = (
            isinstance(refused, Unavailable),
            held(tx, self._dependencies.accounts, attempt.flow),
        )
        self._release(tx, attempt)
        flow = model.release(flow) if away else model.fail(flow, self._dependencies.clock.now())
        return FlowOutcome(
            flow=store.save(tx, self._decisions.challenged(tx, flow)), refusal=refused
        )

    def _settle_held(
        self, attempt: _Attempt, match: Match | None, failure: VerificationFailed | None, tx: Tx
    ) -> FlowOutcome:
        attempt = replace(attempt, flow=held(tx, self._dependencies.accounts, attempt.flow))
        return self._settle(tx, attempt, match, failure)

    def _settle(
        self, tx: Tx, attempt: _Attempt, match: Match | None, failure: VerificationFailed | None
    ) -> FlowOutcome:
        if match is not None and not attempt.flow.terms.known:
            match, failure = None, VerificationFailed("unknown_subject")
        if attempt.flow.deferring:
            return self._deferred(tx, attempt, match)
        if match is not None:
            try:
                attempt.factor.consume(tx, match, self._dependencies.clock.now())
            except VerificationFailed as used:
                match, failure = None, used
        if match is None:
            return self._failed(tx, attempt, failure or VerificationFailed("no_match"))
        return self._verified(tx, attempt, match)

    def _failed(self, tx: Tx, attempt: _Attempt, failure: VerificationFailed) -> FlowOutcome:
        if attempt.reservation is None:
            terms = attempt.flow.terms
            self._dependencies.throttling.failed(
                tx, terms.bucket, Lane(terms.lane), _counter(attempt)
            )
        flow = model.fail(self._decisions.still(tx, attempt.flow), self._dependencies.clock.now())
        flow = store.save(tx, self._decisions.challenged(tx, flow))
        self._dependencies.signals.failed(tx, self._decisions.seen(flow, flow.terms.segment))
        self._count(attempt, "failed")
        self._note(
            tx,
            flow,
            "factor.failed",
            factor=attempt.factor.name,
            reason=failure.reason,
            **attempt.record,
        )
        if flow.terms.session and not flow.terms.deferred:
            failure.extra |= failure.holder
        return FlowOutcome(flow=flow, refusal=failure)

    def _deferred(self, tx: Tx, attempt: _Attempt, match: Match | None) -> FlowOutcome:
        """Continue without disclosing the result; at the end of the round disclose all at once.

        Until then nothing observable depends on the results: nothing is consumed, no last use is
        recorded, and metrics and log report only that a factor was tried. All attempts stay counted
        until the flow completes, because undoing one would reveal its result.
        """
        now, name = self._dependencies.clock.now(), attempt.factor.name
        evidence = self._evidence(attempt, match, now) if match else None
        kept = attempt.factor.keep(match) if match else {}
        flow = model.defer(attempt.flow, factor=name, evidence=evidence, match=kept, now=now)
        flow = _with_readings(flow, attempt, match)
        flow = self._with_sample(tx, flow, attempt, keep=match is not None)
        tried = flow.tried
        flow = store.save(tx, self._decisions.decide(tx, flow))
        self._count(attempt, "tried")
        self._note(tx, flow, "factor.tried", factor=name, **attempt.record)
        if flow.disclosed or not flow.tried:
            self._tell(tx, flow, tried)
        if flow.disclosed or flow.tried:
            return self._conclude(tx, flow, first_party=attempt.first_party)
        self._dependencies.signals.failed(tx, self._decisions.seen(flow, flow.terms.segment))
        return FlowOutcome(flow=flow, refusal=VerificationFailed("deferred"))

    def _tell(self, tx: Tx, flow: Flow, tried: tuple[tuple[str, bool], ...]) -> None:
        """Record the result of a completed round."""
        self._dependencies.metrics.factors.labels(
            "round", "verified" if flow.disclosed else "failed"
        ).inc()
        failed = [factor for factor, verified in tried if not verified]
        self._note(
            tx,
            flow,
            "round.verified" if flow.disclosed else "round.failed",
            factors=[factor for factor, _ in tried],
            failed=failed,
        )

    def _verified(self, tx: Tx, attempt: _Attempt, match: Match) -> FlowOutcome:
        dependencies, factor = self._dependencies, attempt.factor
        now = dependencies.clock.now()
        self._release(tx, attempt)
        flow = model.accept(attempt.flow, self._evidence(attempt, match, now), now)
        flow = _with_readings(flow, attempt, match)
        flow = self._with_sample(tx, flow, attempt, keep=True)
        flow = store.save(tx, self._decisions.decide(tx, flow))
        self._count(attempt, "verified")
        self._note(tx, flow, "factor.verified", factor=factor.name, **attempt.record)
        return self._conclude(tx, flow, first_party=attempt.first_party)

    def _release(self, tx: Tx, attempt: _Attempt) -> None:
        if attempt.reservation is not None:
            self._dependencies.throttling.release(tx, attempt.reservation)

    def _evidence(self, attempt: _Attempt, match: Match, now: datetime) -> Evidence:
        factor, flow = attempt.factor, attempt.flow
        return Evidence(
            subject=flow.terms.subject,
            flow=str(flow.id),
            factor=factor.name,
            authenticator=match.authenticator,
            kind=factor.kind,
            amr=factor.amr,
            at=now,
            llr=match.llr,
        )

    def _with_sample(self, tx: Tx, flow: Flow, attempt: _Attempt, *, keep: bool) -> Flow:
        """Add the sample of a factor to the flow; it is read even if it is not kept."""
        if attempt.sample is None:
            return flow
        held = self._dependencies.behaviors.admit(tx, flow.terms.subject, attempt.sample)
        if held is None or not keep:
            return flow
        return replace(flow, samples={**flow.samples, attempt.factor.name: held})

    def _conclude(self, tx: Tx, flow: Flow, *, first_party: bool) -> FlowOutcome:
        """Return the outcome of an ended flow; a pending flow continues."""
        if flow.status is FlowStatus.PENDING:
            return FlowOutcome(flow=flow)
        self._dependencies.metrics.flows.labels(flow.terms.kind.value, flow.status.value).inc()
        self._note(
            tx,
            flow,
            f"flow.{flow.status.value}",
            acr=flow.required.urn,
            band=flow.band.label,
            policy=flow.policy,
            reasons=[item.code for item in flow.reasons],
        )
        if flow.status is FlowStatus.COMPLETED:
            return self._completing.completed(tx, flow, first_party=first_party)
        reason = flow.reasons[-1]
        return FlowOutcome(flow=flow, refusal=Denied(reason.code, reason.detail))

    def _count(self, attempt: _Attempt, outcome: str) -> None:
        self._dependencies.metrics.factors.labels(attempt.factor.name, outcome).inc()

    def _note(self, tx: Tx, flow: Flow, kind: str, **data: Any) -> None:  # noqa: ANN401 - JSON members of any kind
        subject = flow.terms.subject if flow.terms.known else None
        self._dependencies.audit.append(
            tx,
            kind,
            subject=subject,
            actor=str(flow.terms.client),
            flow=str(flow.id),
            flow_kind=flow.terms.kind.value,
            **data,
        )


def _with_readings(flow: Flow, attempt: _Attempt, match: Match | None) -> Flow:
    """Add a verified factor's readings, which risk signals assess, to the flow."""
    if match is None or not match.readings:
        return flow
    return replace(flow, readings={**flow.readings, attempt.factor.name: match.readings})


def _counter(attempt: _Attempt) -> Counter:
    return Counter(attempt.factor.counted(attempt.presented.challenge))


def _digest(tx: Tx, flow_id: UUID, token: str) -> bytes:
    """Return the token's digest, bound to its flow, so that it is useless in another flow."""
    return token_digest(tx, token, "flow", flow_id.bytes)


def _flow_id() -> UUID:
    return UUID(bytes=opaque.random_bytes(16))


def _not_legal(flow: Flow) -> Conflict:
    legal = ", ".join(flow.actions) or "none"
    return Conflict("action_not_available", f"This action is not legal now; legal: {legal}.")
