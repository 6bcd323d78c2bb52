"""Behavior: profiles, scores, the shipped model, the evaluation and its bad input."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from biometrics.behavior.head import fit
from biometrics.behavior.layout import Layout
from biometrics.behavior.model import DEFAULT, BadModel, load, save
from biometrics.behavior.population import learn_population
from biometrics.behavior.profile import MOST_BYTES, BadProfile, Profile
from biometrics.behavior.scorer import llrs, ready, score
from lab.behavior import synthetic_typing
from lab.behavior.training import Plan, keystroke_plan, train
from tests.unit.biometrics.typing_samples import KEYS, LAYOUT


@pytest.fixture(scope="module")
def shipped():
    return load(DEFAULT)


def test_a_profile_comes_back_from_its_bytes(typists):
    """Packing keeps samples to half a step, totals and the anchor, below 6 KB."""
    profile = Profile.empty(LAYOUT).absorb(typists[0])
    again = Profile.unpack(profile.pack())
    assert len(profile.pack()) <= MOST_BYTES
    assert again.total == 130
    assert len(again.samples) == 100
    assert np.array_equal(again.samples, profile.samples)
    assert np.array_equal(again.anchor, profile.anchor)
    assert np.abs(again.rows - typists[0][-100:]).max() <= 0.0003


@pytest.mark.parametrize(
    "layout", [Layout.keystroke(64), Layout.touch(64), Layout.statistics("motion", 32)]
)
def test_the_longest_profile_stays_below_its_bound(layout):
    """However many columns there are, a full profile has at most 6 KB."""
    rows = np.abs(np.random.default_rng(1).normal(0.2, 0.1, (120, layout.columns)))
    packed = Profile.empty(layout).absorb(rows).pack()
    assert len(packed) <= MOST_BYTES
    assert Profile.unpack(packed).layout == layout


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\x02" + bytes(20),
        b"\x01\x09" + bytes(20),
        b"\x01\x00\x01" + bytes(20),
        b"\x01\x00\x08" + bytes(9),
    ],
)
def test_bytes_that_are_no_profile_are_refused(packed):
    """A wrong version, signal, number of keys or length is BadProfile."""
    with pytest.raises(BadProfile):
        Profile.unpack(packed)


def test_an_anchor_is_frozen_and_tells_when_the_profile_parts_from_it(typists):
    """The anchor stays what the first samples made it while another person's samples move on."""
    begun = Profile.empty(LAYOUT).absorb(typists[0][40:60])
    same = begun.absorb(typists[0][60:100])
    taken = begun.absorb(typists[1][60:100])
    assert np.array_equal(taken.anchor, begun.anchor)
    assert begun.parted() == 0.0
    assert taken.parted() > same.parted()


def test_below_five_samples_nothing_is_said(shipped, typists):
    """A profile of four samples is learning and has no score."""
    assert ready(Profile.empty(LAYOUT).absorb(typists[0][:4]), shipped["keystroke"]) is None


def test_the_shipped_model_says_at_most_two_nats(shipped, typists):
    """The owner scores above a stranger, and neither leaves -2..2."""
    against = ready(Profile.empty(LAYOUT).absorb(typists[0][:100]), shipped["keystroke"])
    own = [score(against, row).llr for row in typists[0][100:]]
    other = [score(against, row).llr for rows in typists[1:] for row in rows[100:105]]
    assert np.mean(own) > 0 > np.mean(other)
    assert max(map(abs, own + other)) <= 2.0


def test_a_score_says_why_and_its_shares_add_up(shipped, typists):
    """Readable contributions sum to the ratio before clipping; a poor quality halves the score."""
    against = ready(Profile.empty(LAYOUT).absorb(typists[0][:60]), shipped["keystroke"])
    row = typists[1][100]
    found = score(against, row)
    total = sum(share for _, share in found.contributions)
    assert total == pytest.approx(llrs(against, row[None])[0])
    assert any(name.startswith("hold times") for name, _ in found.contributions)
    assert score(against, row, 0.5).llr == pytest.approx(found.llr / 2)


@pytest.mark.parametrize("keys", [2, 3])
def test_the_shortest_texts_are_scored(shipped, keys):
    """Where there are too few columns for a rhythm, it says nothing."""
    layout = Layout.keystroke(keys)
    own, other = (
        layout.expand(rows) for rows in synthetic_typing.people(2, keys, samples=60, seed=4)
    )
    against = ready(Profile.empty(layout).absorb(own[:40]), shipped["keystroke"])
    assert llrs(against, own[40:]).mean() > llrs(against, other[40:]).mean()
    shares = dict(score(against, own[50]).contributions)
    assert shares["rhythm of times from press to press"] == 0.0


def test_many_scores_at_once_are_those_one_by_one(shipped, typists):
    """Rows scored together and each alone give the same ratios."""
    against = ready(Profile.empty(LAYOUT).absorb(typists[0][:60]), shipped["keystroke"])
    alone = [llrs(against, row[None])[0] for row in typists[1][:9]]
    assert llrs(against, typists[1][:9]) == pytest.approx(alone, abs=1e-9)


