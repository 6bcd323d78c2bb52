"""Verify a factor in a flow: reserve the attempt, check it, settle its result."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Final

from service.authenticators.factor import AnyFactor, Match, Presented
from service.domain.assurance import Evidence, Kind
from service.domain.errors import (
    BadInput,
    Conflict,
    Fault,
    Throttled,
    Unavailable,
    VerificationFailed,
)
from service.login import model, store
from service.login.completing import Completing
from service.login.decisions import TYPED, FlowDecisions
from service.login.dependencies import LoginDependencies
from service.login.holding import locked
from service.login.model import Flow, FlowOutcome
from service.login.noting import note
from service.login.reading import FlowReading
from service.signals.behavior.schema import Behavior
from service.store.engine import Tx
from service.throttling.actions import Reservation
from service.throttling.model import Counter, Lane

_MOST_FAULTS: Final = 5
"""The maximum number of reported faults per sample."""


@dataclass(kw_only=True, frozen=True, slots=True)
class Submitted:
    """The input of an action, apart from the timings of its typing.

    Args:
        values: The input of the factor.
        sample: The timings; None if there are none, or if they were ignored.
        aside: The faults of timings that were ignored.
        first_party: Whether the client may receive grants.
    """

    values: Mapping[str, object] = field(repr=False)
    sample: Behavior | None = field(default=None, repr=False)
    aside: tuple[Fault, ...] = ()
    first_party: bool = False


@dataclass(kw_only=True, frozen=True, slots=True)
class Attempt:
    """A reserved attempt during its check."""

    flow: Flow
    factor: AnyFactor
    reservation: Reservation | None
    """None if it is counted only on failure."""
    presented: Presented[object] = field(repr=False)
    sample: Behavior | None = field(repr=False)
    first_party: bool = False
    record: Mapping[str, str] = field(default_factory=dict)
    """The audit record of the presented values."""


class Attempts:
    """Verifies factors in flows; no transaction is open during a slow check."""

    def __init__(
        self,
        dependencies: LoginDependencies,
        decisions: FlowDecisions,
        completing: Completing,
        reading: FlowReading,
    ) -> None:
        self._reading = reading
        self._dependencies = dependencies
        self._decisions = decisions
        self._completing = completing

    def submitted(self, name: str, values: Mapping[str, object], *, first_party: bool) -> Submitted:
        """Return the input with its sample parsed, and the faults of a sample that was ignored.

        Timings are evidence, not input of the person: a key without a release event, or a device
        that counts wrongly, must not prevent a login with the correct password.
        """
        if name not in TYPED or "behavior" not in values:
            return Submitted(values=values, first_party=first_party)
        rest = {key: value for key, value in values.items() if key != "behavior"}
        try:
            sample = self._dependencies.behaviors.parse(values["behavior"], "/behavior")
        except BadInput as unfit:
            aside = unfit.faults[:_MOST_FAULTS]
            return Submitted(values=rest, aside=aside, first_party=first_party)
        return Submitted(values=rest, sample=sample, first_party=first_party)

    def reserve(self, tx: Tx, flow: Flow, factor: AnyFactor, submitted: Submitted) -> Attempt:
        """Return an attempt that may be checked; raises BadInput or Throttled."""
        sample = submitted.sample
        challenge = flow.challenges.get(factor.name, {})
        # A sample for another challenge, or for none, is a replay and is not stored.
        if sample is not None and sample.capture_id != challenge.get("capture_id"):
            sample = None
        segments = self._decisions.segments(tx, flow) if factor.kind is Kind.INHERENCE else ()
        presented = Presented(factor.parse(submitted.values), challenge, segments)
        attempt = Attempt(
            flow=model.reserve(flow),
            factor=factor,
            reservation=None,
            presented=presented,
            sample=sample,
            first_party=submitted.first_party,
        )
        if factor.slow or flow.deferring:
            # Checks may be concurrent, or the attempt stays counted until the round is disclosed.
            return replace(attempt, reservation=self._counted(tx, attempt))
        throttling = self._dependencies.throttling
        terms = flow.terms
        with self._throttled(factor):
            throttling.require(tx, terms.bucket, Lane(terms.lane), _counter(attempt))
        return attempt

    def _counted(self, tx: Tx, attempt: Attempt) -> Reservation:
        throttling = self._dependencies.throttling
        terms = attempt.flow.terms
        with self._throttled(attempt.factor):
            return throttling.reserve(tx, terms.bucket, Lane(terms.lane), _counter(attempt))

    @contextmanager
    def _throttled(self, factor: AnyFactor) -> Iterator[None]:
        try:
            yield
        except Throttled:
            self._dependencies.metrics.factors.labels(factor.name, "throttled").inc()
            raise

    def _check(
        self, attempt: Attempt, material: object
    ) -> tuple[Match[object] | None, VerificationFailed | None]:
        try:
            now = self._dependencies.clock.now()
            return attempt.factor.verify(material, attempt.presented, now), None
        except VerificationFailed as failure:
            return None, failure

    def act(self, tx: Tx, attempt: Attempt, material: object) -> FlowOutcome:
        """Check within the transaction and settle the result."""
        return self._settle(tx, attempt, *self._check(attempt, material))

    def act_slowly(self, attempt: Attempt, material: object) -> FlowOutcome:
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
                note(
                    self._dependencies.audit,
                    tx,
                    attempt.flow,
                    "factor.outrun",
                    factor=attempt.factor.name,
                    **attempt.record,
                )
            raise

    def _unread(self, attempt: Attempt, refused: BadInput | Unavailable, tx: Tx) -> FlowOutcome:
        away = isinstance(refused, Unavailable)
        flow = locked(tx, self._dependencies.accounts, attempt.flow)
        self._release(tx, attempt)
        flow = model.release(flow) if away else model.fail(flow, self._dependencies.clock.now())
        return FlowOutcome(
            flow=store.save(tx, self._decisions.challenged(tx, flow)), refusal=refused
        )

    def _settle_held(
        self,
        attempt: Attempt,
        match: Match[object] | None,
        failure: VerificationFailed | None,
        tx: Tx,
    ) -> FlowOutcome:
        attempt = replace(attempt, flow=locked(tx, self._dependencies.accounts, attempt.flow))
        if match is not None and not attempt.flow.deferring:
            self._reading.for_decision(tx, attempt.flow)
        return self._settle(tx, attempt, match, failure)

    def _settle(
        self,
        tx: Tx,
        attempt: Attempt,
        match: Match[object] | None,
        failure: VerificationFailed | None,
    ) -> FlowOutcome:
        if match is not None and not attempt.flow.terms.known:
            match = None
            failure = VerificationFailed("unknown_subject")
        if attempt.flow.deferring:
            return self._deferred(tx, attempt, match)
        if match is not None:
            try:
                attempt.factor.consume(tx, match, self._dependencies.clock.now())
            except VerificationFailed as used:
                match = None
                failure = used
        if match is None:
            return self._failed(tx, attempt, failure or VerificationFailed("no_match"))
        return self._verified(tx, attempt, match)

    def _failed(self, tx: Tx, attempt: Attempt, failure: VerificationFailed) -> FlowOutcome:
        if attempt.reservation is None:
            terms = attempt.flow.terms
            self._dependencies.throttling.failed(
                tx, terms.bucket, Lane(terms.lane), _counter(attempt)
            )
        flow = model.fail(self._decisions.still(tx, attempt.flow), self._dependencies.clock.now())
        flow = store.save(tx, self._decisions.challenged(tx, flow))
        self._dependencies.signals.failed(tx, self._decisions.seen(tx, flow, flow.terms.segment))
        self._count(attempt, "failed")
        note(
            self._dependencies.audit,
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

    def _deferred(self, tx: Tx, attempt: Attempt, match: Match[object] | None) -> FlowOutcome:
        """Continue without disclosing the result; at the end of the round disclose all at once.

        Until then nothing observable depends on the results: nothing is consumed, no last use is
        recorded, and metrics and log report only that a factor was tried. All attempts stay counted
        until the flow completes, because undoing one would reveal its result.
        """
        now = self._dependencies.clock.now()
        name = attempt.factor.name
        evidence = self._evidence(attempt, match, now) if match else None
        kept: Mapping[str, object] = attempt.factor.keep(match) if match else {}
        flow = model.defer(attempt.flow, factor=name, evidence=evidence, match=kept, now=now)
        flow = _with_readings(flow, attempt, match)
        flow = self._with_sample(tx, flow, attempt, keep=match is not None)
        tried = flow.tried
        flow = store.save(tx, self._decisions.decide(tx, flow))
        self._count(attempt, "tried")
        note(self._dependencies.audit, tx, flow, "factor.tried", factor=name, **attempt.record)
        if flow.disclosed or not flow.tried:
            self._tell(tx, flow, tried)
        if flow.disclosed or flow.tried:
            return self._completing.conclude(tx, flow, first_party=attempt.first_party)
        self._dependencies.signals.failed(tx, self._decisions.seen(tx, flow, flow.terms.segment))
        return FlowOutcome(flow=flow, refusal=VerificationFailed("deferred"))

    def _tell(self, tx: Tx, flow: Flow, tried: tuple[tuple[str, bool], ...]) -> None:
        """Record the result of a completed round."""
        self._dependencies.metrics.factors.labels(
            "round", "verified" if flow.disclosed else "failed"
        ).inc()
        failed = [factor for factor, verified in tried if not verified]
        note(
            self._dependencies.audit,
            tx,
            flow,
            "round.verified" if flow.disclosed else "round.failed",
            factors=[factor for factor, _ in tried],
            failed=failed,
        )

    def _verified(self, tx: Tx, attempt: Attempt, match: Match[object]) -> FlowOutcome:
        dependencies = self._dependencies
        factor = attempt.factor
        now = dependencies.clock.now()
        self._release(tx, attempt)
        flow = model.accept(attempt.flow, self._evidence(attempt, match, now), now)
        flow = _with_readings(flow, attempt, match)
        flow = self._with_sample(tx, flow, attempt, keep=True)
        flow = store.save(tx, self._decisions.decide(tx, flow))
        self._count(attempt, "verified")
        note(
            self._dependencies.audit,
            tx,
            flow,
            "factor.verified",
            factor=factor.name,
            **attempt.record,
        )
        return self._completing.conclude(tx, flow, first_party=attempt.first_party)

    def _release(self, tx: Tx, attempt: Attempt) -> None:
        if attempt.reservation is not None:
            self._dependencies.throttling.release(tx, attempt.reservation)

    def _evidence(self, attempt: Attempt, match: Match[object], now: datetime) -> Evidence:
        factor = attempt.factor
        flow = attempt.flow
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

    def _with_sample(self, tx: Tx, flow: Flow, attempt: Attempt, *, keep: bool) -> Flow:
        """Add the sample of a factor to the flow; it is read even if it is not kept."""
        if attempt.sample is None:
            return flow
        held = self._dependencies.behaviors.admit(tx, flow.terms.subject, attempt.sample)
        if held is None or not keep:
            return flow
        return replace(flow, samples={**flow.samples, attempt.factor.name: held})

    def _count(self, attempt: Attempt, outcome: str) -> None:
        self._dependencies.metrics.factors.labels(attempt.factor.name, outcome).inc()


def _with_readings(flow: Flow, attempt: Attempt, match: Match[object] | None) -> Flow:
    """Add a verified factor's readings, which risk signals assess, to the flow."""
    if match is None or not match.readings:
        return flow
    return replace(flow, readings={**flow.readings, attempt.factor.name: match.readings})


def _counter(attempt: Attempt) -> Counter:
    return Counter(attempt.factor.counted(attempt.presented.challenge))
