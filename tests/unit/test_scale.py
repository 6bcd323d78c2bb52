"""What many subjects need follows from what one request costs."""

import json
import random

import pytest

from benchmarks import scale

PARTS = ("server", "postgres", "redis", "worker")


def spent(**costs):
    """Return costs of a login in ms by part, all else free."""
    free = dict.fromkeys(PARTS, 0.0)
    return scale.Costs(
        cpu={name: free | (costs if name == "login" else {}) for name in scale.DAY},
        wal=dict.fromkeys(scale.DAY, 0.0) | {"login": 20_000.0},
        person=4_000.0,
        login=8_000.0,
        kept=2_000.0,
    )


def needed(costs, subjects=10_000_000, **limits):
    """Return what subjects need, a fifth of whom sign in on a day."""
    return scale.needs(subjects, costs, active=0.2, limits=scale.Limits(**limits))


def test_the_busiest_minute_is_that_of_a_busy_hour():
    """Of 132 parts of a day its hours have 9, so 2,000,000 logins are 37.9 a second and a bit."""
    rates = needed(spent(server=20.0))["rates"]
    assert 37.9 < rates["login"] < 37.9 * 1.08
    assert rates["introspect"] == pytest.approx(37.9 * 40, rel=0.02)


def test_the_part_that_is_full_first_is_named():
    """4 ms of a worker that has one core, or 40 of a PostgreSQL that has 8."""
    found = needed(spent(server=20.0, postgres=5.0, worker=4.0), postgres=8.0)
    assert found["first"] == "worker"
    assert found["full_at"]["worker"] == pytest.approx(0.6 / 0.004)
    found = needed(spent(server=20.0, postgres=40.0, worker=4.0), postgres=8.0)
    assert found["first"] == "postgres"
    assert found["full_at"]["postgres"] == pytest.approx(0.6 * 8 / 0.040)
    assert found["server_cores"] == pytest.approx(found["rates"]["login"] * 0.020 / 0.6)


def test_what_is_stored_grows_with_subjects_and_logins():
    """A person once, what ends of a login for five weeks, and the rest for good."""
    found = needed(spent())
    assert found["stored"] == 10_000_000 * 4_000 + 35 * 2_000_000 * 6_000
    assert found["stored_a_year"] == 365 * 2_000_000 * 2_000


@pytest.mark.parametrize("expected", [0.0, 0.3, 20.0, 900.0, 5_000.0])
def test_minutes_scatter_around_what_is_expected(expected):
    """Mean and variance are those of a Poisson distribution."""
    chance = random.Random(3)
    drawn = [scale._drawn(expected, chance) for _ in range(4000)]
    mean = sum(drawn) / len(drawn)
    assert mean == pytest.approx(expected, abs=4 * (expected / 4000) ** 0.5)
    variance = sum((value - mean) ** 2 for value in drawn) / len(drawn)
    assert variance == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize(
    "wrong",
    ["--active=0", "--active=1.1", "--active=nan", "--cores=0", "--cores=x", "--subjects=0"],
)
def test_a_wrong_number_is_refused_by_its_option(wrong, capsys):
    """Before anything is read."""
    with pytest.raises(SystemExit) as ended:
        scale.main(["--http", "none", "--storage", "none", wrong])
    assert ended.value.code == 2
    assert wrong.partition("=")[0] in capsys.readouterr().err


def test_files_of_the_benchmarks_are_read_and_a_part_is_refused(tmp_path, capsys):
    """A run of one operation tells nothing of a day."""
    medians = dict.fromkeys(PARTS[:3], 1.0) | {"others": {"worker": 0.5}, "wal": 100.0}
    http = {
        "first": "lamina",
        "targets": {"lamina": {"operations": {name: {"medians": medians} for name in scale.DAY}}},
    }
    files = tmp_path / "http.json", tmp_path / "storage.json"
    files[0].write_text(json.dumps(http))
    files[1].write_text(json.dumps({"person": 4000.0, "bytes": 8000.0, "kept": 2000.0}))
    command = ["--http", str(files[0]), "--storage", str(files[1])]
    out = tmp_path / "out.json"
    assert scale.main([*command, "--subjects", "1000,2000", "--out", str(out)]) == 0
    assert [item["subjects"] for item in json.loads(out.read_text())] == [1000, 2000]
    shown = capsys.readouterr().out
    assert "first full" in shown
    assert "2,000" in shown
    del http["targets"]["lamina"]["operations"]["refresh"]
    files[0].write_text(json.dumps(http))
    assert scale.main(command) == 2
    assert "'refresh' was not measured" in capsys.readouterr().err
    files[0].unlink()
    assert scale.main(command) == 2
