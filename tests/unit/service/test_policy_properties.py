"""Over random policies, evidence and signals: risk never lowers, and no fault opens."""

from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.errors import BadInput
from service.policy.model import replay
from service.policy.model.compiler import compile_document
from service.policy.model.decision import Effect
from service.policy.model.engine import decide, unmet
from service.policy.model.parser import read
from service.policy.model.threshold_shift import ThresholdShift, never_looser, value_at
from service.risk.fusion import Availability
from service.risk.model import Assessment, ClientContext, SignalFacts
from service.risk.signal import assess_all
from tests.depth import depth
from tests.policies import NOW, ORDER, WORST, evidence, facts, lowered, policy, worse
from tests.unit.service.documents import leaf, ruled, value

SEEDS = range(depth(20))
EACH = 60


@pytest.mark.parametrize("seed", SEEDS)
def test_more_evidence_of_risk_never_asks_for_less(seed):
    """Effect, level, band and wait stay or grow for every policy; `make bench-policy` does more."""
    random = Random(seed)
    for _ in range(EACH):
        whole, before = policy(random), facts(random)
        after = worse(random, before)
        assert lowered(whole, before, after) == [], (whole.document, before, after)


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_is_enough_under_risk_is_enough_without(seed):
    """Any evidence that satisfies the worse facts satisfies the better ones."""
    random = Random(seed)
    for _ in range(EACH):
        whole, before = policy(random), facts(random)
        after = worse(random, before)
        for _ in range(4):
            more = tuple(
                evidence(random, name)
                for name in random.choices(
                    ("password", "totp", "webauthn", "recovery_code", "face"), k=4
                )
            )
            if decide(whole, replace(after, evidence=more)).effect is Effect.ALLOW:
                assert decide(whole, replace(before, evidence=more)).effect is Effect.ALLOW


class Faulty:
    """A signal that fails in its own way."""

    worst = WORST

    def __init__(self, name, fault):
        self.name, self.fault = name, fault

    def assess(self, tx, facts):
        return self.fault()


def raises(error):
    def fault():
        raise error

    return fault


FAULTS = (
    raises(ValueError()),
    raises(KeyError()),
    raises(OSError()),
    raises(RecursionError()),
    raises(AttributeError()),
    raises(AssertionError()),
    lambda: Assessment(signal="s", llr=float("nan")),
    lambda: Assessment(signal="s", llr=float("inf")),
    lambda: Assessment(signal="s", llr=float("-inf")),
    lambda: Assessment(signal="s", llr=9.0, seen=Availability.FAULT),
    lambda: None,
)
SEEN = SignalFacts(
    subject=NOW,
    flow="f",
    client=NOW,
    segment="default",
    now=NOW,
    client_context=ClientContext(),
    samples={},
    shown=(),
    known_device=False,
)


@pytest.mark.parametrize("seed", range(len(FAULTS)))
def test_no_fault_of_a_signal_opens(seed):
    """A signal that fails asks for at least as much as it could by anything it might say."""
    random = Random(seed)
    for _ in range(EACH):
        whole, base = policy(random), facts(random)
        said = Assessment(signal="s", llr=random.uniform(WORST, 5))
        healthy = replace(base, assessments=(*base.assessments, said))
        (failed,) = assess_all((Faulty("s", FAULTS[seed]),), None, SEEN)
        assert failed.llr == WORST
        broken = replace(base, assessments=(*base.assessments, failed))
        assert lowered(whole, healthy, broken) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_facts_survive_json_and_decide_the_same(seed):
    """What is stored decides again exactly."""
    random = Random(seed)
    for _ in range(EACH):
        whole, before = policy(random), facts(random)
        again = replay.facts_from_json(replay.facts_to_json(before))
        assert again == before
        made = [replay.decision_to_json(decide(whole, item)) for item in (before, again)]
        assert made[0] == made[1]
        assert replay.change(*made) == "same"


