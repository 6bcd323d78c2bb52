"""MACs of rows: the layout is frozen, and no two rows have one message."""

import pickle
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto import rows
from crypto.opaque import keyed_digest
from crypto.rows import RowKey

KEY = RowKey(b"k" * 32, 3)
ID = UUID("0198c0de-0000-7000-8000-000000000001")
AT = datetime(2026, 11, 24, 12, 0, 5, 7, tzinfo=UTC)
PLACE = rows.place_of("client", ("id", "name", "used_at"))


def test_the_layout_is_frozen(vectors):
    """Each form, a MAC, a note and a digest of a token are as they were on the first day."""
    frozen = vectors("rows")
    forms = [
        rows.truth(True),
        rows.truth(False),
        rows.number(-7),
        rows.text("käse"),
        rows.binary(b"\0\1"),
        rows.identity(ID),
        rows.moment(AT),
        rows.document({"b": [1, None]}),
        rows.NOTHING,
    ]
    assert [form.hex() for form in forms] == frozen["forms"]
    message = PLACE + b"".join(forms)
    mac = KEY.seal(message, 9)
    assert mac.hex() == frozen["mac"]
    assert (len(mac), rows.generation_of(mac), rows.revision_of(mac)) == (rows.MAC_BYTES, 3, 9)
    assert rows.tag_of(mac) == frozen["mac"][14:30]
    assert rows.plain_tag(message) == frozen["plain_tag"]
    assert rows.notes_mac(b"n" * 32, ID, b"[]").hex() == frozen["notes"]
    assert keyed_digest(b"t" * 32, "token", "grant", b"x").hex() == frozen["token"]


def test_a_mac_holds_for_its_row_only():
    """Another member, table, revision, generation or key, or any other bit, and it does not."""
    message = PLACE + rows.identity(ID) + rows.text("shop") + rows.NOTHING
    mac = KEY.seal(message, 1)
    assert KEY.holds(message, mac)
    others = [
        PLACE + rows.identity(ID) + rows.text("shop") + rows.moment(AT),
        PLACE + rows.identity(ID) + rows.NOTHING + rows.text("shop"),
        rows.place_of("grant", ("id", "name", "used_at")) + message[len(PLACE) :],
    ]
    assert not any(KEY.holds(other, mac) for other in others)
    for place in range(len(mac)):
        flipped = bytearray(mac)
        flipped[place] ^= 1
        assert not KEY.holds(message, bytes(flipped)), place
    assert not RowKey(b"k" * 32, 4).holds(message, mac)
    assert not RowKey(b"l" * 32, 3).holds(message, mac)


@pytest.mark.parametrize("mac", [b"", b"\1", bytes(rows.MAC_BYTES), b"\2" + bytes(22)])
def test_what_is_no_mac_holds_nothing(mac):
    """Cut, empty or of another layout: it has no generation and is nobody's."""
    assert rows.generation_of(mac) == 0
    assert not KEY.holds(b"", mac)


def test_no_mac_has_no_revision():
    """A row that never had one counts from zero."""
    assert (rows.revision_of(None), rows.revision_of(b"\1"), rows.tag_of(None)) == (0, 0, "")


VALUES = st.one_of(
    st.just(rows.NOTHING),
    st.booleans().map(rows.truth),
    st.integers(-(2**63), 2**63 - 1).map(rows.number),
    st.text().map(rows.text),
    st.binary().map(rows.binary),
    st.uuids().map(rows.identity),
)


@given(st.lists(VALUES, max_size=4), st.lists(VALUES, max_size=4))
def test_two_rows_have_two_messages(left, right):
    """What is framed cannot be cut in another way; nothing is apart from empty."""
    assert (b"".join(left) == b"".join(right)) == (left == right)
    assert rows.NOTHING not in {rows.text(""), rows.binary(b"")}


def test_a_moment_is_exact_to_the_microsecond():
    """However far away; the zone does not matter."""
    for at in (datetime.min.replace(tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)):
        micros = int.from_bytes(rows.moment(at)[1:], "big", signed=True)
        assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros) == at


def test_the_key_is_not_shown():
    """Neither in a repr nor in a pickle."""
    assert repr(KEY) == "RowKey(generation=3)"
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(KEY)
