"""The benchmark of behavior: its parts on generated people, and data that is not there."""

import json

import numpy as np
import pytest

from benchmarks import behavior as bench
from benchmarks import behavior_parts as parts
from biometrics.behavior.layout import Layout
from biometrics.behavior.model import DEFAULT, load
from lab.behavior import synthetic_typing
from lab.behavior.protocols import Run
from lab.evaluation import Trial

KEYS = 8
LAYOUT = Layout.keystroke(KEYS)


@pytest.fixture(scope="module")
def typed():
    """Six people with 290 typings each, and the shipped model, which knows none of them."""
    rows = synthetic_typing.people(6, KEYS, samples=290, seed=21)
    people = {str(number): LAYOUT.expand(part) for number, part in enumerate(rows)}
    return [parts.Part(people, load(DEFAULT)["keystroke"])]


def test_error_rates_follow_the_people(typed):
    """People are told apart; when their samples are dealt out at random, it is a coin's toss."""
    run = Run("km", 200)
    found = parts.figures(parts.run_head(LAYOUT, typed, run))
    assert found["novice"]["eer"] < 0.2
    every = np.concatenate(list(typed[0].tested.values()))
    dealt = np.random.default_rng(1).permutation(every).reshape(6, 290, -1)
    nobody = [parts.Part(dict(zip("abcdef", dealt, strict=True)), typed[0].model)]
    for trials in (
        parts.run_head(LAYOUT, nobody, run),
        parts.run_plain(LAYOUT, nobody, run, "scaled_manhattan"),
        parts.run_mahalanobis(nobody),
    ):
        assert parts.figures(trials, None)["novice"]["eer"] == pytest.approx(0.5, abs=0.1)


def test_a_fold_is_never_learned_from():
    """People who are tested and people who are learned from are disjoint, and are everybody."""
    people = {str(number): np.zeros((1, 1)) for number in range(11)}
    seen = []
    for tested, others in parts.split(people, 3):
        assert not set(tested) & set(others)
        assert set(tested) | set(others) == set(people)
        seen += list(tested)
    assert sorted(seen) == sorted(people)


def test_a_coarse_clock_tells_whole_steps(typed):
    """Every time is a multiple of the step; a step of nothing changes nothing."""
    people = typed[0].tested
    assert parts.stepped(LAYOUT, people, 0.0) is people
    rows = parts.stepped(LAYOUT, people, 0.1)["0"][:, LAYOUT.kept]
    assert np.abs(rows / 0.1 - np.rint(rows / 0.1)).max() < 1e-6
    assert np.abs(rows - people["0"][:, LAYOUT.kept]).max() <= 0.2


def test_a_profile_that_learns_from_anybody_is_taken_over(typed):
    """An attacker passes more often when his logins are learned from than with the rule."""
    found = parts.poisoned(LAYOUT, typed, 1)
    assert found["every"] > found["accepted"] >= found["aal2"]
    assert found["every"] > 0.5 > found["aal2"]
    assert 0.0 <= found["parted"] <= 1.0


def ratios(random, number, spread):
    """Return trials of one person whose scores are calibrated ratios of two normals."""
    genuine = random.normal(spread**2 / 2, spread, 400)
    return Trial(str(number), genuine, random.normal(-(spread**2) / 2, spread, 400))


def test_adding_independent_ratios_loses_nothing_and_twice_the_same_does():
    """The loss of adding is seen where two signals say the same."""
    random = np.random.default_rng(8)
    left, right = (
        [{"novice": [ratios(random, number, 1.5)]} for number in range(4)] for _ in range(2)
    )
    apart = parts.fused(left, right)
    assert abs(apart["loss"]) < 0.01
    assert apart["sum"] < min(apart["first"], apart["second"])
    assert parts.fused(left, left)["loss"] > 0.02


def test_each_cost_is_measured(typed):
    """Every step has a positive median; making a profile ready costs more than a score."""
    found = parts.speed(LAYOUT, typed[0].tested["0"], typed[0].model, 2)
    assert min(found.values()) > 0
    assert found["ready"] > found["scaled_manhattan"]


def write_meu(folder, people):
    folder.mkdir(parents=True)
    for number in range(people):
        rows = synthetic_typing.people(1, 14, samples=51, session=10, seed=number)[0]
        rows = synthetic_typing.touches(rows, 14, number)
        blank = np.zeros((51, 13))
        every = np.hstack([rows[:, :27] * 1000, blank, rows[:, 27:], blank[:, :3]])
        np.savetxt(folder / f"{number}.csv", every, "%.5f", ",")


def test_what_is_there_is_measured_and_what_is_not_is_told(tmp_path, capsys):
    """One run prints the tables of the sets that are there and writes JSON and plots."""
    write_meu(tmp_path / "data/meu_touch", 12)
    out, plots = tmp_path / "found.json", tmp_path / "plots"
    how = ["--quick", "--out", str(out), "--plot", str(plots)]
    bench.main(["--data", str(tmp_path / "data"), *how])
    printed = capsys.readouterr().out
    assert "left out: " in printed
    assert "DSL-StrongPasswordData-31.csv is not there" in printed
    assert "| MEU, n = 20 |" in printed
    assert "| MEU, n = 20, shipped model |" in printed
    told = json.loads(out.read_text())
    eer = told["tables"]["touch"]["MEU, n = 20"]["novice"]["eer"]
    assert f"{eer:.3f} / " in printed
    assert len(list(plots.glob("*.png"))) == 8


@pytest.mark.parametrize("made", [None, "data", "data/meu_touch"])
def test_data_that_is_not_there_is_a_clear_error(tmp_path, capsys, made):
    """No directory, an empty one and one with a bad file end with code 2; nothing is written."""
    if made:
        (tmp_path / made).mkdir(parents=True)
    if made == "data/meu_touch":
        (tmp_path / made / "1.csv").write_text("1,2\n")
    out = tmp_path / "found.json"
    with pytest.raises(SystemExit) as ended:
        bench.main(["--data", str(tmp_path / "data"), "--out", str(out)])
    assert ended.value.code == 2
    told = {None: "is no directory", "data": "has none of the sets"}
    assert told.get(made, "1.csv: line 1: 2 columns") in capsys.readouterr().err
    assert not out.exists()
