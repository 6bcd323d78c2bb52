"""Findings: lists, travel, failures; none of them ever speaks for anybody."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.errors import SetupError
from service.signals.login_context import blocklist
from service.signals.login_context.features import Level, packed
from service.signals.login_context.findings import Failures, failing, kilometers, travel
from service.signals.login_context.history import History, PastLogin, digests

AT = 1_790_000_000
BERLIN, PARIS, TOKYO = (52.5, 13.4), (48.9, 2.4), (35.7, 139.7)


def login(place, *, after=0, asn=b"1"):
    """Return a login somewhere, some hours after the first."""
    return PastLogin(
        at=AT + int(3600 * after),
        hour=5,
        known_device=False,
        digests=digests(b"k", b"s", {Level.ASN: asn}),
        version=0,
        place=place,
    )


def been(place):
    """Return a history whose last login was somewhere."""
    history = History()
    history.learn(login(place))
    return history


@pytest.mark.parametrize(
    ("place", "after", "impossible"),
    [
        (TOKYO, 1, True),
        (TOKYO, 12, False),
        (PARIS, 0, True),
        (PARIS, 1, False),
        (BERLIN, 0, False),
        (None, 0, False),
    ],
)
def test_nobody_travels_faster_than_an_airliner(place, after, impossible):
    """Berlin to Tokyo takes more than an hour; what is near or unknown is no travel."""
    found = travel(been(BERLIN), login(place, after=after, asn=b"2"))
    assert (found is not None) == impossible
    if found:
        assert found.hard
        assert found.nats < 0


def test_a_network_of_before_is_no_travel():
    """A VPN that goes on and off moves nobody; nor does a history without a place."""
    assert travel(been(BERLIN), login(TOKYO, asn=b"1")) is None
    assert travel(been(None), login(TOKYO, asn=b"2")) is None


def test_a_clock_that_goes_back_makes_nobody_fast():
    """Time that ran backwards counts as a minute."""
    assert travel(been(BERLIN), login(TOKYO, after=-5, asn=b"2")) is not None
    assert travel(been(BERLIN), login((53.5, 10.0), after=-5, asn=b"2")) is None


def test_distances_are_those_of_the_globe():
    """Berlin to Tokyo is 8,900 km; a quarter of the globe 10,008."""
    assert kilometers(BERLIN, TOKYO) == pytest.approx(8910, rel=0.01)
    assert kilometers((0, 0), (90, 0)) == pytest.approx(10_008, rel=0.001)
    assert kilometers((0, 180), (0, -180)) == pytest.approx(0, abs=1e-6)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.floats(0, 1e9), st.booleans())
def test_failures_never_speak_for_anybody(subject, network, surge, known):
    """More failures never score better, whoever they were."""
    less = failing(Failures(subject, network, surge), known_device=known)
    more = failing(Failures(subject + 1, network + 1, surge * 2), known_device=known)
    assert all(-6 <= item.nats < 0 and not item.hard for item in [*less, *more])
    assert sum(item.nats for item in more) <= sum(item.nats for item in less)


def test_a_typing_error_is_nothing_and_four_are_much():
    """One failure is human; four in an hour are seldom."""
    assert failing(Failures(subject=1), known_device=True) == []
    (found,) = failing(Failures(subject=4), known_device=True)
    assert found.code == "failures_of_subject"
    assert found.nats < -4


def test_strangers_cannot_raise_what_a_known_device_is_asked():
    """A sprayed network and a surge concern those without a token."""
    storm = Failures(network=200, surge=100.0)
    assert failing(storm, known_device=True) == []
    codes = {item.code for item in failing(storm, known_device=False)}
    assert codes == {"failures_of_network", "failures_everywhere"}


def test_a_list_holds_blocks_and_single_addresses():
    """Both families, comments, host bits that are set."""
    blocks = blocklist.parse(
        ["# bad", "", "192.0.2.0/24 # spray", "198.51.100.9", "2001:db8::1/32"], "list"
    )
    for text in ("192.0.2.255", "198.51.100.9", "2001:db8:ffff::1", "::ffff:192.0.2.1"):
        assert blocklist.holds(blocks, packed(text)), text
    for text in ("192.0.3.0", "198.51.100.8", "2001:db9::", "nothing", ""):
        assert not blocklist.holds(blocks, packed(text)), text


@pytest.mark.parametrize("line", ["192.0.2.0/33", "example.com", "192.0.2", "::/129"])
def test_a_line_that_is_no_network_is_named(line, tmp_path):
    """The start stops with the file and the line."""
    path = tmp_path / "bad.txt"
    path.write_text(f"192.0.2.0/24\n{line}\n", "utf-8")
    with pytest.raises(SetupError) as refused:
        blocklist.read(path)
    assert re.search(r"bad\.txt line 2: not a network", refused.value.detail)


def test_a_list_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    """Missing, not text, too many lines, too large: each with the file's name."""
    path = tmp_path / "bad.txt"
    with pytest.raises(SetupError) as refused:
        blocklist.read(path)
    assert re.search("cannot be read", refused.value.detail)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SetupError) as refused:
        blocklist.read(path)
    assert re.search("cannot be read", refused.value.detail)
    path.write_text("192.0.2.1\n192.0.2.2\n", "utf-8")
    monkeypatch.setattr(blocklist, "MOST", 1)
    with pytest.raises(SetupError) as refused:
        blocklist.read(path)
    assert re.search("more than 1 blocks", refused.value.detail)
    monkeypatch.setattr(blocklist, "_LONGEST", 3)
    with pytest.raises(SetupError) as refused:
        blocklist.read(path)
    assert re.search("more than 3 bytes", refused.value.detail)
