"""The flow as a value: nothing completes without evidence, and everything ends."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from service.domain.assurance import Acr, Evidence, Kind, achieved
from service.login import model
from service.login.model import Flow, FlowKind, FlowRequest, FlowStatus
from service.login.state import pack, unpack
from service.policy.model.decision import Decision, Effect, Facts
from service.risk.model import Band, Reason
from tests.policies import Policy

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SUBJECT = UUID(int=1)
OWN = UUID(int=3)
TERMS = FlowRequest(
    kind=FlowKind.LOGIN,
    client=UUID(int=2),
    subject=SUBJECT,
    known=True,
    bucket="b",
    lane="stranger",
    segment="default",
    requested=Acr.NONE,
    max_age=None,
    act="",
    session=None,
    device=None,
)
KINDS = {"password": Kind.KNOWLEDGE, "face": Kind.INHERENCE}


def fresh(**changes):
    """Return a flow that has just begun."""
    begun = Flow(
        id=UUID(int=3),
        terms=TERMS,
        began_at=NOW,
        active_at=NOW,
        layers=(("password",),),
        required=Acr.AAL2,
    )
    return replace(begun, **changes)


def shown(factor="password", flow=OWN, at=NOW):
    """Return evidence from a flow."""
    kind = KINDS.get(factor, Kind.POSSESSION)
    return Evidence(
        subject=SUBJECT,
        flow=str(flow),
        factor=factor,
        authenticator=UUID(int=4),
        kind=kind,
        amr=(),
        at=at,
    )


def decision(effect, *layers):
    """Return a decision."""
    return Decision(
        effect=effect,
        required=Acr.AAL2,
        layers=layers,
        band=Band.LOW,
        reasons=(Reason("c", "s", 0.0, "d"),),
        policy_version="1",
    )


def test_a_flow_expires_by_idling_and_in_all():
    """Five minutes without an action, or fifteen in all, end a pending flow and no other."""
    flow = fresh()
    assert model.aged(flow, NOW + model.IDLE - timedelta(seconds=1)).status is FlowStatus.PENDING
    assert model.aged(flow, NOW + model.IDLE).status is FlowStatus.EXPIRED
    busy = replace(flow, active_at=NOW + timedelta(minutes=14))
    assert busy.expires_at == NOW + model.WHOLE
    ended = replace(flow, status=FlowStatus.COMPLETED)
    assert model.aged(ended, NOW + model.WHOLE) == ended


def test_a_flow_keeps_the_times_it_was_begun_with():
    """They are of its terms, so that another setting changes none that has begun."""
    terms = replace(TERMS, lifetime=timedelta(minutes=4), idle=timedelta(minutes=3))
    flow = fresh(terms=terms)
    assert flow.expires_at == NOW + timedelta(minutes=3)
    busy = replace(flow, active_at=NOW + timedelta(minutes=3))
    assert busy.expires_at == NOW + timedelta(minutes=4)
    assert unpack(busy.id, busy.revision, pack(busy)) == busy


def test_actions_are_the_first_layer_and_back_once_something_is_shown():
    """An ended flow and one without layers offer nothing."""
    assert fresh().actions == ("password",)
    assert fresh(evidence=(shown(),)).actions == ("password", "back")
    assert fresh(evidence=(shown(flow=UUID(int=9)),)).actions == ("password",)
    assert fresh(layers=()).actions == ()
    assert fresh(status=FlowStatus.DENIED).actions == ()
    assert not fresh().disclosing
    assert fresh(evidence=(shown(),)).disclosing


def test_an_attempt_is_counted_before_it_is_checked():
    """A failure keeps the reservation, an acceptance gives it back, the last one ends the flow."""
    reserved = model.reserve(fresh())
    assert reserved.attempts_left == model.ATTEMPTS - 1
    assert model.fail(reserved, NOW).status is FlowStatus.PENDING
    assert model.accept(reserved, shown(), NOW).attempts_left == model.ATTEMPTS
    assert model.fail(replace(reserved, attempts_left=0), NOW).status is FlowStatus.DENIED
    assert model.release(reserved).attempts_left == model.ATTEMPTS


def test_evidence_about_somebody_else_is_refused():
    """Neither another subject's evidence nor any for an unknown one gets in."""
    with pytest.raises(ValueError, match="somebody else"):
        model.accept(fresh(), replace(shown(), subject=UUID(int=8)), NOW)
    with pytest.raises(ValueError, match="somebody else"):
        model.accept(fresh(terms=replace(TERMS, known=False)), shown(), NOW)


@pytest.mark.parametrize(
    ("effect", "status"),
    [
        (Effect.REQUIRE, FlowStatus.PENDING),
        (Effect.ALLOW, FlowStatus.COMPLETED),
        (Effect.DENY, FlowStatus.DENIED),
        (Effect.SUSPEND, FlowStatus.DENIED),
    ],
)
def test_a_decision_sets_the_status(effect, status):
    """Each effect leads to its status."""
    assert model.apply(fresh(evidence=(shown(),)), decision(effect)).status is status


