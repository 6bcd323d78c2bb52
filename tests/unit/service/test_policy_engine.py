"""A policy decides as it says."""

from dataclasses import replace

from service.domain.assurance import Acr
from service.domain.authenticator import HELP_DESK
from service.policy.actions.parsing import parse
from service.policy.model.compiler import compile_document, supposed
from service.policy.model.decision import Effect
from service.policy.model.engine import decide
from service.risk.model import Assessment, Band
from tests.policies import NOW, Policy
from tests.unit.service.documents import AAL2, ALL, ROOT, compiled, facts, leaf, ruled, shown


def test_the_way_of_least_friction_comes_first():
    """A passkey alone is offered before password and code; both ways begin the first layer."""
    ways = [[["password"], ["totp"]], [["webauthn"]]]
    found = compiled(login={"acr": AAL2, "ways": ways})
    assert decide(found, facts()).layers == (("webauthn", "password"),)
    assert decide(found, facts(*shown("webauthn"))).effect is Effect.ALLOW
    assert decide(found, facts(*shown("password"))).layers == (("webauthn", "totp"),)
    without = facts(*shown("password"), enrolled=ALL - {"webauthn"})
    assert decide(found, without).layers == (("totp",),)
    raised = compiled(login={"acr": AAL2, "ways": ways}, **ruled({"layers": [["totp"]]}))
    assert decide(raised, facts(*shown("webauthn"))).layers[0][0] == "totp"
    step_up = facts(purpose="step_up")
    assert decide(found, step_up).layers[0][0] == "webauthn"
    cheap = compiled(friction={"recovery_code": 0.5}, login={"acr": AAL2})
    assert decide(cheap, facts(*shown("password"))).layers[0][0] == "recovery_code"


def test_a_layer_with_only_a_biometric_left_gets_another_way():
    """A person with a face and no recovery codes may show another code instead."""
    found = Policy.shipped()
    enrolled = frozenset({"password", "totp", "face"})
    asked = found.decide(facts(*shown("password", "totp"), enrolled=enrolled))
    assert [set(layer) for layer in asked.layers] == [{"face", "totp"}]
    more = facts(*shown("password", "totp", "totp"), enrolled=enrolled)
    assert found.decide(more).effect is Effect.ALLOW


def test_a_recovery_may_begin_with_the_help_desk_whatever_the_policy():
    """Offered for everybody, where the policy's own way is out of reach too; never in a login."""
    there = ALL | {HELP_DESK}
    asked = facts(purpose="recovery", enrolled=there, disclosed=False)
    assert decide(compiled(), asked).layers == (("recovery_code", HELP_DESK),)
    shut = compiled(recovery={"acr": AAL2, "layers": [["webauthn"]]})
    without = replace(asked, enrolled=there - {"webauthn"})
    assert decide(shut, without).layers == ((HELP_DESK,),)
    assert HELP_DESK not in decide(compiled(), replace(asked, purpose="login")).layers[0]
    begun = replace(asked, evidence=shown("password"), disclosed=True)
    assert HELP_DESK not in {name for layer in decide(compiled(), begun).layers for name in layer}


def test_the_code_of_the_help_desk_is_enough_unless_risk_or_a_rule_ends_it():
    """It reaches no level and needs none; who is suspended or at critical risk is not let in."""
    proof = replace(supposed(HELP_DESK), at=NOW)
    found = facts(proof, purpose="recovery")
    assert decide(compiled(), found).effect is Effect.ALLOW
    high = (Assessment(signal="s", llr=-5),)
    assert decide(compiled(), replace(found, assessments=high)).effect is Effect.ALLOW
    assert decide(compiled(), replace(found, suspended=True)).effect is Effect.DENY
    worst = (Assessment(signal="s", llr=-8),)
    assert decide(compiled(), replace(found, assessments=worst)).effect is Effect.DENY
    denied = compiled(**ruled({"deny": True}))
    assert decide(denied, found).effect is Effect.DENY
    assert decide(compiled(), replace(found, purpose="login")).effect is not Effect.ALLOW


def test_bands_add_narrow_and_delay():
    """A higher band has everything of the lower one; forbidden evidence counts no more."""
    found = compiled(
        **{
            "raise": {
                "elevated": {"layers": [["recovery_code"]], "delay": 5},
                "high": {"forbid": ["totp"], "acr": Acr.AAL2_PHR.urn},
                "critical": {"suspend": True},
            }
        }
    )
    both = shown("password", "totp")
    assert decide(found, facts(*both)).effect is Effect.ALLOW
    elevated = decide(found, facts(*both, assessments=(Assessment(signal="s", llr=-2.5),)))
    assert (elevated.layers, elevated.delay) == ((("recovery_code",),), 5)
    high = decide(found, facts(*both, assessments=(Assessment(signal="s", llr=-5),)))
    assert (high.required, high.delay) == (Acr.AAL2_PHR, 5)
    assert high.layers[0] == ("recovery_code",)
    worst = decide(found, facts(*both, assessments=(Assessment(signal="s", llr=-8),)))
    assert worst.effect is Effect.SUSPEND


