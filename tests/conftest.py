"""Fixtures that every test may use."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from tests.depth import depth, everyday, thinned
from tests.lacking import told

if TYPE_CHECKING:
    from tests.databases import Migrated

# How long an example takes is the machine's doing, and says nothing about what is tested.
settings.register_profile("untimed", deadline=None, max_examples=depth(100))
settings.load_profile("untimed")

_MEMORY = Path("/dev/shm")  # noqa: S108 - what is made there is the owner's alone
_ROOM = 2 * 2**30
VECTORS = Path(__file__).parent / "vectors"


def pytest_configure(config) -> None:
    """Let tests write to memory where there is room: files of databases wait for no disk there."""
    told = config.getoption("basetemp") or "PYTEST_DEBUG_TEMPROOT" in os.environ
    if told or not _MEMORY.is_dir() or shutil.disk_usage(_MEMORY).free < _ROOM:
        return
    if os.statvfs(_MEMORY).f_flag & os.ST_NOEXEC:
        return
    # Processes of tests, and commands, inherit it.
    place = tempfile.mkdtemp(prefix="lamina-", dir=_MEMORY)
    os.environ |= {"PYTEST_DEBUG_TEMPROOT": place, "TMPDIR": place}
    tempfile.tempdir = None
    config.add_cleanup(lambda: shutil.rmtree(place, ignore_errors=True))


def pytest_collection_modifyitems(config, items) -> None:
    """Leave out, in an everyday run of all, most of many like cases."""
    if everyday(config.args):
        items[:], left_out = thinned(items)
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    """Take back the umask that a command set when a test ran it in the process of the tests."""
    before = os.umask(0o077)
    os.umask(before)
    yield
    os.umask(before)


@pytest.fixture
def vectors() -> Callable[[str], Any]:
    """Return a reader of the frozen vectors of crypto."""
    return lambda name: json.loads((VECTORS / "crypto" / f"{name}.json").read_text("utf-8"))


@pytest.fixture(scope="session")
def face_cache(tmp_path_factory) -> Path:
    """A directory of the weights of faces, which are converted once for all processes of a run."""
    base = tmp_path_factory.getbasetemp()
    directory = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "face-weights"
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory


@pytest.fixture(scope="session")
def migrated(tmp_path_factory) -> Iterator["Migrated"]:
    """Databases with today's schema and no row in it."""
    from tests.databases import Migrated  # the whole service, which most unit tests never need

    kept = Migrated(tmp_path_factory.mktemp("migrated"))
    yield kept
    kept.close()


def pytest_terminal_summary(terminalreporter) -> None:
    """Tell what was left out: a line for each server that is lacking, and one for the rest."""
    skipped = terminalreporter.stats.get("skipped", ())
    for line in told(report.longrepr[2] for report in skipped):
        terminalreporter.write_line(line)
