"""`lamina face`: info, evaluate and renew, as an operator runs them."""

import csv
import json

import pytest
from click.testing import CliRunner

from lab.face import portraits
from service.cli import main


@pytest.fixture
def lamina(tmp_path, monkeypatch, face_cache):
    """Run a command where the weights are converted."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAMINA_MODE", "development")
    monkeypatch.setenv("LAMINA_FACE_MODELS", str(face_cache))
    return lambda *arguments: CliRunner().invoke(main, ["face", *map(str, arguments)])


def test_info_names_model_thresholds_and_weights(lamina):
    """What runs is told, with hash, license, origin and the distances that decide."""
    told = json.loads(lamina("info", "--json").stdout)
    assert told["thresholds"] == {"match": 0.31, "frame": 0.36, "enrollment": 0.335}
    assert {item["license"] for item in told["weights"]} == {"CC0-1.0"}
    assert "match 0.31" in lamina("info").stdout


@pytest.mark.parametrize("content", [None, b"", b"no network"])
def test_info_lists_no_detector_that_does_not_run(lamina, tmp_path, monkeypatch, content):
    """Whoever looks before the start is told what the start would meet."""
    file = tmp_path / "yunet.onnx"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("LAMINA_FACE_DETECTOR", str(file))
    done = lamina("info")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "YuNet" in done.stderr or "cannot be read" in done.stderr


def test_evaluate_reports_what_api_md_names(lamina, tmp_path):
    """Pictures of two people give counts, rates and misses, in all and by set, and a plot."""
    people = {"collins": portraits.collins(), "hopper": portraits.hopper()}
    names = []
    for who, portrait in people.items():
        (tmp_path / who).mkdir()
        for number, item in enumerate([portrait, *portraits.variants(portrait)[:2]]):
            names.append(f"{who}/{number}.jpg")
            (tmp_path / names[-1]).write_bytes(item)
    with (tmp_path / "pairs.csv").open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["path_a", "path_b", "same", "set"])
        rows.writerows(
            [one, other, int(one[0] == other[0]), "two"]
            for one in names
            for other in names
            if one < other
        )
    plot = tmp_path / "det.png"
    done = lamina("evaluate", "pairs.csv", "--images", tmp_path, "--plot", plot, "--json")
    found = json.loads(done.stdout)
    assert (found["genuine"], found["impostor"], found["misses"], found["images"]) == (6, 9, 0, 6)
    assert (found["eer"], found["tar_at_fmr_1e-4"], found["fmr_at_threshold"]) == (0.0, 1.0, 0.0)
    assert found["by_set"]["two"]["fnmr_at_threshold"] == 0.0
    assert plot.stat().st_size > 0
    told = lamina("evaluate", "pairs.csv", "--images", tmp_path, "--enroll", 2)
    assert "fnmr_at_threshold" in told.stdout
    gone = lamina("evaluate", "pairs.csv", "--images", tmp_path / "none")
    assert (gone.exit_code, "cannot be read" in gone.stderr) == (2, True)


@pytest.mark.parametrize("content", [None, "a,b\n", "path_a,path_b,same,set\n"])
def test_a_list_that_cannot_be_read_is_one_line(lamina, tmp_path, content):
    """Missing, of another form, or empty."""
    if content is not None:
        (tmp_path / "pairs.csv").write_text(content)
    done = lamina("evaluate", "pairs.csv", "--images", tmp_path)
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
