"""Behavior: profiles, scores, the shipped model, the evaluation and its bad input."""

import csv
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from biometrics.behavior.head import fit
from biometrics.behavior.layout import Layout
from biometrics.behavior.model import DEFAULT, BadModel, load, save
from biometrics.behavior.population import learn_population
from biometrics.behavior.profile import MOST_BYTES, BadProfile, Profile
from biometrics.behavior.scorer import llrs, own_scores, ready, score
from lab import evaluation
from lab.behavior import loaders, protocols, synthetic_typing
from lab.behavior.loaders import BadData
from lab.behavior.protocols import Run
from lab.behavior.training import Plan, keystroke_plan, train
from service.cli import main
from tests.lacking import lack

DATA = os.environ.get("LAMINA_TEST_BEHAVIOR_DATA", "")
KEYS = 8
LAYOUT = Layout.keystroke(KEYS)


@pytest.fixture(scope="module")
def typists():
    return [LAYOUT.expand(rows) for rows in synthetic_typing.people(8, KEYS, samples=130, seed=3)]


@pytest.fixture(scope="module")
def shipped():
    return load(DEFAULT)


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
