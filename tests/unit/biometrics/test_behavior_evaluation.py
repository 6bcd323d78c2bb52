"""Evaluation of behavior: error rates, protocols, data sets and their bad input."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from biometrics.behavior.model import DEFAULT, load
from biometrics.behavior.profile import Profile
from biometrics.behavior.scorer import own_scores
from lab import evaluation
from lab.behavior import loaders, protocols, synthetic_typing
from lab.behavior.loaders import BadData
from lab.behavior.protocols import Run
from service.cli import main
from tests.lacking import lack
from tests.unit.biometrics.typing_samples import KEYS, LAYOUT

DATA = os.environ.get("LAMINA_TEST_BEHAVIOR_DATA", "")


def write_cmu(path, people, count=None):
    names = [f"H.{n}" for n in range(KEYS)]
    names += [f"{kind}.{n}" for kind in ("DD", "UD") for n in range(KEYS - 1)]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["subject", "sessionIndex", "rep", *names])
        for number, rows in enumerate(people):
            for rep, row in enumerate(rows[:count]):
                writer.writerow([f"p{number}", 1, rep + 1, *(f"{value:.4f}" for value in row)])
    return path


def test_error_rates_of_known_scores():
    """Equal error, zero-miss, Cllr and its least value are what hand calculation gives."""
    genuine, impostor = np.array([1.0, 2.0, 3.0, -1.0]), np.array([-2.0, -3.0, 0.0, -4.0])
    assert evaluation.eer(genuine, impostor) == pytest.approx(0.25)
    assert evaluation.eer(np.ones(3), -np.ones(3)) == 0.0
    assert evaluation.zero_miss_far(genuine, impostor) == 0.25
    assert evaluation.frr_at_far(genuine, impostor, 0.01) == 0.25
    assert evaluation.cllr(np.zeros(2), np.zeros(2)) == pytest.approx(1.0)
    assert evaluation.cllr_min(np.ones(3), -np.ones(3)) == pytest.approx(0.0, abs=1e-6)
    assert evaluation.cllr_min(np.ones(3), np.ones(5)) == pytest.approx(1.0)
    assert evaluation.cllr_min(genuine, impostor) <= evaluation.cllr(genuine, impostor)


def test_plots_are_drawn(tmp_path, recwarn):
    """A DET and a reliability plot are written."""
    trials = [evaluation.Trial("a", np.array([1.0, 2.0, -1.0]), np.array([-1.0, -2.0, 0.5]))]
    paths = evaluation.plot(trials, "test", tmp_path / "km")
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in paths)


@pytest.mark.parametrize(
    ("mend", "told"),
    [
        (lambda t: t.replace("subject,", "who,", 1), "line 1"),
        (lambda t: t.replace("H.0,", "", 1), "line 1"),
        (lambda t: t + "p0,1,9,0.1\n", "line 7: 4 columns"),
        (lambda t: t.replace("p0,1,1,0.", "p0,1,1,x0.", 1), "line 2, column H.0"),
        (lambda t: t.replace("p0,1,1,0.", "p0,1,1,-0.", 1), "line 2, column H.0"),
        (lambda t: t.replace("p0,1,2,0.", "p0,1,2,nan0.", 1), "line 3, column H.0"),
        (lambda t: t.replace("p0,1,1,0.", ",1,1,0.", 1), "line 2, column subject"),
        (lambda t: t.splitlines()[0], "no rows"),
    ],
)
def test_a_bad_file_is_told_by_line_and_column(typists, tmp_path, mend, told):
    """Evaluation of a bad CSV names the place and leaves no plot behind."""
    path = write_cmu(tmp_path / "typed.csv", typists[:1], 5)
    path.write_text(mend(path.read_text()))
    with pytest.raises(BadData, match=told):
        loaders.load_cmu(path)
    outcome = CliRunner().invoke(
        main, ["behavior", "evaluate", str(path), "--plot", str(tmp_path / "plots")]
    )
    assert outcome.exit_code == 2
    assert not (tmp_path / "plots").exists()


def test_the_command_trains_and_measures(tmp_path):
    """Train on some people, evaluate others: every field of the contract, and refusals."""
    rows = [LAYOUT.expand(part) for part in synthetic_typing.people(12, KEYS, samples=260, seed=9)]
    seen, unseen = tmp_path / "seen.csv", tmp_path / "unseen.csv"
    write_cmu(seen, rows[:8])
    write_cmu(unseen, rows[8:])
    unseen.write_text(unseen.read_text().replace("\np", "\nq"))
    run = CliRunner().invoke
    plots = tmp_path / "plots"
    how = ["--train", str(seen), "--protocol", "km", "--enroll", "20", "--plot", str(plots)]
    done = run(main, ["behavior", "evaluate", str(unseen), *how, "--json"])
    assert done.exit_code == 0, done.output
    results = json.loads(done.stdout)["results"]
    head = [row for row in results if row["scorer"] == "head"]
    assert {row["impostors"] for row in head} == {"novice", "practised"}
    need = {
        "protocol",
        "enroll",
        "impostors",
        "scorer",
        "eer",
        "pooled_eer",
        "zero_miss_far",
        "frr_at_far_1pct",
        "cllr",
        "cllr_min",
        "worst_person",
    }
    assert all(need <= set(row) for row in head)
    assert len(list(plots.glob("*.png"))) == 4
    same = run(main, ["behavior", "evaluate", str(seen), "--train", str(seen), "--json"])
    assert same.exit_code == 2
    made = run(main, ["behavior", "train", str(seen), "--out", str(tmp_path / "own.npz"), "--json"])
    assert made.exit_code == 0, made.output
    assert set(load(tmp_path / "own.npz")) == set(load(DEFAULT))
    for wrong in (
        ["--protocol", "x"],
        ["--enroll", "1"],
        ["--train", str(seen), "--folds", "3"],
        ["--protocol", "settled", "--enroll", "200"],
    ):
        assert run(main, ["behavior", "evaluate", str(unseen), *wrong]).exit_code == 2


def test_a_live_profile_is_scored_then_absorbs(typists):
    """Every later sample is scored once; own samples alone tell people apart."""
    rows = [LAYOUT.expand(part) for part in synthetic_typing.people(3, KEYS, samples=252, seed=2)]
    people = {str(number): part for number, part in enumerate(rows)}
    found = protocols.trials(LAYOUT, people=people, run=Run("live", 200), scorer="own", model=None)
    assert all(len(trial.genuine) == 52 for trial in found["novice"])
    assert evaluation.summarize(found["novice"])["eer"] < 0.4
    with pytest.raises(ValueError, match="too few samples"):
        protocols.trials(
            LAYOUT,
            people={"a": rows[0][:100], "b": rows[1]},
            run=Run("km", 200),
            scorer="own",
            model=None,
        )


def test_no_sample_is_both_enrolled_and_scored(typists):
    """A run that would score what it enrolled is refused and says how many it takes."""
    for protocol, most in (("km", 200), ("settled", 50), ("live", 200)):
        with pytest.raises(ValueError, match=f"at most {most} samples"):
            Run(protocol, most + 1).check({})


def test_own_samples_need_no_population(typists):
    """Closeness to a person's own samples is higher for the person."""
    profile = Profile.empty(LAYOUT).absorb(typists[0][:100])
    assert own_scores(profile, typists[0][100:]).mean() > own_scores(profile, typists[1]).mean()


