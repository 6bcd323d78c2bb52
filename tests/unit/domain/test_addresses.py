"""One caller, however the address is spelled."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.addresses import UNREADABLE, bucket, parse

SAME_FOUR = (
    "192.0.2.7",
    "192.0.2.7:4711",
    " 192.0.2.7 ",
    '"192.0.2.7:80"',
    "::ffff:192.0.2.7",
    "::FFFF:C000:0207",
    "[::ffff:192.0.2.7]:443",
    "[::ffff:192.0.2.7]",
    "0300.0000.0002.0007",
    "192.000.002.007",
    "0xC0.0.2.0x7",
    "0xc0.0.2.7:65535",
    "0:0:0:0:0:ffff:192.0.2.7",
    "[::ffff:192.0.2.7%eth0]:1",
)
SAME_SIX = (
    "2001:db8::1",
    "2001:DB8::1",
    "[2001:db8::1]:443",
    "[2001:db8::1]",
    "2001:db8:0:0:0:0:0:1",
    "2001:0db8:0000:0000:0000:0000:0000:0001",
    "2001:db8::1%eth0",
    "[2001:db8::1%25eth0]:80",
    "2001:db8::ffff:ffff:ffff:ffff",
    "2001:db8::192.0.2.7",
    '"[2001:db8::5]:9"',
)
GARBAGE = (
    "",
    " ",
    "unknown",
    "_hidden",
    "1.2.3",
    "1.2.3.4.5",
    "1.2.3.999",
    "1.2.3.4 x",
    "[::1",
    "::1]",
    "999.1.1.1",
    "0999.1.1.1",
    "1.2.3.4:port",
    "a" * 5000,
    "\x00",
    "1.2.3.4\x00",
    "\u0661.2.3.4",
    "[1.2.3.4]:123456",
    "%eth0",
    "::::",
    "192.0.2.7, 192.0.2.8",
    "4294967296.0.0.0",
)


def test_every_spelling_of_one_caller_is_one_bucket():
    """Ports, brackets, zones, capitals, mapped and octal forms change nothing; /64 is one."""
    assert {bucket(text) for text in SAME_FOUR} == {"192.0.2.7"}
    assert {bucket(text) for text in SAME_SIX} == {"2001:db8::/64"}


def test_neighbors_are_told_apart():
    """Another IPv4 address and another /64 have buckets of their own."""
    assert bucket("192.0.2.8") != bucket("192.0.2.7")
    assert bucket("2001:db8:0:1::1") != bucket("2001:db8::1")


@pytest.mark.parametrize("text", GARBAGE)
def test_garbage_shares_one_bucket(text):
    """What is no address is counted together."""
    assert parse(text) is None
    assert bucket(text) == UNREADABLE


@given(st.text(max_size=80))
def test_no_text_is_an_error(text):
    """Every text has a bucket that reads as itself."""
    found = bucket(text)
    assert found == UNREADABLE or bucket(found.removesuffix("/64")) == found


@given(st.ip_addresses(), st.integers(0, 65535))
def test_a_port_changes_nothing(address, port):
    """The bucket of an address is that of the address with a port."""
    spelled = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
    assert parse(spelled) == parse(str(address))
    assert bucket(spelled) == bucket(str(address))
    assert parse(str(ip_address(address))) is not None
