"""Touch and motion sets: how they are read, evaluated by the command, and refused."""

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner

from biometrics.behavior.layout import Layout
from lab.behavior import datasets, loaders, protocols, synthetic_typing
from lab.behavior.loaders import BadData
from lab.behavior.protocols import Run
from service.cli import main
from tests.typists import grips

PEOPLE = 12
TOUCHES = 14


def write(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


@pytest.fixture(scope="module")
def touched():
    """People's rows: hold and press times, then pressure and size of each touch."""
    typed = synthetic_typing.people(PEOPLE, TOUCHES, samples=30, session=10, seed=4)
    return [synthetic_typing.touches(rows, TOUCHES, seed) for seed, rows in enumerate(typed)]


@pytest.fixture
def meu(tmp_path, touched):
    """A folder as MEU-Mobile is: times in ms, two kinds of press times, three means."""
    folder = tmp_path / "meu"
    folder.mkdir()
    n = TOUCHES
    for number, rows in enumerate(touched):
        times = np.rint(rows[:, : 2 * n - 1] * 1000)
        gap = times[:, n:] - times[:, : n - 1]
        every = np.hstack([times, gap, rows[:, 2 * n - 1 :], np.zeros((len(rows), 3))])
        write(folder / f"{number}.csv", every.tolist())
    return folder


@pytest.fixture
def motion(tmp_path):
    """A file as Hold and Tap is: 112 statistics and the person."""
    people = grips(PEOPLE, 112, samples=30, seed=2)
    rows = [[*row, float(who)] for who, part in enumerate(people) for row in part.round(4).tolist()]
    return write(tmp_path / "motion.csv", rows)


@pytest.fixture
def mobikey(tmp_path, touched):
    """A file as MOBIKEY is: one row a key."""
    head = [
        "person",
        "SessionId",
        "PasswordType",
        "Repetition",
        "DownTime",
        "UpTime",
        "Pressure",
        "FingerArea",
    ]
    rows = [head]
    for who, part in enumerate(touched):
        for repetition, row in enumerate(part.tolist()):
            down = np.cumsum([0.0, *row[TOUCHES : 2 * TOUCHES - 1]])
            rows += [
                [
                    who,
                    0,
                    0,
                    repetition,
                    down[key] * 1000,
                    (down[key] + row[key]) * 1000,
                    row[2 * TOUCHES - 1 + key],
                    row[3 * TOUCHES - 1 + key],
                ]
                for key in range(TOUCHES)
            ]
    return write(tmp_path / "keys.csv", rows)


def evaluate(*arguments):
    return CliRunner().invoke(main, ["behavior", "evaluate", *map(str, arguments)])


@pytest.mark.parametrize("kind", ["meu", "hold-and-tap", "mobikey"])
def test_a_short_set_is_evaluated_by_folds(request, kind):
    """Each layout gives the same JSON as keystrokes, by the short protocol, better than a coin."""
    file = request.getfixturevalue({"hold-and-tap": "motion"}.get(kind, kind))
    done = evaluate(file, "--layout", kind, "--folds", 3, "--json")
    assert done.exit_code == 0, done.output
    results = json.loads(done.stdout)["results"]
    head = [row for row in results if row["scorer"] == "head"]
    assert [(row["protocol"], row["enroll"]) for row in head] == [("short", 20)] * 2
    assert {row["impostors"] for row in head} == {"novice", "practised"}
    assert all(row["eer"] < 0.25 and row["cllr_min"] <= row["cllr"] < 1.0 for row in head)


def test_the_last_third_is_genuine_whatever_enrolls(motion):
    """Nothing is both enrolled and scored, and another size is measured on the same samples."""
    layout, people = loaders.load_hold_and_tap(motion)
    five, twenty = (
        protocols.trials(
            layout, people=people, run=Run("short", n), scorer="scaled_manhattan", model=None
        )["novice"]
        for n in (5, 20)
    )
    assert {len(trial.genuine) for trial in (*five, *twenty)} == {10}
    with pytest.raises(ValueError, match="needs 31"):
        Run("short", 21).check(people)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (["--protocol", "km"], "needs 201"),
        (["--enroll", "25"], "needs 37"),
        (["--folds", "9"], "fewer than two people"),
        (["--layout", "meu"], "no CSV files"),
    ],
)
def test_a_short_set_that_cannot_be_measured_is_refused(motion, tmp_path, how, told):
    """One line says why; no plot is left behind."""
    plots = tmp_path / "plots"
    done = evaluate(motion, "--layout", "hold-and-tap", *how, "--plot", plots)
    assert done.exit_code == 2
    assert told in done.output
    assert not plots.exists()


