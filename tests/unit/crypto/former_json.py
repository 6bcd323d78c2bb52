"""The writer of canonical JSON until rfc8785 took its place: stored hashes and MACs are its."""

import json
import math
from typing import Final

_LARGEST_EXACT: Final = 2**53 - 1
_LARGEST_PLAIN: Final = 21
_SMALLEST_PLAIN: Final = -6


def _number(value: float) -> str:
    """Format a double as ECMAScript does (RFC 8785 section 3.2.2.3)."""
    if not math.isfinite(value):
        raise ValueError("NaN and Infinity have no JSON form")
    if value == 0:
        return "0"
    mantissa, _, exponent = f"{value!r}".replace("-", "", 1 if value < 0 else 0).partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    return ("-" if value < 0 else "") + _place(digits, point)


def _place(digits: str, point: int) -> str:
    count = len(digits)
    if count <= point <= _LARGEST_PLAIN:
        return digits + "0" * (point - count)
    if 0 < point <= _LARGEST_PLAIN:
        return f"{digits[:point]}.{digits[point:]}"
    if _SMALLEST_PLAIN < point <= 0:
        return "0." + "0" * -point + digits
    tail = f".{digits[1:]}" if count > 1 else ""
    return f"{digits[0]}{tail}e{'+' if point > 0 else '-'}{abs(point - 1)}"


def _scalar(value: object) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str):
        value.encode()
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        if abs(value) > _LARGEST_EXACT:
            raise ValueError("an integer beyond 2**53 - 1 is not exact in JSON")
        return str(value)
    if isinstance(value, float):
        return _number(value)
    raise ValueError(f"{type(value).__name__} has no JSON form")


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return "[" + ",".join(_text(item) for item in value) + "]"
    if isinstance(value, dict):
        if not all(isinstance(name, str) for name in value):
            raise ValueError("the names of an object's members are strings")
        # UTF-16 code units decide the order, not code points.
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(f"{_scalar(name)}:{_text(value[name])}" for name in names) + "}"
    return _scalar(value)


def canonical_json(value: object) -> bytes:
    """Return the one UTF-8 form of a JSON value.

    Raises:
        ValueError: Something in it has no exact JSON form.
    """
    return _text(value).encode()
