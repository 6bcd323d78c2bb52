"""A history is bounded, fades, and is stored in a frozen format."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.signals.login_context.features import Level
from service.signals.login_context.history import (
    HALF_LIFE,
    LARGEST,
    MOST,
    History,
    PastLogin,
    digests,
    unpack,
)

VECTOR = Path(__file__).parents[2] / "vectors" / "login_context" / "history.json"
AT = 1_790_000_000
KEY = b"k" * 32


def login(at=AT, *, hour=40, known=False, version=7, place=None, **values):
    """Return a login of values by level name; nothing else is shown."""
    named = {Level[name.upper()]: str(value).encode() for name, value in values.items()}
    return PastLogin(
        at=at,
        hour=hour,
        known_device=known,
        digests=digests(KEY, b"s", named),
        version=version,
        place=place,
    )


def learned(*logins):
    """Return the history of logins."""
    history = History()
    for one in logins:
        history.learn(one)
    return history


def test_counts_fade_by_half_in_ninety_days():
    """What was learned a half-life ago weighs half of what is learned now."""
    history = learned(login(prefix=1), login(AT + HALF_LIFE, prefix=2))
    weights = sorted(weight for weight, _ in history.values[Level.PREFIX].values())
    assert weights == pytest.approx([0.5, 1.0])
    assert history.totals[Level.PREFIX] == history.logins == pytest.approx(1.5)


def test_a_clock_that_goes_back_changes_no_count():
    """Time before the last login counts as that time."""
    history = learned(login(prefix=1), login(AT - 10 * HALF_LIFE, prefix=1))
    assert history.logins == 2
    assert history.at == AT


def test_a_value_of_long_ago_is_forgotten():
    """What weighs less than a twentieth is dropped."""
    history = learned(login(prefix=1), login(AT + 5 * HALF_LIFE, prefix=2))
    assert len(history.values[Level.PREFIX]) == 1


def test_versions_only_grow():
    """The highest version of a platform is kept."""
    history = learned(login(platform="x", version=9), login(platform="x", version=8))
    assert [version for _, version in history.values[Level.PLATFORM].values()] == [9]


def test_absence_counts_as_new():
    """A login without an address widens what is new of networks, and no other level."""
    history = learned(login(prefix=1, locale="a"), login(locale="a"))
    assert history.novel[Level.PREFIX] == 1
    assert history.novel[Level.LOCALE] == 0
    assert history.totals[Level.PREFIX] == 1


def test_a_place_the_database_does_not_know_is_not_absence():
    """An address without an ASN is no new ASN."""
    history = learned(login(prefix=1, asn=5), login(prefix=1))
    assert history.novel[Level.ASN] == 0


def test_the_first_login_could_not_hold_a_token():
    """It is not counted among those that lacked one."""
    history = learned(login(), login(known=True))
    assert (history.logins, history.offered, history.tokens) == (2, 1, 1)


def test_it_is_counted_for_everybody_once_a_day():
    """However often somebody signs in, a day counts once."""
    history = History()
    assert history.due(AT)
    assert not history.due(AT + 60)
    assert history.due(AT + 86_400)


def test_the_size_is_bounded_whatever_is_learned():
    """Ten thousand different logins fit into the largest history."""
    history = History()
    for number in range(2000):
        values = {level.name.lower(): number for level in Level}
        history.learn(login(AT + number, hour=number % 168, place=(1.0, 2.0), **values))
    assert [len(known) for known in history.values] == list(MOST)
    assert len(history.pack()) <= LARGEST < 3000


@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**8),
            st.integers(0, 167),
            st.booleans(),
            st.integers(0, 5),
            st.integers(0, 65_535),
        ),
        max_size=20,
    )
)
def test_what_is_packed_is_unpacked(rows):
    """A history survives its format, to the precision of its numbers."""
    history = learned(
        *(
            login(AT + at, hour=hour, known=known, version=version, prefix=value, platform=value)
            for at, hour, known, value, version in rows
        )
    )
    again = unpack(history.pack())
    assert again.pack() == history.pack()
    assert again.logins == pytest.approx(history.logins, rel=1e-6)
    assert list(again.values[Level.PLATFORM]) == sorted(history.values[Level.PLATFORM])


def test_the_format_is_frozen():
    """The bytes of the first day still open, and to the same counts."""
    vector = json.loads(VECTOR.read_text("utf-8"))
    history = unpack(bytes.fromhex(vector["packed"]))
    assert history.pack().hex() == vector["packed"]
    assert history.last_place == (525, 134)
    assert history.logins == pytest.approx(vector["logins"])
    expected = learned(
        login(
            AT,
            prefix="a",
            asn=1,
            country="DE",
            device="d",
            platform="p",
            system="s",
            locale="de-de",
            language="de",
            place=(52.52, 13.4),
        ),
        login(
            AT + 86_400,
            hour=64,
            known=True,
            version=9,
            prefix="b",
            asn=1,
            country="DE",
            device="d",
            platform="p",
            system="s",
            locale="de-de",
            language="de",
            place=(52.52, 13.4),
        ),
    )
    assert expected.pack().hex() == vector["packed"]


@pytest.mark.parametrize("cut", [0, 1, 40, 113, 120, -1])
def test_what_is_cut_or_strange_is_refused(cut):
    """Bytes of another format, and a part of a history, are named and not guessed at."""
    packed = learned(login(prefix=1)).pack()
    for bad in (packed[:cut], b"\x02" + packed[1:], packed + b"\0"):
        with pytest.raises(ValueError, match="login history"):
            unpack(bad)


def test_digests_tell_nothing_across_subjects():
    """The same value has another digest for another owner and at another level."""
    values = {Level.ASN: b"1", Level.COUNTRY: b"1"}
    one, other = digests(KEY, b"one", values), digests(KEY, b"two", values)
    assert len({*one.values(), *other.values()}) == 4
