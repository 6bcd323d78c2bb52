"""`make` sets up what a command beside it needs, and nothing that is there already."""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from crypto import bindings
from service.settings import load
from tests.lacking import lack

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason=lack("make", "install it"))


def make(place, *what, **environment):
    """Run make in a directory by the Makefile of this project; return what it prints."""
    # The tests themselves may run under make, which would tell of that.
    ours = ("LAMINA_", "MAKE", "MFLAGS", "COVERAGE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    done = subprocess.run(
        ["make", "-f", str(ROOT / "Makefile"), *what],
        cwd=place,
        env=kept | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_settings_are_written_for_the_commands_beside_it(tmp_path):
    """They are for nobody else to read, and are those that `make serve` serves by."""
    make(tmp_path, ".env", LAMINA_BIND="127.0.0.1:9000")
    file = tmp_path / ".env"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = load({}, file)
    assert (found.mode, found.root_key) == ("development", "file:var/keys")
    assert found.database_url == "sqlite:///var/lamina.db"
    assert (found.bind, found.issuer) == ("127.0.0.1:9000", "http://localhost:9000")


def test_settings_that_are_there_stay(tmp_path):
    """Another address for once moves the issuer along, and changes no file."""
    file = tmp_path / ".env"
    file.write_text("LAMINA_BIND=127.0.0.1:9000\nLAMINA_ISSUER=http://localhost:9000\n")
    before = file.read_text()
    make(tmp_path, ".env")
    assert file.read_text() == before
    ask = ("--eval", "asked: ; @echo $(LAMINA_BIND) $(LAMINA_ISSUER)", "asked")
    assert make(tmp_path, *ask).split() == ["127.0.0.1:9000", "http://localhost:9000"]
    moved = make(tmp_path, *ask, LAMINA_BIND="127.0.0.1:9100").split()
    assert moved == ["127.0.0.1:9100", "http://localhost:9100"]
    file.write_text("LAMINA_ISSUER=https://id.example.com\n")
    kept = make(tmp_path, *ask, LAMINA_BIND="127.0.0.1:9100").split()
    assert kept == ["127.0.0.1:9100", "https://id.example.com"]


def test_the_packages_of_the_demo_are_the_locked_ones():
    """What `make demo` installs beside the rest is pinned as for the tests, with its hashes."""
    demo = (ROOT / "requirements-demo.lock").read_text("utf-8")
    whole = (ROOT / "requirements-dev.lock").read_text("utf-8")
    lines = [line for line in demo.splitlines() if not line.startswith("#")]
    names = {line.split("==")[0] for line in lines if "==" in line}
    assert names == {"aiosmtpd", "atpublic", "attrs"}
    assert [line for line in lines if line not in whole.splitlines()] == []


def test_the_sources_of_argon2_are_locked_with_what_builds_them():
    """The version is that which runs otherwise, and each line has its hashes."""
    pinned = {}
    for name in ("requirements", "requirements-fast-hash", "requirements-argon2"):
        text = (ROOT / f"{name}.lock").read_text("utf-8")
        pinned[name] = dict(re.findall(r"^([\w-]+)==(\S+)", text, re.MULTILINE))
        entries = re.findall(r"^[\w-]+==.*(?:\n    .*)*", text, re.MULTILINE)
        assert all("--hash=sha256:" in entry for entry in entries), name
    version = pinned["requirements"]["argon2-cffi-bindings"]
    assert pinned["requirements-argon2"] == {"argon2-cffi-bindings": version}
    built = pinned["requirements-fast-hash"]
    assert built["argon2-cffi-bindings"] == version
    assert {"cmake", "ninja", "scikit-build-core"} <= set(built)


@pytest.mark.parametrize("file", ["Makefile", "Dockerfile"])
def test_the_fast_build_goes_where_it_is_looked_for(file):
    """By its instruction set, from sources, and nothing of it unlocked."""
    text = (ROOT / file).read_text("utf-8")
    assert f"-march={bindings.FAST}" in text
    assert bindings.PLACE.name in text
    assert "--no-binary argon2-cffi-bindings" in text
    assert text.count("--require-hashes") >= 2


@pytest.mark.parametrize(
    ("environment", "measured"),
    [
        ({}, False),
        ({"LAMINA_TEST_POSTGRES_URL": "postgresql+psycopg://db/test"}, True),
        ({"CI": "true"}, True),
        ({"COVERAGE": "1"}, True),
    ],
)
def test_coverage_has_its_bars_where_everything_runs(environment, measured):
    """It is measured and judged by all of its commands, or by none."""
    told = make(ROOT, "-n", "test", **{"CI": ""} | environment)
    wanted = ("--cov --cov-report=", "report --fail-under=90", "model.py' --fail-under=100")
    assert [word in told for word in wanted] == [measured] * 3
