"""An operator trains grip and motion on people of their own, from what their clients sent."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from biometrics.behavior.layout import Layout
from biometrics.behavior.model import DEFAULT, load
from biometrics.behavior.motion import PITCH, USUAL_PITCH, USUAL_ROT, motion
from biometrics.behavior.profile import Profile
from biometrics.behavior.scorer import llrs, ready
from lab.behavior import loaders, synthetic_motion
from lab.behavior.jsonl import load_motion
from lab.behavior.loaders import BadData
from service.cli import main
from service.signals.behavior.population import open_models

PEOPLE = 10


@pytest.fixture(scope="module")
def people():
    return synthetic_motion.series(PEOPLE + 3, samples=20, seed=55)


def line(subject, series, **change):
    moved = {"hz": series.hz, "from": 0, "acc": series.acc, "rot": series.rot} | change
    return json.dumps({"subject": subject, "motion": moved})


def write(path, people, extra=()):
    lines = [line(f"p{who}", one) for who, part in enumerate(people) for one in part]
    path.write_text("\n".join([*lines, *extra]) + "\n")
    return path


def train(*arguments):
    return CliRunner().invoke(main, ["behavior", "train", *map(str, arguments), "--json"])


def test_a_model_of_ones_own_people_is_trained_and_used(people, tmp_path):
    """What cannot be scored is passed over; the others stay as they ship; it tells people apart."""
    short = line("p0", people[0][0], acc=[[0, 0, 9.8]], rot=[[0, 0, 0]])
    file = write(tmp_path / "moved.jsonl", people[:PEOPLE], [short, ""])
    done = train("--motion", file, "--out", tmp_path / "own.npz")
    assert done.exit_code == 0, done.output
    models = open_models(tmp_path / "own.npz")
    model, default = models["motion"], load(DEFAULT)
    assert (model.version, model.clip) == ("trained/1", (-2.0, 3.0))
    assert models["keystroke"].version == default["keystroke"].version
    rows = [np.array([motion(one).row for one in part]) for part in people[PEOPLE:]]
    own, others = [], []
    for number, mine in enumerate(rows):
        against = ready(Profile.empty(Layout.motion()).absorb(mine[:12]), model)
        own += llrs(against, mine[12:]).clip(*model.clip).tolist()
        for other in range(3):
            if other != number:
                others += llrs(against, rows[other][12:]).clip(*model.clip).tolist()
    assert np.mean(own) > 0 > np.mean(others)


def test_training_gives_the_same_bytes_again(people, tmp_path):
    """Nothing is drawn that a seed does not fix."""
    file = write(tmp_path / "moved.jsonl", people[:8])
    for name in ("one.npz", "two.npz"):
        assert train("--motion", file, "--out", tmp_path / name).exit_code == 0
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_too_few_people_or_samples_are_refused(people, tmp_path):
    """And so is a person in two files, whose samples would be learned and told apart."""
    few = write(tmp_path / "few.jsonl", people[:7])
    short = write(tmp_path / "short.jsonl", [part[:14] for part in people])
    for files in (("--motion", few), ("--motion", short), ("--motion", few, "--motion", few), ()):
        done = train(*files, "--out", tmp_path / "own.npz")
        assert done.exit_code == 2, done.output
        assert not (tmp_path / "own.npz").exists()


GOOD = {"hz": 50, "acc": [[0, 0, 9.8]], "rot": [[0, 0, 0]]}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("no json", "must have subject and motion"),
        ("[1]", "must have subject and motion"),
        (json.dumps({"subject": "a"}), "must have subject and motion"),
        (json.dumps({"subject": 7, "motion": GOOD}), "subject must be a name"),
        (json.dumps({"subject": "a", "motion": GOOD | {"hz": 0}}), "hz must be"),
        (json.dumps({"subject": "a", "motion": GOOD | {"hz": True}}), "hz must be"),
        (json.dumps({"subject": "a", "motion": GOOD | {"acc": [[0, 1]]}}), "acc must be"),
        (
            json.dumps({"subject": "a", "motion": GOOD | {"rot": [[0, 1, float("nan")]]}}),
            "rot must be",
        ),
        (json.dumps({"subject": "a", "motion": GOOD | {"rot": [[0, 1, 10**400]]}}), "rot must be"),
        (json.dumps({"subject": "a", "motion": GOOD | {"acc": [[0, 0, 1]] * 401}}), "acc must be"),
    ],
)
def test_a_bad_line_is_told_by_its_number(people, tmp_path, content, told):
    """By line and member, and nothing of what it holds."""
    file = write(tmp_path / "moved.jsonl", [people[0][:1]], [content])
    with pytest.raises(BadData, match=f"line 2: {told}"):
        load_motion(file)


def test_a_file_that_says_nothing_is_refused(tmp_path):
    """Absent, no text, or no sample that a login would score."""
    with pytest.raises(BadData, match="cannot be read"):
        load_motion(tmp_path / "absent.jsonl")
    (tmp_path / "bytes.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadData, match="cannot be read"):
        load_motion(tmp_path / "bytes.jsonl")
    (tmp_path / "still.jsonl").write_text(json.dumps({"subject": "a", "motion": GOOD}))
    with pytest.raises(BadData, match="no motion"):
        load_motion(tmp_path / "still.jsonl")


def test_hold_and_tap_is_read_as_a_login_sees_movement(tmp_path):
    """Angles of the mean acceleration, spreads in the login's units, rad/s as degrees."""
    row = [0.5] * 112
    row[5:8] = [0.0, 6.93, 6.93]
    row[39] = np.radians(USUAL_ROT)
    (tmp_path / "sensor.csv").write_text(",".join(map(str, [*row, 7.0])) + "\n")
    layout, people = loaders.load_held(tmp_path / "sensor.csv")
    assert layout.signal == "motion"
    found = people["7"][0]
    assert found.shape == (layout.columns,) == (11,)
    assert found[0] * PITCH + USUAL_PITCH == pytest.approx(45)
    assert found[6] == pytest.approx(0)
