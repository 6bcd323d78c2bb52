"""Which build of Argon2 runs: one for the instructions of newer processors, or the stock one.

`make install FAST_HASH=1` builds the bindings a second time, for x86-64-v3, and puts them beside
the stock ones. They are imported only by a processor that has its instructions, so that a machine
without them never stops at one that it does not know. Both compute the same hashes.

The module is imported before `argon2`, which takes the bindings that are loaded first.
"""

import importlib
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Final

PLACE: Final = Path(sys.prefix, "lib", "lamina-fast-hash")
FAST: Final = "x86-64-v3"
STOCK: Final = "stock"
_MODULE: Final = "_argon2_cffi_bindings"
_INSTRUCTIONS: Final = frozenset({"avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"})
"""Those of x86-64-v3 beyond earlier levels, as Linux names them; `abm` is LZCNT."""
_PROCESSOR: Final = Path("/proc/cpuinfo")


def instructions(path: Path = _PROCESSOR) -> frozenset[str]:
    """Return the instruction sets that every processor has; none where Linux does not tell."""
    try:
        lines = path.read_text("ascii", "replace").splitlines()
    except OSError:
        return frozenset()
    found = [frozenset(line.partition(":")[2].split()) for line in lines if line[:5] == "flags"]
    return frozenset.intersection(*found) if found else frozenset()


def suits(found: Collection[str]) -> bool:
    """Return whether a processor with these instruction sets can run the fast build."""
    return frozenset(found) >= _INSTRUCTIONS


def load(place: Path = PLACE, found: Collection[str] | None = None) -> str:
    """Load the fast build if it is there and suits this machine; return which build runs.

    Args:
        place: Directory of the fast build.
        found: Instruction sets of the processor; None to ask Linux.
    """
    there = _MODULE not in sys.modules and (place / _MODULE).is_dir()
    if there and suits(instructions() if found is None else found):
        sys.path.insert(0, str(place))
        try:
            importlib.import_module(_MODULE)
        except ImportError:
            # Built for another Python or libc: argon2 imports the stock one.
            for name in (_MODULE, f"{_MODULE}._ffi"):
                sys.modules.pop(name, None)
        finally:
            sys.path.remove(str(place))
    return build(place)


def build(place: Path = PLACE) -> str:
    """Return which build runs; the stock one if none is loaded yet."""
    loaded = getattr(sys.modules.get(_MODULE), "__file__", None) or ""
    return FAST if Path(loaded).is_relative_to(place) else STOCK


load()
