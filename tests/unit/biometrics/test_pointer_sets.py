"""Files of pointers: an operator's own people, and the Balabit set; and what is measured of it."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import behavior_pointer as bench
from benchmarks import pointer_bots as bots
from benchmarks.behavior_login import pointed
from biometrics.behavior.layout import Layout
from biometrics.behavior.model import DEFAULT, load
from biometrics.behavior.pointer import pointer
from biometrics.behavior.profile import Profile
from biometrics.behavior.scorer import llrs, ready
from lab.behavior import balabit, synthetic_pointer
from lab.behavior.jsonl import load_pointer
from lab.behavior.loaders import BadData
from service.cli import main
from service.signals.behavior.population import open_models
from tests.typists import pointing

PEOPLE = 10
STATES = {"move": "Move", "down": "Pressed", "up": "Released"}


@pytest.fixture(scope="module")
def people():
    # Another hand altogether, so that so few people are told apart.
    wide = synthetic_pointer.Habits(pace=0.4, held=0.5, stands=0.6, session=0.2, sample=0.5)
    given = synthetic_pointer.trails(PEOPLE + 2, samples=24, seed=55, habits=wide)
    return [[events for events in part if bench.code(events) == "scored"] for part in given]


def line(subject, events, **more):
    return json.dumps({"subject": subject, "pointer": events} | more)


def write(path, people, extra=()):
    lines = [line(f"p{who}", one) for who, part in enumerate(people) for one in part]
    path.write_text("\n".join([*lines, *extra]) + "\n")
    return path


def train(*arguments):
    return CliRunner().invoke(main, ["behavior", "train", *map(str, arguments), "--json"])


def test_a_model_of_ones_own_people_is_trained_and_used(people, tmp_path):
    """What cannot be scored is passed over; the others stay as they ship; ±1 nat at most."""
    file = write(tmp_path / "pointed.jsonl", people[:PEOPLE], [line("p0", []), ""])
    done = train("--pointer", file, "--out", tmp_path / "own.npz")
    assert done.exit_code == 0, done.output
    models, default = open_models(tmp_path / "own.npz"), load(DEFAULT)
    model = models["pointer"]
    assert (model.version, model.clip) == ("trained/1", (-1.0, 1.0))
    for signal in ("keystroke", "touch", "motion"):
        assert models[signal].version == default[signal].version
    rows = [np.array([pointer(one).row for one in part]) for part in people[PEOPLE:]]
    own, others = [], []
    for mine, rest in (rows, rows[::-1]):
        against = ready(Profile.empty(Layout.pointer()).absorb(mine[:12]), model)
        own += llrs(against, mine[12:]).clip(*model.clip).tolist()
        others += llrs(against, rest).clip(*model.clip).tolist()
    assert np.mean(own) > 0 > np.mean(others)


def test_too_few_people_or_samples_are_refused(people, tmp_path):
    """And so is a person in two files."""
    few = write(tmp_path / "few.jsonl", people[:7])
    short = write(tmp_path / "short.jsonl", [part[:14] for part in people])
    for files in ((few,), (short,), (few, few)):
        named = [word for file in files for word in ("--pointer", file)]
        done = train(*named, "--out", tmp_path / "own.npz")
        assert done.exit_code == 2, done.output
        assert not (tmp_path / "own.npz").exists()


GOOD = [[0, 1, 1, "move"]]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("no json", "must have subject and pointer"),
        (json.dumps({"subject": "a", "motion": {}}), "must have subject and pointer"),
        (line(7, GOOD), "subject must be a name"),
        (line("a", GOOD * 501), "pointer must be"),
        (line("a", {"t": 1}), "pointer must be"),
        (line("a", [[0, 1, 1, "drag"]]), "pointer must be"),
        (line("a", [[-1, 1, 1, "move"]]), "pointer must be"),
        (line("a", [[0, True, 1, "move"]]), "pointer must be"),
        (line("a", [[0, 1, float("nan"), "move"]]), "pointer must be"),
        (line("a", [[0, 1, 1]]), "pointer must be"),
    ],
)
def test_a_bad_line_is_told_by_its_number(people, tmp_path, content, told):
    """By line and member, and nothing of what it holds."""
    file = write(tmp_path / "pointed.jsonl", [people[0][:1]], [content])
    with pytest.raises(BadData, match=f"line 2: {told}"):
        load_pointer(file)


def test_a_file_that_says_nothing_is_refused(tmp_path):
    """No sample that a login would score."""
    (tmp_path / "still.jsonl").write_text(line("a", GOOD))
    with pytest.raises(BadData, match="no pointer that can be scored"):
        load_pointer(tmp_path / "still.jsonl")


def capture(path, trails, extra=()):
    """Write a session as the set has it: seconds, a header, one trail after another."""
    lines, now = ["record timestamp,client timestamp,button,state,x,y"], 0.0
    for events in trails:
        for t, x, y, kind in events:
            button = "NoButton" if kind == "move" else "Left"
            at = now + t / 1000
            lines.append(f"{at:.3f},{at:.3f},{button},{STATES[kind]},{int(x)},{int(y)}")
        now = at + 20
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, *extra]) + "\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder of four people of five sessions, as the set has ten."""
    root = tmp_path_factory.mktemp("balabit")
    for who, part in enumerate(pointing(4, samples=100, seed=71)):
        for session in range(5):
            file = root / f"balabit_mouse/training_files/user{who}/session_{session}"
            capture(file, part[20 * session : 20 * session + 20])
    return root


