"""What a login shows is read without ever failing."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.signals.login_context import user_agent
from service.signals.login_context.features import NOWHERE, Level, Origin, observe, packed

NOW = datetime(2026, 11, 24, 13, 30, tzinfo=UTC)
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/142.0.0.0 Safari/537.36"
)
AGENTS = {
    CHROME: ("windows", "chrome", 142, ""),
    CHROME + " Edg/141.0.1": ("windows", "edge", 141, ""),
    "Mozilla/5.0 (Linux; Android 14; Pixel 8 Build/UQ1A) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/130.0.0.0 Mobile Safari/537.36": ("android", "chrome", 130, "pixel 8"),
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) "
    "SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36": ("android", "samsung", 25, "k"),
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
    "Gecko) Version/17.0 Mobile/15E148 Safari/604.1": ("ios", "safari", 17, ""),
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:120.0) Gecko/20100101 Firefox/120.0": (
        "macos",
        "firefox",
        120,
        "",
    ),
    "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 Chrome/119.0.0.0 Safari/537.36": (
        "chromeos",
        "chrome",
        119,
        "",
    ),
    "Bank/5.12 (iPhone; iOS 17.1)": ("ios", "bank", 5, ""),
    "curl/8.4.0": ("other", "curl", 8, ""),
    "okhttp": ("other", "okhttp", 0, ""),
    "(none)": ("other", "other", 0, ""),
    "Chrome/x Linux": ("linux", "chrome", 0, ""),
    "Bank/99999 ": ("other", "bank", 65535, ""),
}


@pytest.mark.parametrize(("header", "expected"), AGENTS.items())
def test_a_user_agent_is_read(header, expected):
    """System, family, major version and model, whichever browser claims to be which."""
    found = user_agent.parse(header)
    assert (found.system, found.family, found.version, found.model) == expected


@given(st.text(), st.text(max_size=2000), st.text())
def test_nothing_a_caller_says_raises(ip, header, languages):
    """Whatever text stands in the context, reading it answers."""
    found = observe(ip, agent_text=header, languages=languages, now=NOW, locate=lambda _: NOWHERE)
    assert found.hour == 24 + 13
    assert all(isinstance(value, bytes) for value in found.values.values())


def test_an_address_is_seen_at_each_level():
    """/24, /16, ASN and country for IPv4; /48 and /32 for IPv6; a mapped address is IPv4."""
    here = Origin(64500, "DE", (52.5, 13.4))
    found = observe(
        "192.0.2.77", agent_text="", languages="de-DE,de;q=0.9", now=NOW, locate=lambda _: here
    )
    assert found.values == {
        Level.PREFIX: b"\xc0\x00\x02",
        Level.WIDE: b"\xc0\x00",
        Level.ASN: b"64500",
        Level.COUNTRY: b"DE",
        Level.LOCALE: b"de-de",
        Level.LANGUAGE: b"de",
    }
    assert found.place == (52.5, 13.4)
    six = observe(
        "2001:db8:1:2::3", agent_text="", languages="", now=NOW, locate=lambda _: NOWHERE
    ).values
    assert (len(six[Level.PREFIX]), len(six[Level.WIDE])) == (6, 4)
    for spelled in ("::ffff:192.0.2.77", " 192.0.2.77 ", "192.0.2.77:4711", "0300.0.02.0115"):
        assert packed(spelled) == b"\xc0\x00\x02\x4d"


@pytest.mark.parametrize("text", ["unknown", "1.2.3", "1.2.3.4, 5.6.7.8", "999.1.1.1", "\0", "[::"])
def test_what_is_no_address_is_absent_and_named(text):
    """It leaves no network behind, and the caller can be told so."""
    found = observe(text, agent_text=CHROME, languages="", now=NOW, locate=lambda _: NOWHERE)
    assert found.unreadable
    assert Level.PREFIX not in found.values
    assert Level.DEVICE in found.values


@pytest.mark.parametrize("text", ["", "  ", "*", "q=0.5", "d", "deutsch"])
def test_a_language_that_is_none_is_absent(text):
    """Only a language tag is one."""
    found = observe("", agent_text="", languages=text, now=NOW, locate=lambda _: NOWHERE)
    assert not found.values
    assert not found.unreadable