def test_sets_of_touch_and_motion_are_read(tmp_path):
    """MEU-Mobile, Hold and Tap and MOBIKEY give layouts and people; a short row is told."""
    (tmp_path / "meu").mkdir()
    (tmp_path / "meu/1.csv").write_text(",".join(["100"] * 71) + "\n")
    layout, people = loaders.load_meu(tmp_path / "meu")
    assert people["1"].shape == (1, layout.columns)
    motion = tmp_path / "motion.csv"
    motion.write_text(",".join(["0.5"] * 111 + ["NaN", "7"]) + "\n")
    layout, people = loaders.load_hold_and_tap(motion)
    assert people["7"].shape == (1, layout.columns)
    keys = tmp_path / "keys.csv"
    keys.write_text(
        "person,SessionId,PasswordType,Repetition,DownTime,UpTime,Pressure,FingerArea\n"
        "a,0,0,0,10,110,0.2,0.3\na,0,0,0,300,380,0.2,0.3\n"
    )
    layout, people = loaders.load_mobikey(keys)
    assert people["a"][0].tolist() == pytest.approx([0.1, 0.08, 0.29, 0.19, 0.2, 0.2, 0.3, 0.3])
    motion.write_text("1,2,3\n")
    with pytest.raises(BadData, match="line 1: 3 columns"):
        loaders.load_hold_and_tap(motion)
    for loader, path in ((loaders.load_meu, tmp_path), (loaders.load_mobikey, motion)):
        with pytest.raises(BadData):
            loader(path)


@pytest.mark.skipif(not DATA, reason=lack("published typing", "set LAMINA_TEST_BEHAVIOR_DATA"))
def test_the_paper_is_reproduced():
    """Scaled Manhattan, 200 to train, 200 to test: 0.092 +- 0.003 on the 34 people given."""
    layout, people = loaders.load_cmu(Path(DATA) / "cmu/DSL-StrongPasswordData-31.csv")
    found = protocols.trials(
        layout, people=people, run=Run("km", 200), scorer="scaled_manhattan", model=None
    )
    assert evaluation.summarize(found["novice"])["eer"] == pytest.approx(0.092, abs=0.003)