def test_what_is_held_against_a_subject_asks_for_more_and_never_ends_a_flow():
    """The other horizon raises as far as high; it adds nothing to the session's own sum."""
    found = compiled(**{"raise": {"high": {"layers": [["recovery_code"]]}}})
    both = shown("password", "totp")
    held = decide(found, facts(*both, standing=-20.0))
    assert (held.effect, held.band, held.hold) == (Effect.REQUIRE, Band.HIGH, 0.0)
    assert held.reasons[-1].code == "subject_risk"
    fresh = decide(found, facts(*both, assessments=(Assessment(signal="s", llr=-5.0),)))
    assert fresh.hold == -5.0
    hard = decide(found, facts(*both, assessments=(Assessment(signal="s", llr=1.0, hard=True),)))
    assert (hard.band, hard.hold) == (Band.HIGH, -4.0)


def test_what_is_held_locks_nobody_out():
    """A person who cannot show what it asks for signs in by all that there is."""
    found = Policy.shipped()
    few = frozenset({"password", "totp"})
    both = facts(*shown("password", "totp"), enrolled=few, standing=-20.0)
    assert found.decide(both).effect is Effect.ALLOW
    assert found.decide(replace(both, enrolled=ALL)).layers[0][0] == "face"
    now = replace(both, assessments=(Assessment(signal="s", llr=-5.0),))
    assert found.decide(now).effect is Effect.DENY
    phr = compiled(**{"raise": {"high": {"acr": Acr.AAL2_PHR.urn}}})
    assert decide(phr, both).effect is Effect.ALLOW
    assert decide(phr, replace(both, enrolled=ALL)).required is Acr.AAL2_PHR


def test_the_live_parameter_moves_every_threshold():
    """Tightened by a nat, what was low is elevated; the reasons say so."""
    found = compiled()
    near = (Assessment(signal="s", llr=-1.5),)
    assert decide(found, facts(assessments=near)).band is Band.LOW
    moved = decide(found, facts(assessments=near, tighten=1.0))
    assert (moved.band, moved.reasons[-1].code) == (Band.ELEVATED, "tighten")
    assert decide(found, facts(assessments=near, tighten=-2.0)).band is Band.LOW


def test_an_audit_only_rule_is_noted_and_does_nothing():
    """What it would have done is seen in the reasons alone."""
    found = compiled(**ruled({"deny": True}, audit_only=True))
    decision = decide(found, facts(*shown("password", "totp")))
    assert decision.effect is Effect.ALLOW
    assert [(item.code, item.detail) for item in decision.reasons] == [("rule_audit", "r")]


def payment(**context):
    return facts(purpose="transaction", stage="transaction", context=context)


def test_an_exemption_takes_away_only_what_it_may():
    """Relief comes off the base; risk, a flag or a field that is missing keeps the base."""
    text = (ROOT / "docs" / "policies" / "bank-psd2.yaml").read_text("utf-8")
    bank = compile_document(parse(text))
    low = {
        "amount": 20,
        "currency": "EUR",
        "sum_since_sca": 40,
        "count_since_sca": 2,
        "probability": 0.001,
        "malware": False,
        "integrity": True,
        "new_payee": False,
    }
    assert decide(bank, payment(**low)).effect is Effect.ALLOW
    for changed in (
        {"amount": 251},
        {"currency": "USD"},
        {"probability": 0.05},
        {"probability": None},
    ):
        assert decide(bank, payment(**low | changed)).effect is Effect.REQUIRE, changed
    assert decide(bank, payment(**low | {"malware": True})).effect is Effect.SUSPEND
    assert decide(bank, payment(**low | {"probability": 0.9})).effect is Effect.SUSPEND
    assert decide(bank, payment(**low | {"amount": "many"})).effect is Effect.REQUIRE
    assert decide(bank, payment()).effect is Effect.SUSPEND
    missing = {name: value for name, value in low.items() if name != "count_since_sca"}
    missing["new_payee"] = True
    assert decide(bank, payment(**missing)).effect is Effect.REQUIRE


def test_rules_look_at_what_is_there():
    """Conditions on purpose, device, hour, sets and signals hold as written."""
    when = {
        "all": [
            leaf("purpose", "in", ["login"]),
            leaf("client", "ne", "x"),
            leaf("hour", "gte", 12),
            leaf("shown", "contains", "password"),
            leaf("requested", "lte", AAL2),
            {"any": [leaf("known_device", "eq", False), leaf("enrolled", "contains_any", ["x"])]},
            {"not": leaf("client", "not_in", ["c"])},
            leaf("signal.behavior", "lt", -1),
        ]
    }
    found = compiled(**ruled({"deny": True}, when))
    bad = (Assessment(signal="behavior", llr=-1.5),)
    context = {"known_device": False, "client": "c"}
    before = facts(*shown("password"), assessments=bad, context=context)
    denied = decide(found, before)
    assert (denied.effect, denied.reasons[-1].code) == (Effect.DENY, "denied_by_rule")
    for changed in (
        {"context": {"known_device": False, "client": "d"}},
        {"assessments": (Assessment(signal="behavior", llr=-0.5),)},
        {"evidence": ()},
        {"now": NOW.replace(hour=3)},
        {"purpose": "step_up"},
        {"requested": Acr.AAL2_PHR},
    ):
        codes = [item.code for item in decide(found, replace(before, **changed)).reasons]
        assert "denied_by_rule" not in codes


def test_a_field_without_a_value_counts_against():
    """A raising rule whose field is missing holds, a device that is not known among them."""
    found = compiled(**ruled({"deny": True}, leaf("known_device", "eq", False)))
    assert decide(found, facts()).reasons[-1].code == "denied_by_rule"
    turned = compiled(**ruled({"deny": True}, {"not": leaf("known_device", "eq", True)}))
    assert decide(turned, facts()).reasons[-1].code == "denied_by_rule"
