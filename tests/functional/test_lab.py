"""The lab: what trains, measures and demonstrates stands beside what serves a login."""

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from hatchling.builders.wheel import WheelBuilder

from service.cli import main

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = {
    "lab.behavior.commands": ("behavior", "train", "people.csv"),
    "lab.face": ("face", "evaluate", "pairs.csv", "--images", "faces"),
    "lab.demo": ("demo",),
}


def test_the_wheel_holds_what_serves_and_no_lab():
    files = [
        Path(file.distribution_path)
        for file in WheelBuilder(str(ROOT)).recurse_included_files()
        if not file.distribution_path.endswith(".pyc")
    ]
    assert {path.parts[0] for path in files} == {"service", "biometrics", "crypto", "migrations"}


@pytest.mark.parametrize("module", COMMANDS)
def test_a_command_that_needs_the_lab_says_where_it_is(module, monkeypatch):
    monkeypatch.setitem(sys.modules, "lab", None)
    monkeypatch.setitem(sys.modules, module, None)
    answer = CliRunner().invoke(main, COMMANDS[module])
    assert answer.exit_code == 2
    assert answer.stderr.count("\n") == 1
    assert "needs lab/, which only a source checkout contains" in answer.stderr
