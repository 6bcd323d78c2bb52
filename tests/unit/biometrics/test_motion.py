"""Movement becomes columns whatever the sensor's rate; what says nothing of a hand is named."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biometrics.behavior.features import NotScored, Vector
from biometrics.behavior.layout import HELD, HOLDING, Layout
from biometrics.behavior.model import DEFAULT, load
from biometrics.behavior.motion import PITCH, ROLL, USUAL_PITCH, Series, angles, motion
from biometrics.behavior.profile import Profile
from biometrics.behavior.scorer import llrs, ready, score
from lab.behavior import synthetic_motion
from lab.behavior.shipped import KIND
from lab.evaluation import cllr, eer
from service.signals.behavior.profile import Kept

VECTOR = Path(__file__).parents[2] / "vectors/behavior/scores.json"
LAYOUT = Layout.motion()


@pytest.fixture(scope="module")
def model():
    return load(DEFAULT)["motion"]


@pytest.fixture(scope="module")
def person():
    return synthetic_motion.holder(np.random.default_rng(5), synthetic_motion.Holding())


def given_at(person, posture="sitting", hz=50.0, count=1, seed=6):
    return person.session(np.random.default_rng(seed), posture, count, hz)


def code_of(series):
    with pytest.raises(NotScored) as found:
        motion(series)
    assert found.value.detail
    return found.value.code


@pytest.mark.parametrize("posture", synthetic_motion.POSTURES)
@pytest.mark.parametrize(
    ("every", "most", "usual"), [(2, 0.12, 0.05), (4, 0.4, 0.25), (5, 0.4, 0.25)]
)
def test_the_rate_of_the_sensor_hardly_matters(person, posture, every, most, usual):
    """100 Hz against 50, 25 and 20 of the same movement: what people differ by is about one."""
    apart = []
    for whole in given_at(person, posture, 100.0, 10):
        fewer = Series(100.0 / every, whole.acc[::every], whole.rot[::every])
        apart.append(np.abs(motion(fewer).row - motion(whole).row))
    assert np.max(apart) <= most
    assert np.median(apart, axis=0).max() <= usual


@pytest.mark.parametrize(
    ("gravity", "pitch", "roll"),
    [
        ((0, 0, 9.8), 0, 0),
        ((0, 9.8, 0), 90, 0),
        ((0, 6.93, 6.93), 45, 0),
        ((0, 9, -3.9), 113.4, 0),
        ((4.9, 0, 8.49), 0, 30),
        ((-4.9, 6, 6), 45, -30),
    ],
)
def test_angles_are_those_of_gravity(gravity, pitch, roll):
    """Flat on the back 0, upright 90, beyond when one looks up at it; the right side up is more."""
    found = angles(np.array(gravity, dtype=float))
    assert found[0] * PITCH + USUAL_PITCH == pytest.approx(pitch, abs=0.2)
    assert found[1] * ROLL == pytest.approx(roll, abs=0.2)


def test_columns_are_named_by_what_they_measure(person):
    """As many of each kind as the layout says, all of them numbers."""
    found = motion(given_at(person)[0])
    assert found.layout == LAYOUT
    assert found.row.shape == (sum(HELD.values()),)
    assert np.isfinite(found.row).all()


def test_a_stronger_movement_is_more_and_the_angle_stays(person):
    """Twice the rotation adds ln 2 to each of its columns and to nothing else."""
    series = given_at(person)[0]
    twice = replace(series, rot=(2 * np.array(series.rot)).tolist())
    moved = motion(twice).row - motion(series).row
    turning = np.array(LAYOUT.kinds) == "turning"
    assert moved[turning] == pytest.approx(np.log(2))
    assert not moved[~turning].any()


def changed(**change):
    person = synthetic_motion.holder(np.random.default_rng(5), synthetic_motion.Holding())
    series = given_at(person)[0]
    acc, rot = np.array(series.acc), np.array(series.rot)
    made = {"acc": acc, "rot": rot, "hz": series.hz} | {
        name: part(acc, rot) if callable(part) else part for name, part in change.items()
    }
    return Series(made["hz"], np.asarray(made["acc"]).tolist(), np.asarray(made["rot"]).tolist())


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"rot": lambda acc, rot: rot[:-1]}, "lengths_differ"),
        ({"rot": []}, "lengths_differ"),
        ({"acc": [], "rot": []}, "too_short"),
        ({"hz": 19.9}, "rate_too_low"),
        ({"acc": lambda acc, rot: acc[:9], "rot": lambda acc, rot: rot[:9]}, "too_short"),
        ({"acc": lambda acc, rot: acc[:25], "rot": lambda acc, rot: rot[:25]}, "too_short"),
        ({"acc": lambda acc, rot: 0 * acc}, "sensor_constant"),
        ({"acc": lambda acc, rot: 0 * acc + (0, 0, 9.8)}, "sensor_constant"),
        ({"rot": lambda acc, rot: 0 * rot}, "sensor_constant"),
        ({"acc": lambda acc, rot: acc - acc.mean(axis=0)}, "gravity_missing"),
        ({"acc": lambda acc, rot: acc / 9.8}, "unknown_units"),
        ({"acc": lambda acc, rot: 1000 * acc / 9.8}, "unknown_units"),
        ({"rot": lambda acc, rot: 1e4 * rot}, "unknown_units"),
        (
            {"acc": lambda acc, rot: acc.mean(axis=0) + 1e-3 * (acc - acc.mean(axis=0))},
            "lies_still",
        ),
    ],
)
def test_what_says_nothing_of_a_hand_is_named(change, code):
    """Of different lengths, too short, constant, in other units, or lying on a table."""
    assert code_of(changed(**change)) == code


TRIPLES = st.lists(st.tuples(*[st.floats(-1e6, 1e6)] * 3), max_size=60)
CALM = st.lists(st.tuples(*[st.floats(-20, 20)] * 3), min_size=30, max_size=30)


@given(st.floats(1e-3, 400), TRIPLES | CALM, TRIPLES | CALM)
def test_whatever_is_well_formed_gives_numbers_or_a_name(hz, acc, rot):
    """Never a fault, never a value that is no number."""
    try:
        row = motion(Series(hz, acc, rot)).row
    except NotScored as why:
        row = np.zeros(len(why.detail) and 1)
    assert len(row)
    assert np.isfinite(row).all()


def test_the_same_seed_gives_the_same_people():
    """The generator draws nothing but from its seed, and no series is longer than the wire's."""
    one, same, other = (synthetic_motion.series(2, samples=20, seed=seed) for seed in (3, 3, 4))
    assert one == same
    assert one != other
    assert all(len(given.acc) <= 400 for person in one for given in person)


