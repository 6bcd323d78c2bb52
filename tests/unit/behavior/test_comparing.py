"""What the signal says is bounded, adds up, and only ever raises what is asked."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biometrics.behavior.features import NotScored, Scripted, Vector
from biometrics.behavior.layout import Layout
from biometrics.behavior.model import DEFAULT, load
from service.domain.assurance import achieved
from service.policy.model.decision import Effect
from service.policy.model.engine import decide
from service.risk.fusion import bounded
from service.signals.behavior.profile import Kept
from service.signals.behavior.scoring import (
    HIGHEST,
    LOWEST,
    REPLAYED,
    SCRIPTED,
    SignalScore,
    assessment,
    compare,
    compare_all,
    withheld,
)
from tests.policies import facts, lowered, policy
from tests.typists import KEYS, typists

LAYOUT = Layout.keystroke(KEYS)
PARTS = st.dictionaries(
    st.sampled_from(["keystroke", "touch", "motion", "pointer"]),
    st.builds(
        SignalScore,
        nats=st.floats(-50, 50),
        reasons=st.just(()),
        samples=st.integers(0, 200),
        scored=st.booleans(),
        withheld=st.booleans(),
        scripted=st.booleans(),
    ),
    max_size=4,
)


@pytest.fixture(scope="module")
def models():
    return load(DEFAULT)


@pytest.fixture(scope="module")
def people():
    return [[Vector(LAYOUT, row) for row in LAYOUT.expand(rows)] for rows in typists(3, 60)]


def taught(samples):
    kept = Kept.empty(samples[0].layout)
    for vector in samples:
        kept = kept.learn(vector)
    return kept


def test_shares_add_up_to_what_is_said(models, people):
    """The readable reasons, with what was clipped, sum to the ratio."""
    kept = taught(people[0][:30])
    for vector in (people[0][40], people[1][40], people[2][40]):
        found = compare("keystroke", vector, kept, models["keystroke"])
        assert found.scored
        total = sum(reason.contribution for reason in found.reasons)
        assert total == pytest.approx(found.nats, abs=0.01)
        assert len({reason.code for reason in found.reasons}) == len(found.reasons)


def test_a_profile_that_parted_vouches_for_nobody(models, people):
    """What speaks for the person is taken back by name; what speaks against stays."""
    kept = replace(taught(people[0][:30]), parted=True)
    for vector in people[0][30:50]:
        assert compare("keystroke", vector, kept, models["keystroke"]).nats <= 0
    codes = [
        reason.code
        for vector in people[0][30:50]
        for reason in compare("keystroke", vector, kept, models["keystroke"]).reasons
    ]
    assert "keystroke_parted" in codes
    stranger = compare("keystroke", people[1][40], kept, models["keystroke"])
    assert stranger == compare(
        "keystroke", people[1][40], replace(kept, parted=False), models["keystroke"]
    )


def test_what_says_nothing_says_why(models, people):
    """Unfit, learning, of another length, or unknown to the model: 0 nats and a reason."""
    vector, kept = people[0][0], taught(people[0][:30])
    short = Vector(Layout.keystroke(3), Layout.keystroke(3).expand(vector.kept[:5]))
    for found, mine, model, code in (
        (NotScored("pasted"), kept, models["keystroke"], "keystroke_pasted"),
        (vector, None, models["keystroke"], "keystroke_learning"),
        (vector, taught(people[0][:4]), models["keystroke"], "keystroke_learning"),
        (short, kept, models["keystroke"], "keystroke_length_differs"),
        (vector, kept, None, "keystroke_not_scored"),
    ):
        part = compare("keystroke", found, mine, model)
        assert (part.nats, part.scored, part.reasons[0].code) == (0, False, code)
        assert part.reasons[0].detail


def test_a_part_that_says_nothing_stays_silent_beside_others(models, people):
    """A keyboard without a pointer takes nothing from the keys."""
    kept = {"keystroke": taught(people[0][:30])}
    found = {"pointer": NotScored("not_used"), "keystroke": people[0][40]}
    parts = compare_all(found, kept, models)
    assert set(parts) == {"pointer", "keystroke"}
    assert parts["keystroke"] == compare(
        "keystroke", people[0][40], kept["keystroke"], models["keystroke"]
    )


def test_what_a_program_made_counts_without_a_profile(models, people):
    """1.5 nats against, learning or not; beside the keys, and never below the floor."""
    script = Scripted("scripted_even")
    for kept in (None, taught(people[0][:30])):
        part = compare("pointer", script, kept, models["pointer"])
        assert (part.nats, part.scored, part.reasons[0].code) == (
            SCRIPTED,
            False,
            "pointer_scripted_even",
        )
    said = assessment({"pointer": part}, replay=False)
    assert bounded(said.llr, LOWEST, said.seen) == SCRIPTED
    assert (said.hard, said.enough_history) == (False, False)
    learning = compare("keystroke", people[0][0], None, models["keystroke"])
    both = assessment({"pointer": part, "keystroke": learning}, replay=False)
    assert bounded(both.llr, LOWEST, both.seen) == SCRIPTED


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_what_is_withheld_never_speaks_for_anybody(samples, absent):
    """-2 to 0 nats; the more often it stays away, the less."""
    part = withheld("keystroke", samples, absent)
    assert -2 <= part.nats <= 0
    assert withheld("keystroke", samples, absent + 1).nats >= part.nats
    assert withheld("keystroke", samples + 1, absent).nats <= part.nats


@given(PARTS, st.booleans())
def test_what_is_said_is_bounded(parts, replay):
    """Whatever the parts: -6 to 5; nothing scored or withheld is 0; a replay is hard."""
    said = assessment(parts, replay=replay)
    counts = bounded(said.llr, LOWEST, said.seen)
    assert LOWEST <= counts <= HIGHEST
    assert said.hard is replay
    if replay:
        assert counts <= REPLAYED
    elif not any(part.scored or part.withheld or part.scripted for part in parts.values()):
        assert counts == 0
    if any(part.withheld for part in parts.values()):
        assert counts <= 0


@given(PARTS, st.booleans(), st.integers(0, 10_000))
def test_behavior_alone_lowers_nothing_and_proves_no_level(parts, replay, seed):
    """Over random policies and evidence: with it at least as much is asked as without."""
    random = Random(seed)
    whole, seen = policy(random), facts(random)
    without = replace(seen, assessments=())
    said = assessment(parts, replay=replay)
    said = replace(said, llr=bounded(said.llr, LOWEST, said.seen))
    with_it = replace(without, assessments=(said,))
    assert lowered(whole, without, with_it) == []
    # A level comes from evidence, and a signal gives none.
    shown = achieved(without.evidence, without.now)
    assert achieved(with_it.evidence, with_it.now) == shown
    nothing = replace(with_it, evidence=())
    if decide(whole, nothing).effect is Effect.ALLOW:
        assert decide(whole, replace(without, evidence=())).effect is Effect.ALLOW