def head_rows(done):
    assert done.exit_code == 0, done.output
    return [row for row in json.loads(done.stdout)["results"] if row["scorer"] == "head"]


def test_heads_learn_of_people_of_another_set(meu, mobikey):
    """Another fit, as good a one; what is measured without a head stays to the last digit."""
    how = ["--layout", "mobikey", "--folds", 3, "--json"]
    alone, both = (evaluate(mobikey, *how, *more) for more in ([], ["--beside", f"meu:{meu}"]))
    pairs = list(zip(head_rows(both), head_rows(alone), strict=True))
    assert all(one["cllr"] != other["cllr"] for one, other in pairs)
    assert all(row["eer"] < 0.25 and row["cllr"] < 0.5 for row in head_rows(both))
    plain = [
        [row for row in json.loads(done.stdout)["results"] if row["scorer"] != "head"]
        for done in (alone, both)
    ]
    assert plain[0] == plain[1]


@pytest.mark.parametrize(
    ("beside", "how", "told"),
    [
        ("nothing:{meu}", ["--folds", 3], "takes LAYOUT:PATH, with one of cmu meu"),
        ("{meu}", ["--folds", 3], "takes LAYOUT:PATH"),
        ("meu:", ["--folds", 3], "takes LAYOUT:PATH"),
        ("meu:{meu}", [], "--train or --folds"),
        ("hold-and-tap:{motion}", ["--folds", 3], "motion is another signal than touch"),
        ("mobikey:{mobikey}", ["--folds", 3], "0 stands in two files"),
        ("mobikey-1:{mobikey}", ["--folds", 3], "no rows of password 1"),
        ("meu:{meu}/none", ["--folds", 3], "no CSV files"),
    ],
)
def test_what_cannot_stand_beside_is_refused(meu, motion, mobikey, beside, how, told):
    """One line says why."""
    named = beside.format(meu=meu, motion=motion, mobikey=mobikey)
    done = evaluate(mobikey, "--layout", "mobikey", *how, "--beside", named)
    assert done.exit_code == 2
    assert told in " ".join(done.output.split())


def test_a_person_who_typed_two_texts_is_one(mobikey):
    """Passwords of one set have the same people; other sets may use the same names."""
    rows = list(csv.reader(mobikey.read_text().splitlines()))
    both = rows + [[row[0], row[1], "1", *row[3:]] for row in rows[1:]]
    done = evaluate(
        write(mobikey, both),
        "--layout",
        "mobikey",
        "--folds",
        3,
        "--beside",
        f"mobikey-1:{mobikey}",
    )
    assert done.exit_code == 2
    assert "0 stands in two files" in " ".join(done.output.split())


def test_two_files_with_other_columns_are_refused(meu, mobikey, tmp_path, touched):
    """A model of one text is not tried on another."""
    lines = mobikey.read_text().splitlines()
    shorter = [line for number, line in enumerate(lines) if number % TOUCHES != 1]
    other = tmp_path / "other.csv"
    text = "\n".join(f"x{line}" if number else line for number, line in enumerate(shorter))
    other.write_text(text + "\n")
    done = evaluate(mobikey, "--layout", "mobikey", "--train", other)
    assert done.exit_code == 2
    assert "other columns" in done.output


@pytest.mark.parametrize(
    ("kind", "mend", "told"),
    [
        ("hold-and-tap", lambda row: [*row[:4], "x", *row[5:]], "line 3, column 5: not a number"),
        ("hold-and-tap", lambda row: [*row[:4], "inf", *row[5:]], "line 3, column 5: not a finite"),
        ("hold-and-tap", lambda row: [*row[:-1], " "], "line 3: no person"),
        ("hold-and-tap", lambda row: row[:-1], "line 3: 112 columns"),
        ("mobikey", lambda row: [*row[:4], "soon", *row[5:]], "line 3, column DownTime"),
        ("mobikey", lambda row: row[:-1], "line 3: 7 columns"),
    ],
)
def test_a_bad_cell_is_told_by_line_and_column(motion, mobikey, kind, mend, told):
    """The command names the place."""
    file = motion if kind == "hold-and-tap" else mobikey
    rows = list(csv.reader(file.read_text().splitlines()))
    rows[2] = mend(rows[2])
    done = evaluate(write(file, rows), "--layout", kind)
    assert done.exit_code == 2
    assert told in done.output


def test_a_living_profile_of_a_short_set_is_evaluated(motion):
    """Heads of its own are trained for it; it does no worse than one that never learns."""
    done = evaluate(
        motion,
        "--layout",
        "hold-and-tap",
        "--folds",
        3,
        "--json",
        "--protocol",
        "short,live",
        "--enroll",
        "10",
    )
    assert done.exit_code == 0, done.output
    eer = {
        row["protocol"]: row["eer"]
        for row in json.loads(done.stdout)["results"]
        if row["scorer"] == "head" and row["impostors"] == "novice"
    }
    assert eer["live"] < eer["short"] + 0.05 < 0.2