def test_people_whom_nobody_saw_are_told_apart(model):
    """Generated people of another seed: own above strangers, and the ratio tells something."""
    people = synthetic_motion.people(12, samples=60, seed=77)
    own, others, rates = [], [], []
    for number, rows in enumerate(people):
        against = ready(Profile.empty(LAYOUT).absorb(rows[:40]), model)
        mine = llrs(against, rows[40:])
        rest = llrs(against, np.concatenate([people[at][::6] for at in range(12) if at != number]))
        own.append(mine.clip(*against.clip))
        others.append(rest.clip(*against.clip))
        rates.append(eer(mine, rest))
    assert np.mean(rates) < 0.2
    assert cllr(np.concatenate(own), np.concatenate(others)) < 0.7


def test_an_unseen_posture_speaks_little_against_its_owner(model):
    """The shipped model may say one nat against, whoever begins to walk; two for."""
    assert model.clip == KIND == (-1.0, 2.0)
    random = np.random.default_rng(9)
    for _ in range(5):
        person = synthetic_motion.holder(random, synthetic_motion.Holding())
        sat = np.array([motion(one).row for one in person.session(random, "sitting", 30)])
        walked = [motion(one).row for one in person.session(random, "walking", 5)]
        against = ready(Profile.empty(LAYOUT).absorb(sat), model)
        assert all(-1 <= score(against, row).llr <= 2 for row in walked)


@pytest.mark.parametrize(
    ("column", "steps", "told"),
    [
        (0, 1.2, "18° steeper"),
        (0, -1.2, "18° flatter"),
        (1, 2, "12° more to the left"),
        (1, -2, "12° more to the right"),
    ],
)
def test_reasons_tell_the_angle_in_degrees(model, person, column, steps, told):
    """What a person reads says how the telephone is held, and shares add up to the ratio."""
    rows = np.array([motion(one).row for one in given_at(person, count=20)])
    against = ready(Profile.empty(LAYOUT).absorb(rows), model)
    row = np.array(against.prepared.own.center)
    row[column] += steps
    found = score(against, row)
    texts = dict(found.contributions)
    assert f"holding angle {told} than usual" in texts
    assert any(text.startswith("shaking") for text in texts)
    low, high = against.clip
    assert found.llr == pytest.approx(min(max(sum(texts.values()), low), high))


def test_a_profile_of_movement_comes_back_and_never_parts(person):
    """Whoever sat for twenty logins and then walks for good has not been robbed."""
    kept = Kept.empty(LAYOUT)
    for posture in ("sitting", "walking"):
        for one in given_at(person, posture, count=25):
            kept = kept.learn(motion(one))
    again = Kept.unpack(kept.pack())
    assert again.profile.layout == LAYOUT
    assert again.pack() == kept.pack()
    assert kept.profile.parted() > 2.5
    assert not kept.parted


def test_movement_that_comes_again_is_found(person):
    """To a rounding of the wire; another movement of the same person is none."""
    series = given_at(person, count=30)
    kept = Kept.empty(LAYOUT)
    for one in series[:20]:
        kept = kept.learn(motion(one))
    rounded = Series(50.0, np.round(series[4].acc, 4).tolist(), np.round(series[4].rot, 4).tolist())
    assert kept.has(motion(rounded))
    assert not any(kept.has(motion(one)) for one in series[20:])


def test_a_fixed_profile_and_series_give_a_fixed_score(model):
    """Frozen vectors: columns of a series, and ratios against the bytes of a profile."""
    vector = json.loads(VECTOR.read_text())["motion"]
    profile = Profile.unpack(bytes.fromhex(vector["profile"]))
    assert profile.pack().hex() == vector["profile"]
    against = ready(profile, model)
    for sample in vector["samples"]:
        found = motion(Series(sample["hz"], sample["acc"], sample["rot"]))
        assert found.row == pytest.approx(np.array(sample["row"]), abs=1e-6)
        assert llrs(against, found.row[None])[0] == pytest.approx(sample["llr"], abs=1e-3)


def test_some_columns_are_enough_for_the_shipped_head(model):
    """A published set that lacks the changes is scored by the same model."""
    part = Layout.movement({HOLDING: 2, "shaking": 4, "turning": 5})
    at = [0, 1, 2, 3, 4, 5, 9, 10, 11, 12, 13]
    rows = synthetic_motion.people(1, samples=20, seed=8)[0][:, at]
    against = ready(Profile.empty(part).absorb(rows), model)
    assert np.isfinite(llrs(against, rows)).all()
    assert Vector(part, rows[0]).kept.shape == (11,)
