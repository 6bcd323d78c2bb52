"""Canonical JSON (RFC 8785), for data that is signed or hashed."""

from typing import Any

import rfc8785


def canonical_json(value: Any) -> bytes:  # noqa: ANN401 - JSON of any shape
    """Return the canonical UTF-8 encoding of a JSON value.

    Raises:
        ValueError: A part of the value has no exact JSON form; the message repeats no part of it.
    """
    try:
        return rfc8785.dumps(value)
    except rfc8785.IntegerDomainError:
        raise ValueError("an integer beyond 2**53 - 1 is not exact in JSON") from None
    except rfc8785.FloatDomainError:
        raise ValueError("NaN and Infinity have no JSON form") from None
    except ValueError:
        # A lone surrogate in a name is told by Python, in an exception that holds the name.
        raise ValueError("a type, a name or a text has no JSON form") from None
