"""JSON as the contract takes it: no duplicate keys, no NaN, no lone surrogates, bounded depth."""

import json
from typing import Any, Final, NoReturn

from service.domain.errors import Malformed

DEEPEST: Final = 32


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("an object names a member twice")
    return members


def _no_constant(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("a number is too large")
    return value


def _walk(value: object, depth: int) -> None:
    if depth > DEEPEST:
        raise ValueError(f"nested deeper than {DEEPEST}")
    if isinstance(value, str):
        value.encode()
        if "\0" in value:
            raise ValueError("a string holds NUL")
    elif isinstance(value, dict):
        for name, member in value.items():
            _walk(name, depth + 1)
            _walk(member, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _walk(item, depth + 1)


def loads(body: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value.

    Raises:
        Malformed: The bytes are not JSON as the contract takes it; the detail says why.
    """
    try:
        value = json.loads(
            body.decode(), object_pairs_hook=_pairs, parse_constant=_no_constant,
            parse_float=_float,
        )  # fmt: skip
        _walk(value, 0)
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