def test_a_comparison_names_what_changed():
    """Asked for more, denied, eased, by another way, or the same."""
    one = {"required": 1, "layers": [], "band": "low", "delay": 0}
    made = {effect: one | {"effect": effect.value} for effect in ORDER}
    allow, require, deny, suspend = (made[effect] for effect in ORDER)
    assert replay.change(allow, require) == "step_up"
    assert replay.change(require, deny) == replay.change(deny, suspend) == "denied"
    assert replay.change(require, allow) == "eased"
    assert replay.change(require, require | {"delay": 3}) == "other"


@given(
    st.lists(st.sets(st.sampled_from("abc"), min_size=1), max_size=4),
    st.lists(st.sampled_from("abc"), max_size=4),
)
def test_as_many_layers_are_served_as_can_be(layers, shown):
    """The number that is missing is the least over all ways to deal the evidence out."""
    from itertools import permutations

    layers = tuple(tuple(sorted(layer)) for layer in layers)
    items = [replace(evidence(Random(0), "totp"), factor=name) for name in shown]
    padded = shown + [""] * len(layers)
    best = max(
        sum(name in layer for name, layer in zip(order, layers, strict=False))
        for order in set(permutations(padded, len(layers)))
    )
    assert len(unmet(layers, items)) == len(layers) - best


COURSES = st.builds(
    lambda origin, target, since, ramp, life: ThresholdShift(
        origin=origin,
        target=target,
        since=NOW + timedelta(seconds=since),
        ramp=ramp,
        expires_at=NOW + timedelta(seconds=since + life),
        actor="op",
    ),
    st.floats(-2, 2),
    st.floats(-2, 2),
    st.integers(-500, 0),
    st.integers(1, 400),
    st.integers(1, 900),
)


@given(COURSES, COURSES, st.integers(0, 3000))
def test_who_may_tighten_alone_never_loosens(old, new, later):
    """A course that one person may set is at no time below the one it replaces."""
    moment = NOW + timedelta(seconds=later)
    if never_looser(old, new, NOW):
        assert value_at(new, moment) >= value_at(old, moment) - 1e-6
    assert -2 <= value_at(new, moment) <= 2
    assert ThresholdShift.from_json(new.to_json()) == new
    with pytest.raises(TypeError):
        ThresholdShift.from_json(new.to_json() | {"more": 1})


def test_a_course_ramps_holds_and_moves_back():
    """From 0 to 1 in 100 s, held until it expires, and back in 100 s."""
    course = ThresholdShift(
        origin=0.0,
        target=1.0,
        since=NOW,
        ramp=100,
        expires_at=NOW + timedelta(seconds=500),
        actor="op",
    )
    found = [value_at(course, NOW + timedelta(seconds=s)) for s in (0, 50, 100, 499, 550, 600)]
    assert found == pytest.approx([0, 0.5, 1, 1, 0.5, 0])
    assert value_at(None, NOW) == 0
    assert never_looser(None, course, NOW)
    assert not never_looser(None, replace(course, target=-0.1), NOW)


def test_what_cannot_be_compared_raises_and_never_relieves():
    """A text where a number belongs counts against."""
    raising = compile_document(
        read(value(**ruled({"deny": True}, leaf("amount", "gt", 5), stage="transaction")))
    )
    paying = replace(
        facts(Random(3)),
        purpose="transaction",
        stage="transaction",
        suspended=False,
        assessments=(),
        standing=0.0,
        tighten=0.0,
        context={"amount": "much"},
        disclosed=True,
    )
    assert decide(raising, paying).reasons[-1].code == "denied_by_rule"


def test_random_policies_are_not_all_alike():
    """The generator reaches every effect and keeps some rules, so that the properties say much."""
    random, effects, rules = Random(7), set(), 0
    for _ in range(300):
        whole = policy(random)
        rules += sum(map(len, whole.segment("default").rules.values()))
        effects.add(decide(whole, facts(random)).effect)
    assert effects == set(Effect)
    assert rules > 50
    with pytest.raises(BadInput):
        compile_document(read(value(**ruled({"deny": True}, leaf("hard", "eq", False)))))
