"""Canonical JSON (RFC 8785), for data that is signed or hashed."""

from collections.abc import Iterable
from typing import Any, Final

import orjson
import rfc8785

_LARGEST: Final = 2**53 - 1


def canonical_json(value: Any) -> bytes:  # noqa: ANN401 - JSON of any shape
    """Return the canonical UTF-8 encoding of a JSON value.

    Raises:
        ValueError: A part of the value has no exact JSON form; the message repeats no part of it.
    """
    # Where no number is a float and each name is ASCII, sorting by bytes is the canonical order.
    if _plain((value,)):
        try:
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        except TypeError:
            # A lone surrogate, or more levels than it writes: the slower writer decides.
            pass
    try:
        return rfc8785.dumps(value)
    except rfc8785.IntegerDomainError:
        raise ValueError("an integer beyond 2**53 - 1 is not exact in JSON") from None
    except rfc8785.FloatDomainError:
        raise ValueError("NaN and Infinity have no JSON form") from None
    except ValueError:
        # A lone surrogate in a name is told by Python, in an exception that holds the name.
        raise ValueError("a type, a name or a text has no JSON form") from None


def _plain(values: Iterable[Any]) -> bool:
    """Return whether the fast writer gives values their canonical form."""
    for value in values:
        kind = type(value)
        if kind is str or kind is bool or value is None:
            continue
        if kind is int:
            plain = -_LARGEST <= value <= _LARGEST
        elif kind is dict:
            plain = all(type(name) is str and name.isascii() for name in value)
            plain = plain and _plain(value.values())
        else:
            plain = (kind is list or kind is tuple) and _plain(value)
        if not plain:
            return False
    return True
