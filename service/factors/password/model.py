"""Which passwords are taken: length and a blocklist decide (SP 800-63B-4 section 3.1.1.2)."""

import runpy
import unicodedata
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from service.domain.errors import BadInput, Fault

SHORTEST: Final = 8
"""Enough where the segment always asks for a second factor, as the default one does."""
LONGEST: Final = 256


@cache
def _blocklist() -> frozenset[str]:
    # Run apart from its package, which would keep all of its dictionaries in memory.
    spec = find_spec("zxcvbn")
    places = list(spec.submodule_search_locations or ()) if spec else []
    names = runpy.run_path(str(Path(places[0]) / "frequency_lists.py"))
    words: list[str] = names["FREQUENCY_LISTS"]["passwords"]
    return frozenset(word for word in words if len(word) >= SHORTEST)


def normalize(password: str) -> str:
    """Return the form that is hashed: NFKC, nothing trimmed."""
    return unicodedata.normalize("NFKC", password)


def _refuse(pointer: str, code: str, detail: str) -> BadInput:
    return BadInput(Fault(pointer, code, detail))


def admit(password: str, pointer: str = "/password") -> str:
    """Return the normal form of a new password.

    Raises:
        BadInput: Too short, too long, or known to every attacker.
    """
    value = normalize(password)
    if len(value) < SHORTEST:
        raise _refuse(pointer, "too_short", f"must have at least {SHORTEST} characters")
    if len(value) > LONGEST:
        raise _refuse(pointer, "too_long", f"must have at most {LONGEST} characters")
    if value.casefold() in _blocklist() or len(set(value)) == 1:
        raise _refuse(pointer, "blocklisted", "is among the passwords that attackers try first")
    return value