def test_nothing_completes_without_evidence():
    """Even a decision that allows is refused for an empty flow."""
    with pytest.raises(ValueError, match="on evidence only"):
        model.apply(fresh(), decision(Effect.ALLOW))


def test_back_gives_up_the_last_of_its_own():
    """Evidence that a session brought along stays."""
    brought, own = shown(flow=UUID(int=9)), shown("totp")
    assert model.back(fresh(evidence=(brought, own))).evidence == (brought,)
    assert model.back(fresh(evidence=(brought,))).evidence == (brought,)


def test_cancel_ends_a_pending_flow_only():
    """A completed flow stays completed."""
    assert model.cancel(fresh()).status is FlowStatus.CANCELLED
    done = fresh(status=FlowStatus.COMPLETED)
    assert model.cancel(done) == done


@given(st.booleans(), st.booleans(), st.sampled_from(list(FlowStatus)))
def test_a_flow_survives_json(with_session, with_device, status):
    """What is sealed comes back equal."""
    terms = replace(
        TERMS,
        session=UUID(int=6) if with_session else None,
        token=UUID(int=7) if with_session else None,
        device=(UUID(int=7), 3) if with_device else None,
        max_age=60,
    )
    challenges = {"password": {"capture_id": "x"}}
    flow = fresh(
        terms=terms,
        status=status,
        evidence=(shown(),),
        challenges=challenges,
        reasons=(Reason("c", "s", -1.5, "d"),),
        band=Band.HIGH,
    )
    assert unpack(flow.id, flow.revision, pack(flow)) == flow


class Walk(RuleBasedStateMachine):
    """Any sequence of verbs; the flow completes only on the evidence that the policy asks for."""

    @initialize(face=st.booleans(), requested=st.sampled_from(list(Acr)))
    def begin(self, face, requested):
        self.policy, self.now = Policy.shipped(), NOW
        self.enrolled = frozenset(
            {"password", "totp", "recovery_code"} | ({"face"} if face else set())
        )
        self.flow = Flow(
            id=UUID(int=3), terms=replace(TERMS, requested=requested), began_at=NOW, active_at=NOW
        )
        self.decide()

    def decide(self):
        facts = Facts(
            purpose="login",
            segment="default",
            evidence=self.flow.evidence,
            enrolled=self.enrolled,
            assessments=(),
            requested=self.flow.terms.requested,
            max_age=None,
            now=self.now,
        )
        self.flow = model.apply(self.flow, self.policy.decide(facts))

    @rule(name=st.sampled_from(["password", "totp", "recovery_code", "face"]), right=st.booleans())
    def act(self, name, right):
        self.flow = model.aged(self.flow, self.now)
        if name not in self.flow.actions:
            return
        reserved = model.reserve(self.flow)
        if not right:
            self.flow = model.fail(reserved, self.now)
            return
        self.flow = model.accept(reserved, shown(name, at=self.now), self.now)
        self.decide()

    @rule()
    def back(self):
        if model.BACK in self.flow.actions:
            self.flow = model.back(self.flow)
            self.decide()

    @rule(seconds=st.integers(1, 400))
    def wait(self, seconds):
        self.now += timedelta(seconds=seconds)
        self.flow = model.aged(self.flow, self.now)

    @rule()
    def cancel(self):
        self.flow = model.cancel(self.flow)

    @invariant()
    def completed_only_on_evidence(self):
        if self.flow.status is FlowStatus.COMPLETED:
            factors = [item.factor for item in self.flow.evidence]
            assert "password" in factors
            assert {"totp", "recovery_code"} & set(factors)
            assert "face" not in self.enrolled or len(factors) >= 3
            assert achieved(self.flow.evidence, self.now).acr >= self.flow.terms.requested

    @invariant()
    def attempts_are_bounded(self):
        assert 0 <= self.flow.attempts_left <= model.ATTEMPTS
        if self.flow.attempts_left == 0:
            assert self.flow.status is not FlowStatus.PENDING


TestWalk = Walk.TestCase


def test_an_ended_flow_holds_no_samples():
    """What was typed is stored only while the flow may still reach its level."""
    held = fresh(samples={"password": "{}"})
    assert model.stored(held) == held
    assert model.stored(model.cancel(held)).samples == {}


def deferring(**changes):
    """Return a deferred flow that has just begun."""
    return fresh(terms=replace(TERMS, deferred=True), **changes)


