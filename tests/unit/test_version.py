"""One version for the package, the command and the API description."""

from importlib import metadata
from pathlib import Path

from click.testing import CliRunner

from service.cli import main
from service.domain.version import VERSION


def test_package_command_and_changelog_name_one_version():
    assert metadata.version("lamina") == VERSION
    assert CliRunner().invoke(main, ["--version"]).output == f"lamina, version {VERSION}\n"
    changes = Path("CHANGELOG.md").read_text("utf-8").splitlines()
    released = [line.split()[1] for line in changes if line.startswith("## 0.")]
    assert released[0] == VERSION
