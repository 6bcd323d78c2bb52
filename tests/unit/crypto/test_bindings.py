"""The fast build of Argon2 is used only where the processor has its instructions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from crypto import bindings
from crypto.bindings import FAST, STOCK, instructions, load, suits

NEWER = ["avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"]
PRINTS = """
import sys
from crypto import bindings
if sys.argv[1] == "stock":
    for name in [name for name in sys.modules if name.startswith("_argon2_cffi_bindings")]:
        del sys.modules[name]
from argon2.low_level import Type, hash_secret
print(bindings.build())
for memory, passes in ((8, 1), (64, 2), (19 * 1024, 2)):
    for secret in (b"", b"a password", b"x" * 1000):
        given = dict(time_cost=passes, memory_cost=memory, parallelism=1, hash_len=32)
        print(hash_secret(secret, b"some salt here", type=Type.ID, **given).decode())
"""
KNOWN = Path(__file__).parents[2] / "vectors" / "argon2id.txt"


@pytest.fixture
def fresh(monkeypatch):
    """Nothing is loaded yet; what a test loads is forgotten."""
    monkeypatch.delitem(sys.modules, "_argon2_cffi_bindings", raising=False)


@pytest.fixture
def place(tmp_path):
    """A build that can be told from the stock one."""
    package = tmp_path / "_argon2_cffi_bindings"
    package.mkdir()
    (package / "__init__.py").write_text("", "utf-8")
    return tmp_path


@pytest.mark.usefixtures("fresh")
def test_the_fast_build_is_loaded_where_the_processor_suits(place):
    """And nothing of it stays on the path of other modules."""
    assert load(place, NEWER) == FAST
    assert str(place) not in sys.path


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("missing", NEWER)
def test_it_is_not_loaded_where_one_instruction_is_missing(place, missing):
    """Such a processor would end the process at the first hash."""
    assert load(place, set(NEWER) - {missing}) == STOCK
    assert "_argon2_cffi_bindings" not in sys.modules


@pytest.mark.usefixtures("fresh")
def test_a_build_that_cannot_be_imported_is_passed_over(place):
    """As one for another Python; the stock one runs."""
    (place / "_argon2_cffi_bindings" / "__init__.py").write_text("raise ImportError", "utf-8")
    assert load(place, NEWER) == STOCK
    assert str(place) not in sys.path


@pytest.mark.usefixtures("fresh")
def test_without_a_fast_build_the_processor_is_not_asked(tmp_path, monkeypatch):
    """As with the stock wheels alone, or when something has loaded the bindings before."""
    monkeypatch.setattr(bindings, "instructions", lambda: pytest.fail("asked"))
    assert load(tmp_path) == STOCK


def test_what_linux_tells_of_the_processors_is_read(tmp_path):
    """What all of them have counts; elsewhere nothing is known, which is not enough."""
    told = tmp_path / "cpuinfo"
    told.write_text("processor: 0\nflags\t\t: fpu avx2 fma\nbugs: x\nflags : fpu avx2\n", "ascii")
    assert instructions(told) == {"fpu", "avx2"}
    told.write_text("Processor: ARM\nFeatures: asimd\n", "ascii")
    assert instructions(told) == instructions(tmp_path / "none") == frozenset()
    assert suits([*NEWER, "fpu"])
    assert not suits(())


@pytest.mark.usefixtures("fresh")
def test_the_processor_of_this_machine_is_asked(place):
    """Whatever it answers decides."""
    assert load(place) == (FAST if suits(instructions()) else STOCK)


@pytest.mark.parametrize("build", ["stock", "installed"])
def test_every_build_computes_the_known_hashes(build):
    """The stock one, and the fast one where it is installed and runs here."""
    command = [sys.executable, "-c", PRINTS, build]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[0] in {STOCK, FAST}
    assert build != "stock" or lines[0] == STOCK
    assert lines[1:] == KNOWN.read_text("utf-8").splitlines()


@pytest.mark.parametrize(
    "hashes",
    [
        "import crypto.hashing",
        (
            "from crypto.providers import handed\n"
            "handed._master(b'x', {'salt': 'c29tZSBzYWx0', 'passes': 1, 'memory_kib': 8})"
        ),
    ],
)
def test_whoever_hashes_has_chosen_the_build_before(hashes):
    """argon2 takes the bindings that are loaded first, in a server before its workers begin."""
    code = f"{hashes}\nimport sys\nprint(*sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, env=environment, text=True
    )
    loaded = done.stdout.split()
    assert loaded.index("crypto.bindings") < loaded.index("argon2")
