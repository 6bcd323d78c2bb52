"""Codes that people type or paste, read alike whatever the keyboard or the clipboard added."""

import unicodedata
from typing import Final

LONGEST: Final = 64
"""How many characters a typed code may have, with all that was added."""
_FULL_WIDTH: Final = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_MINUS: Final = "\u2212"


def read_code(text: str) -> str | None:
    """Return the digits and capital letters of a code, without what stands between them.

    Spaces, line ends, hyphens and marks that nobody sees count for nothing; digits of other
    scripts and full-width characters count as the plain ones.

    Returns:
        ASCII digits and capital letters, or None where the text is no code at all.
    """
    if len(text) > LONGEST:
        return None
    code = "".join(map(_plain, text.translate(_FULL_WIDTH)))
    return code.upper() if code.isascii() and code.isalnum() else None


def read_digits(text: str, length: int) -> str | None:
    """Return a code that is a number of so many digits, or None where it is none."""
    code = read_code(text)
    return code if code and len(code) == length and code.isdigit() else None


def _plain(character: str) -> str:
    kind = unicodedata.category(character)
    if kind in {"Zs", "Zl", "Zp", "Cf", "Pd"} or character.isspace() or character == _MINUS:
        return ""
    return str(unicodedata.decimal(character)) if kind == "Nd" else character