def test_a_bad_file_among_many_is_told_by_its_name(meu):
    """MEU is a folder: the file is named with line and column."""
    (meu / "3.csv").write_text(",".join(["1"] * 70 + ["?"]) + "\n")
    with pytest.raises(BadData, match=r"3\.csv: line 1, column 71: not a number"):
        datasets.LAYOUTS["meu"](meu)


def test_motion_never_reads_what_names_the_room_or_the_telephone(motion):
    """Compass, azimuth, time and the rounding error of gravity may change without being seen."""
    rows = list(csv.reader(motion.read_text().splitlines()))
    _, people = loaders.load_hold_and_tap(motion)
    changed = [[*row[:23], "9", *row[24:79], *["9"] * 33, row[-1]] for row in rows]
    _, again = loaders.load_hold_and_tap(write(motion, changed))
    assert all(np.array_equal(people[name], again[name]) for name in people)


def test_late_labels_of_the_sitting_files_are_put_right(tmp_path):
    """From person 10 on a first row is whose number is before; another posture is as it says."""
    rows = [[*[who + at / 100] * 112, f"{who}.0"] for who in (8, 9, 10, 11, 13) for at in range(3)]
    late = loaders.load_hold_and_tap(write(tmp_path / "Sitting_Sensor.csv", rows))[1]
    seen = {name: part[:, 0].round(2).tolist() for name, part in late.items()}
    assert seen == {
        "8": [8, 8.01, 8.02],
        "9": [9, 9.01, 9.02, 10],
        "10": [10.01, 10.02, 11],
        "11": [11.01, 11.02],
        "13": [13.01, 13.02],
    }
    other = loaders.load_hold_and_tap(write(tmp_path / "Standing_Sensor.csv", rows))[1]
    assert other["10"][:, 0].round(2).tolist() == [10, 10.01, 10.02]
    taps = [[who] * 30 + [str(who)] for who in (9, 9, 10, 10)]
    typed = loaders.load_taps(write(tmp_path / "Sitting_Touch.csv", taps))[1]
    assert {name: len(part) for name, part in typed.items()} == {"9": 3, "10": 1}


def test_taps_come_with_the_names_of_their_motion(tmp_path):
    """Hold times and press-to-press times in seconds; `7` and `7.0` are one person."""
    row = [80] * 8 + [100, 180, 190] * 7 + [1400, "7"]
    layout, people = loaders.load_taps(write(tmp_path / "taps.csv", [row]))
    assert layout == Layout.keystroke(8)
    assert people["7"][0, 7:10].tolist() == pytest.approx([0.08, 0.19, 0.19])
    motion = write(tmp_path / "motion.csv", [[0.5] * 112 + ["7.0"]])
    assert set(loaders.load_hold_and_tap(motion)[1]) == {"7"}
    for bad, told in (([*row[:-1], ""], "no person"), (row[1:], "30 columns")):
        with pytest.raises(BadData, match=told):
            loaders.load_taps(write(tmp_path / "bad.csv", [bad]))
    with pytest.raises(BadData, match="no rows"):
        loaders.load_taps(write(tmp_path / "bad.csv", []))


def test_the_plan_follows_from_how_much_there_is():
    """Many samples are trained by sessions, few by their first ones, too few not at all."""
    few = {"a": np.zeros((51, 3))}
    assert [each.bucket for each in datasets.plan_of(few, (10, 20, 34)).enrollments] == [10, 20]
    assert len(datasets.plan_of({"a": np.zeros((400, 3))}, (20,)).enrollments) > 10
    lives = [
        each for each in datasets.plan_of(few, (20,), live=True).enrollments if each.way == "live"
    ]
    assert [(each.bucket, each.end, each.genuine) for each in lives] == [
        (20, 25, slice(25, 30)),
        (50, 50, slice(50, 55)),
    ]
    for short, enroll in (({"a": np.zeros((9, 3))}, (5,)), (few, (50,)), (few, (3,)), ({}, (5,))):
        with pytest.raises(ValueError, match=r"few|at least"):
            datasets.plan_of(short, enroll)


def test_touches_without_a_sensor_are_keystrokes():
    """Pressure and contact size are left out; the times stay."""
    layout = Layout.touch(3)
    rows = np.arange(14.0)[None]
    bare, people = datasets.timing_only(layout, {"a": rows})
    assert bare == Layout.keystroke(3)
    assert people["a"].tolist() == rows[:, :7].tolist()
