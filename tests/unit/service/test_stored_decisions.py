"""Decisions are stored small, and are read back whole, also those of the first form."""

import json
from pathlib import Path

import orjson
import pytest

from service.domain.squeezing import expand, squeeze
from service.policy.model import packing
from service.policy.store import explained

VECTOR = json.loads(
    (Path(__file__).parents[2] / "vectors" / "policy" / "decision.json").read_text("utf-8")
)
CONTENT = orjson.dumps(VECTOR["content"])


def test_a_decision_is_read_back_equal_in_a_fifth_of_its_size():
    """Names of members, texts of reasons and what is said twice cost next to nothing."""
    packed = packing.pack(CONTENT)
    assert packing.unpack(packed) == VECTOR["content"]
    assert len(packed) < len(CONTENT) / 5


def test_the_first_form_and_a_frozen_one_are_read():
    """Rows that an earlier program wrote stay readable: the dictionary never changes."""
    assert packing.unpack(CONTENT) == VECTOR["content"]
    assert packing.unpack(bytes.fromhex(VECTOR["packed"])) == VECTOR["content"]
    assert explained(CONTENT) == explained(bytes.fromhex(VECTOR["packed"]))


@pytest.mark.parametrize("stored", [b"", b"3{}", b"2", b"2{}", packing.pack(CONTENT)[:-1]])
def test_another_form_is_refused_and_not_repeated(stored):
    """One of a later program, or a part."""
    with pytest.raises(ValueError, match=r"does not know|not whole|not expand") as caught:
        packing.unpack(stored)
    assert "evidence" not in str(caught.value)


def test_what_expands_beyond_its_bound_is_refused():
    """A text of a million zeros is a thousand bytes: no more than the bound is ever unpacked."""
    squeezed = squeeze(b"0" * 1_000_000, b"dictionary")
    assert len(expand(squeezed, b"dictionary", 1_000_000)) == 1_000_000
    with pytest.raises(ValueError, match="too long"):
        expand(squeezed, b"dictionary", 999_999)


def test_what_is_no_deflate_is_refused():
    """Bytes that open no block of DEFLATE are no text."""
    with pytest.raises(ValueError, match="does not expand"):
        expand(b"\xff", b"dictionary", 100)
