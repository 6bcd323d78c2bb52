"""What was hashed, signed or chained before rfc8785 wrote it still verifies."""

import os
import random
import struct
import traceback
from datetime import UTC, datetime
from uuid import UUID

import pytest

from crypto import canonical
from crypto.canonical import canonical_json
from tests.depth import depth
from tests.unit.crypto.former_json import canonical_json as former

VALUES = int(os.environ.get("LAMINA_TEST_CANONICAL", depth(2000)))
SIGNS = (
    "".join(map(chr, range(0x20))) + 'az09_ "\\/\x7f\x80éß€漢\u2028\ufb33\ufeff\uffff😀\U0010ffff'
)
NAMES = ("id", "at", "kind", "data", "flow", "reasons", "a b", "é", "\ufb33", "😀", "\r", "1", "")


def _double(rng):
    """Return any finite double: even over its bits, short, or at the edge of a form."""
    kind = rng.randrange(5)
    if kind == 0:
        value = struct.unpack(">d", rng.randbytes(8))[0]
        return value if value - value == 0 else 0.5
    if kind == 1:
        return round(rng.uniform(-100, 100), rng.randrange(6))
    if kind == 2:
        return float(rng.randrange(-(10**22), 10**22))
    if kind == 3:
        return rng.choice([1, -1]) * rng.random() * 10.0 ** rng.randrange(-9, 24)
    return rng.choice([0.0, -0.0, 1e-6, 1e-7, 1e20, 1e21, 9007199254740992.0, 5e-324, 0.1 + 0.2])


def _scalar(rng):
    return rng.choice(
        (
            lambda: rng.choice([None, True, False]),
            lambda: rng.choice([rng.randrange(-99, 99), rng.randint(-(2**53) + 1, 2**53 - 1)]),
            lambda: _double(rng),
            lambda: "".join(rng.choices(SIGNS, k=rng.randrange(12))),
            lambda: str(UUID(bytes=rng.randbytes(16))),
            lambda: f"{datetime.fromtimestamp(rng.getrandbits(32), UTC):%FT%T.%f%z}",
        )
    )()


def _value(rng, depth=4):
    kind = rng.randrange(6) if depth else 5
    if kind <= 1:
        names = [*rng.choices(NAMES, k=rng.randrange(6)), str(_scalar(rng))]
        return {name: _value(rng, depth - 1) for name in names}
    if kind == 2:
        return [_value(rng, depth - 1) for _ in range(rng.randrange(5))]
    return tuple(_scalar(rng) for _ in range(3)) if kind == 3 else _scalar(rng)


@pytest.mark.parametrize(
    ("value", "fast"),
    [
        ({"b": [1, "é", None, True], "a": {"c": ()}}, True),
        ({"é": 1}, False),
        ([0.5], False),
        ([{"a": 1.0}], False),
        ("\ud800", False),
        (2**53, False),
        ({1: 2}, False),
        ([type("Text", (str,), {})("a")], False),
    ],
)
def test_the_fast_writer_has_only_what_it_writes_alike(monkeypatch, value, fast):
    """Floats, names beyond ASCII and whatever is refused go to the writer of RFC 8785."""
    asked = []
    slow = canonical.rfc8785.dumps
    monkeypatch.setattr(
        canonical.rfc8785, "dumps", lambda given: asked.append(given) or slow(given)
    )
    try:
        canonical_json(value)
    except ValueError:
        assert not fast
    assert (not asked) is fast


def test_what_is_nested_deeper_than_the_fast_writer_goes_is_written():
    """300 lists within each other have their form."""
    value = []
    for _ in range(300):
        value = [value]
    assert canonical_json(value) == b"[" * 301 + b"]" * 301


def test_the_form_is_that_of_the_writer_before():
    """Byte by byte, over random leaves, documents and numbers (`LAMINA_TEST_CANONICAL` of them)."""
    rng = random.Random(8785)
    forms = set()
    for _ in range(VALUES):
        value = _value(rng)
        assert canonical_json(value) == former(value), value
        forms.add(type(value))
    assert forms >= {dict, list, tuple, str, int, float}


@pytest.mark.parametrize(
    "bad", [2**60 + 7, -(2**60 + 7), float("inf"), "canary\ud800", {"canary\ud800": 1}, b"canary"]
)
def test_a_refusal_repeats_nothing_of_the_value(bad):
    """What has no form may be personal: neither the text nor a traceback holds it."""
    with pytest.raises(ValueError, match="JSON") as caught:
        canonical_json({"outer": [bad]})
    shown = "".join(traceback.format_exception(caught.value))
    assert ("canary" in str(caught.value), "1152921504606846983" in shown) == (False, False)
    assert caught.value.__suppress_context__