def test_a_deferred_round_counts_once_and_tells_at_its_end():
    """What verified is kept and not told; all right goes on, anything wrong begins anew."""
    first = model.defer(
        model.reserve(deferring()), factor="password", evidence=shown(), match={}, now=NOW
    )
    assert (first.attempts_left, first.disclosing, first.disclosed_evidence) == (9, False, ())
    assert first.actions == ("password", "back")
    second = model.reserve(first)
    assert second.attempts_left == model.release(second).attempts_left == 9
    right = model.verdict(
        model.defer(second, factor="totp", evidence=shown("totp"), match={}, now=NOW)
    )
    assert (right.disclosed, right.attempts_left, right.tried) == (True, 10, ())
    assert right.disclosing
    wrong = model.verdict(model.defer(second, factor="totp", evidence=None, match={}, now=NOW))
    assert (wrong.disclosed, wrong.attempts_left, wrong.evidence) == (False, 9, ())
    assert wrong.status is FlowStatus.PENDING
    last = model.verdict(
        model.defer(deferring(attempts_left=0), factor="totp", evidence=None, match={}, now=NOW)
    )
    assert last.status is FlowStatus.DENIED


def test_a_verdict_on_nothing_gives_nothing_back():
    """A flow in which nothing had to be tried is simply told."""
    told = model.verdict(deferring())
    assert (told.disclosed, told.attempts_left) == (True, model.ATTEMPTS)


def test_a_deferred_flow_takes_nobody_elses_evidence():
    """Evidence about another subject is refused here too."""
    with pytest.raises(ValueError, match="somebody else"):
        model.defer(
            deferring(),
            factor="password",
            evidence=replace(shown(), subject=UUID(int=8)),
            match={},
            now=NOW,
        )


def test_back_in_a_deferred_round_takes_the_last_try():
    """Right or wrong, the last one that was tried is given up; what was brought stays."""
    brought = shown(flow=UUID(int=9))
    flow = model.defer(
        deferring(evidence=(brought,)), factor="password", evidence=shown(), match={}, now=NOW
    )
    wrong = model.defer(flow, factor="totp", evidence=None, match={}, now=NOW)
    once = model.back(wrong)
    assert (once.tried, once.evidence) == (flow.tried, flow.evidence)
    twice = model.back(once)
    assert (twice.tried, twice.evidence) == ((), (brought,))
    assert model.back(twice) == twice


def test_a_delay_is_waited_for_once():
    """A longer one later adds only what is missing."""
    asked = replace(decision(Effect.REQUIRE, ("totp",)), delay=10)
    flow = model.apply(fresh(evidence=(shown(),)), asked)
    assert model.waits(flow, NOW) == 10
    assert model.waits(flow, NOW + timedelta(seconds=9.5)) == 1
    assert model.waits(flow, NOW + timedelta(seconds=10)) == 0
    later = replace(flow, active_at=NOW + timedelta(seconds=20))
    assert model.apply(later, asked).not_before == flow.not_before
    more = model.apply(later, replace(asked, delay=15))
    assert model.waits(more, NOW + timedelta(seconds=20)) == 5


def test_a_deferred_flow_survives_json():
    """What was tried, told and delayed comes back equal."""
    flow = deferring(
        tried=(("password", False),),
        disclosed=True,
        not_before=NOW,
        delayed=5,
        policy="p",
        held=True,
    )
    assert unpack(flow.id, flow.revision, pack(flow)) == flow


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_makes_no_flow_unreadable(number):
    """A signal that failed may leave one in a reason or a reading; the flow goes on."""
    reason = Reason("x", "behavior", number, "x")
    flow = deferring(reasons=(reason,), readings={"face": {"distance": number}})
    found = unpack(flow.id, flow.revision, pack(flow))
    read = (found.reasons[0].contribution, found.readings["face"]["distance"])
    assert [str(value) for value in read] == [str(number)] * 2


def test_a_round_keeps_what_it_is_to_use_up_until_it_tells():
    """By factor, dropped with the try, with the verdict and with the end of the flow."""
    used = {"authenticator": "a", "used": [1, 2, 0], "verifier": None}
    first = model.defer(deferring(), factor="password", evidence=None, match={}, now=NOW)
    flow = model.defer(first, factor="totp", evidence=shown("totp"), match=used, now=NOW)
    assert flow.matches == ({}, used)
    assert unpack(flow.id, 1, pack(flow)).matches == flow.matches
    assert model.back(flow).matches == ({},)
    assert model.verdict(flow).matches == ()
    assert model.stored(replace(flow, status=FlowStatus.DENIED)).matches == ()
    assert "used" not in repr(flow)


def test_a_round_of_which_something_was_used_up_meanwhile_fails_whole():
    """It does not say which: none of it counts as verified."""
    flow = model.defer(deferring(), factor="totp", evidence=shown("totp"), match={}, now=NOW)
    spoilt = model.spoil(flow)
    assert spoilt.tried == (("totp", False),)
    assert not model.verdict(spoilt).disclosed


def test_the_untold_part_of_a_flow_can_be_left_out():
    """What a session brought along stays; what was shown in this flow does not."""
    brought = shown("password", UUID(int=9))
    flow = deferring(
        evidence=(brought, shown("totp")), samples={"totp": "{}"}, readings={"face": {"llr": 1.0}}
    )
    left = model.undisclosed(flow)
    assert (left.evidence, left.samples, left.readings) == ((brought,), {}, {})
