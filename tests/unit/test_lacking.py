"""What a machine lacks is told once, and is no success of CI."""

import pytest

from tests.lacking import lack, lacks, told


def test_each_server_is_one_line():
    """However many tests needed it; all other skips are one line more."""
    redis, postgres = lack("Redis", "set Y"), lack("PostgreSQL", "set X")
    reasons = [redis, *[postgres] * 540, "a file is SQLite's", "part of a long form"]
    lines = told(f"Skipped: {reason}" for reason in reasons)
    assert lines[:2] == [
        "540 skipped: this machine has no PostgreSQL: set X",
        "1 skipped: this machine has no Redis: set Y",
    ]
    assert [line.split(":")[0] for line in lines[2:]] == ["2 skipped"]
    assert told(()) == []


@pytest.mark.parametrize("optional", [False, True])
@pytest.mark.parametrize("ci", ["", "true"])
def test_a_missing_server_fails_in_ci(monkeypatch, ci, optional):
    """A skip becomes a failure there, but for what CI does without."""
    monkeypatch.setenv("CI", ci)
    expected = pytest.fail if ci and not optional else pytest.skip
    with pytest.raises(expected.Exception, match="no PostgreSQL: set X"):
        lacks("PostgreSQL", "set X", optional=optional)
