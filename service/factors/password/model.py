"""Which passwords are allowed: by length and a blocklist (SP 800-63B-4 section 3.1.1.2)."""

import gzip
import unicodedata
from functools import cache
from pathlib import Path
from typing import Final

from service.domain.errors import BadInput, Fault

SHORTEST: Final = 8
"""Sufficient if the segment always requires a second factor, as the default one does."""
LONGEST: Final = 256


@cache
def _blocklist() -> frozenset[str]:
    packed = Path(__file__).with_name("common_passwords.txt.gz").read_bytes()
    return frozenset(gzip.decompress(packed).decode().split())


def normalize(password: str) -> str:
    """Return the form that is hashed: NFKC, without trimming."""
    return unicodedata.normalize("NFKC", password)


def _refuse(pointer: str, code: str, detail: str) -> BadInput:
    return BadInput(Fault(pointer, code, detail))


def admit(password: str, pointer: str = "/password") -> str:
    """Return the normal form of a new password.

    Raises:
        BadInput: The password is too short, too long, or on the blocklist.
    """
    value = normalize(password)
    if len(value) < SHORTEST:
        raise _refuse(pointer, "too_short", f"must have at least {SHORTEST} characters")
    if len(value) > LONGEST:
        raise _refuse(pointer, "too_long", f"must have at most {LONGEST} characters")
    if value.casefold() in _blocklist() or len(set(value)) == 1:
        raise _refuse(pointer, "blocklisted", "is among the passwords that attackers try first")
    return value
