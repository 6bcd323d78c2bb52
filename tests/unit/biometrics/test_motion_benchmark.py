"""What the benchmark of the login says of movement is what a login would."""

import csv

import numpy as np

from benchmarks import behavior_motion as bench
from benchmarks.behavior_login import POSTURES, copied, measure, moved
from biometrics.behavior.features import Vector
from biometrics.behavior.layout import Layout
from lab.behavior import synthetic_motion
from lab.evaluation import summarize
from tests.typists import grips


def samples(count, seed):
    rows = synthetic_motion.people(count, samples=30, seed=seed)
    return {str(at): [Vector(Layout.motion(), row) for row in part] for at, part in enumerate(rows)}


def test_an_unseen_posture_is_scored_against_what_was_learned_before_it():
    """Only samples after the others count, and none of them is learned."""
    people = samples(4, 12)
    seen = measure(people, 1, 20)
    assert (seen.people, seen.typed, len(seen.own)) == (4, 120, 40)
    # Were they learned, it would matter which of them comes first.
    turned = {name: [*part[:20], *part[:19:-1]] for name, part in people.items()}
    assert sorted(measure(turned, 1, 20).own) == sorted(seen.own)
    assert len(measure(people, 1).own) == 4 * 25


def test_a_row_that_a_set_repeats_is_no_false_replay():
    """It is one; another sample is none."""
    one, other = next(iter(samples(1, 3).values()))[:2]
    assert copied(one, [other, one])
    assert not copied(one, [other])


def test_every_posture_is_measured_seen_and_unseen(tmp_path, monkeypatch):
    """Three postures and each of them unseen, of the same people; without data the generated."""
    made = synthetic_motion.people(2, samples=5, seed=1)
    monkeypatch.setattr(synthetic_motion, "people", lambda *_, **__: made)
    folder = tmp_path / "hold_and_tap"
    folder.mkdir()
    random = np.random.default_rng(2)
    for posture in POSTURES:
        with (folder / f"{posture}_Sensor_with_label.csv").open("w", newline="") as file:
            rows = random.uniform(0.1, 5, (8, 112)).round(4).tolist()
            csv.writer(file).writerows([*row, float(at % 2)] for at, row in enumerate(rows))
    found = {name: (people, unscored) for name, people, unscored in moved(tmp_path)}
    assert len(found) == 7
    people, unscored = found["Hold and Tap, walking unseen"]
    assert (set(people), unscored, len(people["0"])) == ({"0", "1"}, 8, 12)
    assert [name for name, *_ in moved(None)] == ["generated, motion"]


def test_people_are_met_in_a_posture_that_they_did_not_enroll_in():
    """Its rows are scored against two others; a profile that learns them gets nearer to them."""
    layout = Layout.statistics("motion", 6)
    people = grips(16, 6, samples=30, seed=5)
    postures = [{str(n): rows + shift for n, rows in enumerate(people)} for shift in (0, 0.3, 0.6)]
    once, lives = bench.across(layout, postures=postures, folds=2, title="unseen")
    assert [len(trial.genuine) for trial in once["novice"]] == [bench.EACH] * 16
    assert {len(trial.impostor) for trial in once["practised"]} == {35}
    eer = [summarize(found["novice"])["eer"] for found in (once, lives)]
    assert eer[1] <= eer[0] + 0.02 < 0.42
    once, lives = bench.across(layout, postures=postures, folds=2, title="with own", own=20)
    assert {len(trial.genuine) for trial in (*once["novice"], *lives["novice"])} == {9}


def test_no_sample_trains_a_head_that_its_profile_has_learned():
    """Each posture takes its turn at being the last, and what is scored comes after."""
    for own in (0, 20):
        found = bench.turns(own)
        ends = [each.genuine.start // bench.EACH for each in found if each.way == "enrolled"]
        assert ends == [2, 3, 4]
        for each in found:
            assert each.end == each.genuine.start
            assert each.end - each.start >= 2 * bench.EACH + own


def test_dealing_samples_at_random_keeps_them_with_their_person():
    """Only the order changes."""
    people = {"a": np.arange(40.0)[:, None], "b": -np.arange(1.0, 41)[:, None]}
    dealt = bench.shuffled(people)
    for name, rows in people.items():
        assert not np.array_equal(dealt[name], rows)
        assert np.array_equal(np.sort(dealt[name], axis=0), np.sort(rows, axis=0))