def test_the_set_is_cut_into_pieces_that_end_with_a_click(folder, tmp_path):
    """Six seconds before each click let go, that do not meet; nowhere and drags are left out."""
    sessions = balabit.load_sessions(folder / "balabit_mouse")
    assert {name: len(parts) for name, parts in sessions.items()} == dict.fromkeys(
        ("user0", "user1", "user2", "user3"), 5
    )
    for piece in bench.pieces_of(sessions["user0"]):
        assert piece[-1][3] == "up"
        assert piece[0][0] == 0
        assert piece[-1][0] <= balabit.PIECE_MS
    events = pointing(1, samples=3, seed=72)[0]
    nowhere = "0.0,0.5,NoButton,Move,65535,65535"
    header = "record timestamp,client timestamp,button,state,x,y"
    capture(tmp_path / "user1/session_1", events, [header, nowhere])
    plain = balabit.load_sessions(tmp_path)["user1"][0]
    assert all(x < 65535 for piece in plain for _, x, _, _ in piece)
    dragged = tmp_path / "user1/session_1"
    dragged.write_text(dragged.read_text().replace("NoButton,Move", "NoButton,Drag"))
    with pytest.raises(BadData, match="no folders"):
        balabit.load_sessions(tmp_path)


def test_a_bad_row_is_told_by_file_line_and_column(tmp_path):
    """Too few cells, or no number."""
    for bad, told in (
        ("1,2,Left", "line 2: 3 columns"),
        ("1,x,NoButton,Move,1,1", "line 2, column 2: not a number"),
    ):
        (tmp_path / "user1").mkdir(exist_ok=True)
        head = "record timestamp,client timestamp,button,state,x,y"
        (tmp_path / "user1/session_1").write_text(f"{head}\n{bad}\n")
        with pytest.raises(BadData, match=told):
            balabit.load_sessions(tmp_path)


def test_the_command_measures_the_set(folder):
    """Sessions in order: the first enroll, the last third is genuine."""
    arguments = [
        "behavior",
        "evaluate",
        str(folder / "balabit_mouse"),
        "--layout",
        "balabit",
        "--enroll",
        "10,50",
        "--json",
    ]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)["results"]
    assert {row["enroll"] for row in found} == {10, 50}
    assert all(0 <= row["eer"] <= 1 for row in found)


def test_programs_are_counted_by_their_kind_and_recordings_by_what_was_done(folder):
    """Rulers nearly always, shaken ones never; what is measured is what a login names."""
    found = bench.caught()
    assert found["line, even steps"] > 0.9
    assert found["line, shaken by 2 px"] < 0.1
    assert found["along the axes"] == 0
    sessions = balabit.load_sessions(folder / "balabit_mouse")
    real = [piece for name in sessions for piece in bench.pieces_of(sessions[name])]
    counted = bench.named(real)
    assert counted.pieces == len(real)
    assert counted.scripted <= 0.01 * counted.pieces
    shares = bench.replays(real)
    assert shares["as it was"] == shares["shifted"] == 1.0
    assert bench.jumps(real[:50]) > 0.5
    assert bench.false_replays(sessions)[0] == 0


def test_shifted_and_scaled_recordings_keep_their_times():
    """Only places are moved, about the first."""
    events = pointing(1, samples=1, seed=73)[0][0]
    found = bots.moved(events, 10 + 5j, 2.0)
    assert [event[0] for event in found] == [event[0] for event in events]
    assert found[0][1:3] == (events[0][1] + 10, events[0][2] + 5)
    assert found[9][1] - found[0][1] == pytest.approx(2 * (events[9][1] - events[0][1]))


def test_the_login_and_the_shipped_model_are_measured_on_pieces(folder, monkeypatch):
    """Generated people without the set; with it those who give enough."""
    made = synthetic_pointer.people(2, samples=5, seed=1)
    monkeypatch.setattr(synthetic_pointer, "people", lambda *_, **__: made)
    assert [name for name, *_ in pointed(None)] == ["generated, pointer"]
    (_, generated, _), (name, found, unscored) = pointed(folder)
    assert (name, unscored) == ("Balabit, pointer", 0)
    assert set(found) == {"user0", "user1", "user2", "user3"}
    assert len(generated) == 2
    rows = bench.rows_of(balabit.load_sessions(folder / "balabit_mouse"), 50.0)
    trials = bench.shipped(rows)
    assert set(trials) == set(bench.SIZES)
    assert [len(part) for part in trials.values()] == [len(rows)] * 4
