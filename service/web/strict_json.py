"""Strict JSON: no duplicate keys, NaN or lone surrogates; bounded depth and size.

The cost of a body is bounded before it is parsed: a list of empty lists takes thirty times its
bytes.
"""

import json
from typing import Final, NoReturn

from service.domain.errors import BadInput, Fault, Malformed

DEEPEST: Final = 32
MOST_VALUES: Final = 50_000
MOST_NESTED: Final = 20_000
MOST_MEMBERS: Final = 4000
"""Objects and lists cost more than numbers, and members most of all."""
_LEAST: Final = -(2**63)
_MOST: Final = 2**63 - 1
_BOUNDS: Final = ((b"[{", MOST_NESTED), (b":", MOST_MEMBERS), (b",", MOST_VALUES))
_CHUNK: Final = 64 * 1024


def _bound(body: bytes) -> None:
    """Count the separators in the bytes, including those in strings, before decoding."""
    counts = [0] * len(_BOUNDS)
    for start in range(0, len(body), _CHUNK):
        chunk = body[start : start + _CHUNK]
        for number, (marks, most) in enumerate(_BOUNDS):
            counts[number] += len(chunk) - len(chunk.translate(None, marks))
            if counts[number] > most:
                detail = (
                    f"{MOST_VALUES} values, {MOST_NESTED} objects and lists or "
                    f"{MOST_MEMBERS} members"
                )
                raise Malformed("malformed_json", f"The body holds more than {detail}.")


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("an object names a member twice")
    return members


def _no_constant(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _int(text: str) -> int:
    # Longer than a sign and the digits of 64 bits: not even converted.
    if len(text) > len(str(_LEAST)) or not _LEAST <= int(text) <= _MOST:
        detail = "holds a whole number beyond 64 bits"
        raise BadInput(Fault("", "number_out_of_range", detail))
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("a number is too large")
    return value


def _walk(value: object, depth: int, *, escaped: bool) -> None:
    if depth > DEEPEST:
        raise ValueError(f"nested deeper than {DEEPEST}")
    if isinstance(value, str):
        # Only escapes can produce NUL or surrogates: as raw bytes they are invalid UTF-8 or JSON.
        if escaped:
            _text(value)
    elif isinstance(value, dict):
        for name, member in value.items():
            _walk(name, depth + 1, escaped=escaped)
            _walk(member, depth + 1, escaped=escaped)
    elif isinstance(value, list):
        for item in value:
            _walk(item, depth + 1, escaped=escaped)


def _text(value: str) -> None:
    value.encode()
    if "\0" in value:
        raise ValueError("a string holds NUL")


def loads(body: bytes) -> object:
    """Parse a JSON body.

    Raises:
        Malformed: The bytes are not acceptable JSON; the detail says why.
        BadInput: An integer exceeds 64 bits.
    """
    _bound(body)
    try:
        value = json.loads(
            body.decode(),
            object_pairs_hook=_pairs,
            parse_constant=_no_constant,
            parse_float=_float,
            parse_int=_int,
        )
        _walk(value, 0, escaped=b"\\u" in body)
    except UnicodeError:
        raise Malformed("malformed_json", "The body is not valid UTF-8 text.") from None
    except RecursionError:
        raise Malformed("malformed_json", f"The body is nested deeper than {DEEPEST}.") from None
    except json.JSONDecodeError as error:
        detail = f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        raise Malformed("malformed_json", detail) from None
    except ValueError as error:
        raise Malformed("malformed_json", f"The body is not taken: {error}.") from None
    return value
