"""Before a factor has verified a policy sees client and time only, and nothing is irreversible."""

from dataclasses import replace
from random import Random

import pytest

from service.domain.assurance import Acr
from service.policy.model.bands import band, total
from service.policy.model.compiler import warnings
from service.policy.model.decision import Effect
from service.policy.model.document import Bands, ProbabilityBands
from service.policy.model.engine import decide
from service.policy.model.replay import decision_to_json
from service.risk.model import Assessment, Band
from tests.depth import depth
from tests.policies import facts as random_facts
from tests.policies import policy, worse
from tests.unit.service.documents import compiled, facts, ruled

SEEDS = range(depth(20))
EACH = 60


def unproven(random):
    """Return random facts of a flow in which nothing has verified."""
    found = random_facts(random)
    return replace(found, disclosed=False, proven=False, stage="admission", evidence=())


@pytest.mark.parametrize("seed", SEEDS)
def test_the_unproven_get_one_answer_whoever_they_name(seed):
    """Any policy decides the same whatever is known of the person, and ends nothing by a rule."""
    random = Random(seed)
    for _ in range(EACH):
        whole, before = policy(random), unproven(random)
        other = replace(
            worse(random, before),
            suspended=random.random() < 0.5,
            context=before.context | {"known_device": random.random() < 0.5},
        )
        ours, theirs = decide(whole, before), decide(whole, replace(other, tighten=before.tighten))
        assert decision_to_json(ours) == decision_to_json(theirs)
        assert ours.effect is not Effect.SUSPEND
        codes = {reason.code for reason in ours.reasons}
        assert not codes & {"denied_by_rule", "critical_risk", "suspended"}


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_is_suspended_before_a_factor_verifies(seed):
    """What a session brought along may be looked at; to suspend takes a factor of this flow."""
    random = Random(seed)
    for _ in range(EACH):
        whole, base = policy(random), random_facts(random)
        assert decide(whole, replace(base, proven=False)).effect is not Effect.SUSPEND


RULES = (
    ({"suspend": True}, {"field": "signal.behavior", "op": "lt", "value": -2}),
    ({"deny": True}, {"field": "known_device", "op": "eq", "value": False}),
    ({"deny": True}, {"field": "client", "op": "ne", "value": "x"}),
    ({"deny": True}, {"field": "enrolled", "op": "contains", "value": "face"}),
    ({"suspend": True}, {"any": [{"field": "band", "op": "gte", "value": "low"}]}),
    ({"deny": True}, None),
)


@pytest.mark.parametrize(("then", "when"), RULES)
def test_a_rule_that_ends_waits_for_proof(then, when):
    """Without proof the flow goes on; with it the rule holds, also where a value is missing."""
    whole = compiled(**ruled(then, when))
    before = decide(whole, facts(disclosed=False, proven=False))
    assert (before.effect, before.layers[0]) == (Effect.REQUIRE, ("password",))
    after = decide(whole, facts()).effect
    assert after is (Effect.SUSPEND if "suspend" in then else Effect.DENY)
    assert decide(whole, facts(proven=False)).effect is Effect.DENY
    (warning,) = warnings(whole)
    assert (warning["code"], warning["pointer"]) == (
        "acts_after_proof",
        "/segments/default/rules/0/then",
    )


def test_a_layer_by_client_is_asked_for_at_once():
    """What depends on the client alone needs no proof."""
    whole = compiled(**ruled({"layers": [["face"]]}, {"field": "client", "op": "eq", "value": "x"}))
    asked = decide(whole, facts(disclosed=False, proven=False, context={"client": "x"}))
    assert ("face",) in asked.layers
    other = decide(whole, facts(disclosed=False, proven=False, context={"client": "y"}))
    assert ("face",) not in other.layers


BANDS = Bands(elevated=-0.5, high=-1.0, critical=-1.5)


@pytest.mark.parametrize("tighten", [0.0, 0.5, 1.0, 1.5, 2.0])
def test_no_evidence_of_risk_is_low_risk_however_tight(tighten):
    """A threshold moves no further than the next milder one of the document, and never to 0."""
    assert band(BANDS, total([]), tighten) is Band.LOW
    mild = band(BANDS, total([Assessment(signal="s", llr=-0.25)]), tighten)
    assert mild <= Band.ELEVATED
    assert band(BANDS, total([Assessment(signal="s", llr=-0.75)]), tighten) <= Band.HIGH
    assert band(BANDS, total([Assessment(signal="s", llr=-1.25)]), tighten) >= Band.HIGH


def test_a_probability_moves_within_the_document_too():
    """Below the document's own elevated probability nothing is high, however tight."""
    odds = ProbabilityBands(elevated=0.4, high=0.5, critical=0.6)
    whole = compiled(
        bands={"elevated": -2, "high": -4, "critical": -7, "probability": odds.model_dump()}
    )

    def found(probability):
        asked = facts(
            purpose="transaction",
            stage="transaction",
            tighten=2.0,
            context={"probability": probability},
        )
        return decide(whole, asked).band

    assert [found(p) for p in (0.0, 0.05, 0.3, 0.45, 0.55)] == [
        Band.LOW,
        Band.LOW,
        Band.ELEVATED,
        Band.HIGH,
        Band.CRITICAL,
    ]


@pytest.mark.parametrize("purpose", ["login", "step_up", "enrollment", "recovery"])
def test_highest_of_nothing_is_still_a_level(purpose):
    """Who has nothing enrolled is asked for AAL1 at least: that cannot be shown, so it ends."""
    whole = compiled(**{purpose: {"acr": "highest"}})
    asked = facts(purpose=purpose, enrolled=frozenset())
    decision = decide(whole, asked)
    assert decision.required >= Acr.AAL1
    assert decision.effect is Effect.DENY
    assert decision.reasons[-1].code == "unmet_authentication_requirements"
