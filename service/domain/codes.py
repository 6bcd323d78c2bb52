"""Normalize typed or pasted codes, whatever the keyboard or the clipboard added."""

import unicodedata
from typing import Final

LONGEST: Final = 64
"""Maximum characters of a typed code, including separators."""
_FULL_WIDTH: Final = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_MINUS: Final = "\u2212"


def read_code(text: str) -> str | None:
    """Return the digits and capital letters of a code, without separators.

    Spaces, line ends, hyphens and invisible characters are ignored; digits of other scripts and
    full-width characters are converted to ASCII.

    Returns:
        ASCII digits and capital letters, or None if the text is not a code.
    """
    if len(text) > LONGEST:
        return None
    code = "".join(map(_plain, text.translate(_FULL_WIDTH)))
    return code.upper() if code.isascii() and code.isalnum() else None


def read_digits(text: str, length: int) -> str | None:
    """Return a numeric code of the given length, or None if the text is not one."""
    code = read_code(text)
    return code if code and len(code) == length and code.isdigit() else None


def _plain(character: str) -> str:
    kind = unicodedata.category(character)
    if kind in {"Zs", "Zl", "Zp", "Cf", "Pd"} or character.isspace() or character == _MINUS:
        return ""
    return str(unicodedata.decimal(character)) if kind == "Nd" else character