@pytest.mark.parametrize("way", ["enrolled", "live"])
@pytest.mark.parametrize("samples", [5, 10, 30, 100])
def test_what_nobody_types_scores_below_the_person(shipped, typists, way, samples):
    """Products of statistics never turn an absurd sample into the person's."""
    against = ready(Profile.empty(LAYOUT).absorb(typists[0][:samples]), shipped["keystroke"], way)
    usual = typists[0][100, LAYOUT.kept]
    absurd = [usual * 3, usual * 10, usual / 5, usual * 0, usual * 0 + 8.0]
    rows = LAYOUT.expand(np.array(absurd))
    assert llrs(against, rows).max() < llrs(against, typists[0][100:]).mean() - 5


def test_what_is_not_a_number_is_scored_as_the_mean(shipped, typists):
    """A column that a client left out moves no ratio to infinity or to no number."""
    population = shipped["keystroke"].known.population(LAYOUT)
    row = typists[0][:1].copy()
    row[0, 3] = np.nan
    assert population.normal(row)[0, 3] == population.mean[3]


def test_a_fixed_profile_and_sample_give_a_fixed_score(shipped):
    """Frozen vectors: the bytes of a profile and the ratios of two samples never change."""
    file = Path(__file__).parents[2] / "vectors/behavior/scores.json"
    vector = json.loads(file.read_text())
    profile = Profile.unpack(bytes.fromhex(vector["profile"]))
    against = ready(profile, shipped["keystroke"])
    for sample in vector["samples"]:
        row = profile.layout.expand(np.array(sample["row"]))
        assert llrs(against, row[None])[0] == pytest.approx(sample["llr"], abs=1e-4)
    assert profile.pack().hex() == vector["profile"]


def test_a_model_comes_back_from_its_file(shipped, typists, tmp_path):
    """What is saved scores as what was loaded; what is no model is refused by name."""
    save(shipped, tmp_path / "again.npz")
    profile = Profile.empty(LAYOUT).absorb(typists[0][:60])
    scores = [
        llrs(ready(profile, models["keystroke"]), typists[1])
        for models in (shipped, load(tmp_path / "again.npz"))
    ]
    assert np.allclose(*scores)
    (tmp_path / "bad.npz").write_bytes(b"PK nothing")
    for name in ("bad.npz", "absent.npz"):
        with pytest.raises(BadModel, match=name):
            load(tmp_path / name)


def test_a_model_of_one_text_is_not_written_and_knows_no_other(typists, tmp_path):
    """A fixed-text model serves an evaluation only."""
    plan = keystroke_plan(130)
    model = train(
        LAYOUT,
        people=typists,
        plan=Plan(repeats=1, groups=2, enrollments=plan.enrollments[:2]),
        version="t",
    )
    with pytest.raises(BadModel):
        save({"keystroke": model}, tmp_path / "no.npz")
    with pytest.raises(LookupError):
        model.known.population(Layout.keystroke(9))
    with pytest.raises(ValueError, match="at least"):
        train(LAYOUT, people=typists[:3], plan=plan, version="t")


def test_the_same_people_train_the_same_file(typists, tmp_path):
    """Training draws nothing that its seed does not fix: byte for byte the same model."""
    whole = keystroke_plan(130, fixed=False)
    plan = replace(whole, repeats=1, groups=2, enrollments=whole.enrollments[:2])
    for name in ("once.npz", "twice.npz"):
        save({"keystroke": train(LAYOUT, people=typists, plan=plan, version="t")}, tmp_path / name)
    assert (tmp_path / "once.npz").read_bytes() == (tmp_path / "twice.npz").read_bytes()


@pytest.mark.parametrize("samples", [120, 240, 400])
def test_training_never_scores_what_it_enrolled(samples):
    """Every enrollment ends before its genuine samples begin, and leaves ten of them or more."""
    for one in keystroke_plan(samples).enrollments:
        assert 0 <= one.start < one.end <= one.genuine.start <= samples - 10


def test_first_samples_look_like_a_beginners():
    """What tells who learns the text is higher for the first samples of people nobody saw."""
    rows = [LAYOUT.expand(part) for part in synthetic_typing.people(30, KEYS, samples=130, seed=6)]
    population = learn_population(LAYOUT, rows[:20], session=20, settled=40)
    said = np.array([population.learning(population.normal(part)) for part in rows[20:]])
    assert said[:, :5].mean() > said[:, 60:].mean()


def test_a_head_tells_what_no_weighted_sum_can():
    """Products of statistics are weighed: two that agree against two that differ."""
    random = np.random.default_rng(1)
    found = random.normal(0, 1, (400, 2)).clip(-2, 2)
    genuine = (found[:, 0] * found[:, 1] > 0).astype(float)
    said = fit(found, genuine, np.ones(400), ridge=1e-2, components=2).llr(found)
    assert ((said > 0) == (genuine > 0)).mean() > 0.9
    flat = fit(found, genuine, np.ones(400), ridge=1e-2, components=0).llr(found)
    assert ((flat > 0) == (genuine > 0)).mean() < 0.7


def test_touches_are_scored_with_pressure_and_size(shipped):
    """The same typing by another finger scores lower."""
    layout = Layout.touch(KEYS)
    typed = synthetic_typing.people(1, KEYS, samples=80, seed=5)[0]
    own, other = (layout.expand(synthetic_typing.touches(typed, KEYS, seed)) for seed in (1, 2))
    against = ready(Profile.empty(layout).absorb(own[:60]), shipped["touch"])
    assert llrs(against, own[60:]).mean() > llrs(against, other[60:]).mean()
