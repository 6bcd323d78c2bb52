"""A server keeps the memory of its hashes."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from crypto import memory

ROOT = Path(__file__).parents[3]
FAULTS = """
import resource
from crypto import memory
from crypto.hashing import PasswordHasher
memory.keep_for_hashes()
hasher = PasswordHasher(1)
for _ in range(2):
    hasher.hash("x")
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    hasher.hash("x")
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 5)
"""


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="this C library is not glibc"
)
def test_a_hash_finds_the_pages_of_the_one_before():
    """Of 4,864 pages that a hash of 19 MiB uses, hardly any is made anew."""
    program = [sys.executable, "-c", FAULTS]
    done = subprocess.run(
        program, capture_output=True, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert int(done.stdout) < 100


def test_another_c_library_is_left_alone(monkeypatch):
    """It has no such settings."""
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: SimpleNamespace())
    memory.keep_for_hashes()


def test_each_setting_is_told(monkeypatch):
    """The number of arenas, what is mapped apart, and when memory is given back."""
    told = {}
    library = SimpleNamespace(mallopt=told.__setitem__)
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: library)
    memory.keep_for_hashes()
    assert told == {-8: 1, -3: 32 * 2**20, -1: 48 * 2**20}
