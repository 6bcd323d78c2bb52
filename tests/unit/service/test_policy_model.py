"""The policy decides on facts alone; risk only ever adds."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.assurance import Acr, Evidence, Kind
from service.domain.errors import BadInput
from service.policy.actions.parsing import parse
from service.policy.model.bands import band, total
from service.policy.model.decision import Effect, Facts
from service.policy.model.engine import highest, unmet
from service.risk.model import Assessment, Band
from tests.policies import Policy

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ALL = frozenset({"password", "totp", "recovery_code", "face"})
POLICY = Policy.shipped()


def shown(*factors, seconds_ago=0):
    """Return evidence of factors."""
    at = NOW - timedelta(seconds=seconds_ago)
    return tuple(
        Evidence(
            subject=UUID(int=1),
            flow="f",
            factor=name,
            authenticator=UUID(int=2),
            kind=Kind.KNOWLEDGE if name == "password" else Kind.POSSESSION,
            amr=(),
            at=at,
        )
        for name in factors
    )


def decide(*evidence, **more):
    """Decide on a login."""
    facts = {
        "purpose": "login",
        "segment": "default",
        "evidence": evidence,
        "enrolled": ALL,
        "assessments": (),
        "requested": Acr.NONE,
        "max_age": None,
        "now": NOW,
    }
    return POLICY.decide(Facts(**facts | more))


def test_layers_come_one_after_the_other():
    """Each verified factor uncovers the next layer, until nothing is left."""
    assert decide().layers[0] == ("password",)
    assert decide(*shown("password")).layers[0] == ("totp", "recovery_code")
    assert decide(*shown("password", "totp")).layers == (("face", "recovery_code"),)
    assert decide(*shown("password", "totp", "face")).effect is Effect.ALLOW
    assert decide(*shown("password", "totp", "recovery_code")).effect is Effect.ALLOW


def test_one_piece_of_evidence_serves_one_layer():
    """A recovery code in the place of TOTP does not stand for the face as well."""
    assert unmet(
        (("totp", "recovery_code"), ("face", "recovery_code")), shown("recovery_code")
    ) == (("face", "recovery_code"),)


def test_the_face_is_asked_of_those_who_enrolled_it():
    """Without a face the login ends after the second factor."""
    without = ALL - {"face"}
    assert decide(*shown("password", "totp"), enrolled=without).effect is Effect.ALLOW


def test_what_cannot_be_reached_is_denied():
    """A layer without any enrolled way, or a class out of reach, ends the flow with its name."""
    alone = decide(*shown("password"), enrolled=frozenset({"password"}))
    out_of_reach = decide(requested=Acr.AAL2_PHR, purpose="step_up")
    for decision in (alone, out_of_reach):
        assert decision.effect is Effect.DENY
        assert decision.reasons[-1].code == "unmet_authentication_requirements"


def test_a_step_up_asks_only_for_what_lifts():
    """From a password, any second factor lifts to AAL2; from nothing, everything helps."""
    asked = decide(*shown("password"), purpose="step_up", requested=Acr.AAL2)
    assert asked.layers == (("totp", "recovery_code"),)
    assert decide(*shown("password", "totp"), purpose="step_up").effect is Effect.ALLOW


def test_an_age_limit_asks_again():
    """Evidence older than max_age does not count, neither for a level nor for a layer."""
    old = shown("password", "totp", "face", seconds_ago=61)
    assert decide(*old, max_age=60).layers[0] == ("password",)
    assert decide(*old, max_age=61).effect is Effect.ALLOW


def test_an_enrollment_needs_the_highest_level_freshly():
    """What is enrolled says how high; five minutes say how fresh."""
    fresh, stale = shown("password", "totp"), shown("password", "totp", seconds_ago=301)
    assert decide(*fresh, purpose="enrollment").effect is Effect.ALLOW
    assert decide(*stale, purpose="enrollment").effect is Effect.REQUIRE
    only = frozenset({"password"})
    assert decide(*shown("password"), purpose="enrollment", enrolled=only).effect is Effect.ALLOW
    assert highest(frozenset({"face"})) is Acr.NONE


def test_suspension_and_critical_risk_deny():
    """Both end the flow whatever was shown."""
    all_shown = shown("password", "totp", "face")
    assert decide(*all_shown, suspended=True).reasons[-1].code == "suspended"
    worst = (Assessment(signal="x", llr=-9.0),)
    assert decide(*all_shown, assessments=worst).reasons[-1].code == "critical_risk"


def test_bands_and_the_cap_on_good_signals():
    """Good signals offset two nats at most, and never a hard finding."""
    bands = parse(policy_text()).bands
    found = lambda *items: band(bands, total(items))  # noqa: E731 - four calls alike
    assert found() is Band.LOW
    assert found(Assessment(signal="a", llr=-2.0)) is Band.ELEVATED
    assert (
        found(Assessment(signal="a", llr=-5.0), Assessment(signal="b", llr=50.0)) is Band.ELEVATED
    )
    assert found(Assessment(signal="a", llr=50.0, hard=True)) is Band.HIGH
    assert (
        found(Assessment(signal="a", llr=-7.0, hard=True), Assessment(signal="b", llr=50.0))
        is Band.CRITICAL
    )
    risky = decide(
        *shown("password", "totp"),
        assessments=(Assessment(signal="a", llr=-5.0),),
        enrolled=ALL - {"face"},
    )
    assert risky.layers == (("recovery_code",),)


@given(
    st.lists(st.sampled_from(sorted(ALL)), max_size=4),
    st.lists(st.floats(-10, 10), max_size=4),
    st.floats(-10, 0),
    st.booleans(),
)
def test_more_risk_never_asks_for_less(factors, ratios, worse, hard):
    """Adding a bad signal leaves at least as much to show, and never turns a refusal around."""
    base = tuple(Assessment(signal=str(n), llr=value) for n, value in enumerate(ratios))
    before = decide(*shown(*factors), assessments=base)
    after = decide(
        *shown(*factors), assessments=(*base, Assessment(signal="w", llr=worse, hard=hard))
    )
    order = [Effect.ALLOW, Effect.REQUIRE, Effect.DENY]
    assert order.index(after.effect) >= order.index(before.effect)
    assert after.band >= before.band
    if before.effect is after.effect is Effect.REQUIRE:
        assert len(after.layers) >= len(before.layers)


def policy_text(**changes):
    """Return the shipped document as text."""
    import json
    from importlib import resources

    text = (resources.files("service.policy") / "default.json").read_text("utf-8")
    return json.dumps(json.loads(text) | changes)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"name": 3}, "/name"),
        ({"bands": {"elevated": -5, "high": -4, "critical": -7}}, "/bands"),
        ({"segments": {}}, "/segments"),
        ({"segments": {"other": {}}}, ""),
        ({"extra": 1}, ""),
    ],
)
def test_a_document_that_is_not_valid_names_the_place(changes, place):
    """A wrong policy is refused with the pointer of what to mend."""
    with pytest.raises(BadInput) as error:
        parse(policy_text(**changes))
    assert error.value.faults[0].pointer == place
