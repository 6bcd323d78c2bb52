"""A shell completes commands, groups and options by the script that `lamina completion` prints."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from service.cli import main
from tests.lacking import lack
from tests.starts import program

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script(tmp_path):
    """Return where the script for bash lies, beside a `lamina` of its own."""
    place = tmp_path / "completion.bash"
    place.write_text(CliRunner().invoke(main, ["completion", "bash"]).stdout)
    program(tmp_path / "lamina")
    return place


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell):
    """It is of that shell, names the command, and nothing is said beside it."""
    made = CliRunner().invoke(main, ["completion", shell])
    assert (made.exit_code, made.stderr) == (0, "")
    assert f"_LAMINA_COMPLETE={shell}_complete" in made.stdout
    assert CliRunner().invoke(main, ["completion", "cmd"]).exit_code == 2


@pytest.mark.skipif(shutil.which("bash") is None, reason=lack("bash", "install it"))
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("cli", ["clients"]),
        ("clients rot", ["rotate-secret"]),
        ("o", ["operators", "outbox"]),
        ("keys rewrap --tier ", ["root", "kek"]),
        ("policy list --j", ["--json"]),
        ("zzz", []),
    ],
)
def test_bash_completes(script, typed, offered):
    """The script is sound, and what it offers is what there is."""
    subprocess.run(["bash", "-n", script], check=True)
    words = " ".join(f'"{word}"' for word in ["lamina", *typed.split(" ")])
    ask = f"source {script}; COMP_WORDS=({words}); COMP_CWORD={len(typed.split(' '))}; "
    ask += '_lamina_completion lamina; printf "%s\\n" "${COMPREPLY[@]}"'
    path = f"{script.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", ask],
        env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == offered, done.stderr
