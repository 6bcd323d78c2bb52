"""One form of JSON, and a chain that notices every change."""

import struct

import pytest

from crypto import chain
from crypto.canonical import canonical_json
from crypto.errors import ChainBroken


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("8000000000000001", "-5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("ffefffffffffffff", "-1.7976931348623157e+308"),
        ("4340000000000000", "9007199254740992"),
        ("c340000000000000", "-9007199254740992"),
        ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("44b52d02c7e14af7", "1.0000000000000001e+23"),
        ("444b1ae4d6e2ef4e", "999999999999999700000"),
        ("444b1ae4d6e2ef4f", "999999999999999900000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555553", "333333333.3333332"),
        ("41b3de4355555557", "333333333.33333343"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
        ("43143ff3c1cb0959", "1424953923781206.2"),
    ],
)
def test_numbers_match_rfc_8785(bits, expected):
    """Doubles are written as the table in appendix B of RFC 8785 writes them."""
    value = struct.unpack(">d", bytes.fromhex(bits))[0]
    assert canonical_json(value).decode() == expected


def test_members_are_sorted_by_utf16():
    """The order is that of UTF-16 code units (RFC 8785 section 3.2.3)."""
    value = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6, "\u00f6": 7}
    text = canonical_json(value).decode()
    assert [int(char) for char in text if char.isdigit() and char != "1"] == [2, 4, 6, 7, 5, 3]
    assert (
        canonical_json({"b": [True, None, "é\n"], "a": ()})
        == '{"a":[],"b":[true,null,"é\\n"]}'.encode()
    )


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 2**53, {1: 2}, {"a": b""}, "\ud800", {1, 2}]
)
def test_what_has_no_exact_form_is_refused(value):
    """NaN, large integers, bytes, sets, lone surrogates and numeric names raise."""
    with pytest.raises(ValueError, match=r"JSON|exact"):
        canonical_json(value)


def _entries(leaves):
    head, entries = chain.GENESIS, []
    for position, leaf in enumerate(leaves, 1):
        head = chain.link(head, leaf)
        entries.append((position, leaf, head))
    return entries


def test_an_untouched_chain_verifies(vectors):
    """The chain ends where it should, and its format is frozen."""
    assert chain.GENESIS.hex() == vectors("keys")["genesis"]
    position, head = chain.verify_chain(_entries([b"one", b"two"]))
    assert (position, head.hex()) == (2, vectors("keys")["chain"])


def test_the_mac_of_a_link_is_frozen(vectors):
    """It covers the key, the position and the head."""
    key = bytes(range(32))
    mac = chain.link_mac(key, 7, chain.GENESIS)
    assert mac.hex() == vectors("keys")["link_mac"]
    others = {
        chain.link_mac(bytes(32), 7, chain.GENESIS),
        chain.link_mac(key, 8, chain.GENESIS),
        chain.link_mac(key, 7, bytes(32)),
    }
    assert len(others | {mac}) == 4


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_changed_removed_or_moved_leaf_is_found(at):
    """Every change breaks the chain at the position it was made."""
    good = _entries([b"one", b"two", b"three", b"four"])
    position, _, head = good[at]
    changed = [*good[:at], (position, b"else", head), *good[at + 1 :]]
    moved = [*good[:at], good[at + 1], good[at], *good[at + 2 :]]
    for entries in (changed, good[:at] + good[at + 1 :], moved):
        with pytest.raises(ChainBroken, match=f"position {at + 1}") as caught:
            chain.verify_chain(entries)
        assert caught.value.position == at + 1
