"""Databases and lists of the operator: read, merged, replaced while the service runs."""

import re
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest

from service.domain.errors import SetupError
from service.signals.login_context import blocklist
from service.signals.login_context.features import NOWHERE, Origin, packed
from service.signals.login_context.geoip import Places, origin
from service.signals.login_context.reloading import Watched
from tests import mmdb

NOW = datetime(2026, 11, 24, tzinfo=UTC)
CITY = {"country": {"iso_code": "DE"}, "location": {"latitude": 52.5, "longitude": 13.4}}


def test_a_city_and_an_asn_database_are_put_together(tmp_path):
    """What one does not tell, the other does."""
    city = mmdb.write(tmp_path / "city.mmdb", {"192.0.2.0/24": CITY})
    asn = mmdb.write(tmp_path / "asn.mmdb", {"192.0.0.0/16": {"autonomous_system_number": 64500}})
    places = Places((city, asn))
    assert places.locate(packed("192.0.2.9"), NOW) == Origin(64500, "DE", (52.5, 13.4))
    assert places.locate(packed("192.0.9.9"), NOW) == Origin(64500)
    assert places.locate(packed("198.51.100.1"), NOW) == NOWHERE
    # This database has no IPv6 at all.
    assert places.locate(packed("2001:db8::1"), NOW) == NOWHERE
    assert Places().locate(packed("192.0.2.9"), NOW) == NOWHERE


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (None, NOWHERE),
        ([], NOWHERE),
        ({"country": "DE", "location": 5}, NOWHERE),
        ({"registered_country": {"iso_code": "FR"}}, Origin(country="FR")),
        ({"traits": {"autonomous_system_number": 7}}, Origin(7)),
        ({"autonomous_system_number": "7"}, NOWHERE),
        ({"location": {"latitude": 91.0, "longitude": 0.0}}, NOWHERE),
        ({"location": {"latitude": 1.0}}, NOWHERE),
    ],
)
def test_a_record_of_any_shape_is_read(record, expected):
    """What is not where it belongs is unknown."""
    assert origin(record) == expected


@pytest.mark.parametrize("content", [None, b"", b"not a database"])
def test_a_file_that_is_no_database_stops_the_start(tmp_path, content):
    """The error names the file."""
    path = tmp_path / "geo.mmdb"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SetupError) as refused:
        Places((path,))
    assert re.search(r"geo\.mmdb", refused.value.detail)


def test_a_damaged_database_places_nobody(tmp_path):
    """A lookup that fails is nowhere, so that no login depends on it."""
    path = mmdb.write(tmp_path / "geo.mmdb", {"192.0.2.0/24": CITY})
    whole = path.read_bytes()
    at = whole.index(b"iso_code") - 2
    path.write_bytes(whole[:at] + b"\x00\xff" + whole[at + 2 :])
    assert Places((path,)).locate(ip_address("192.0.2.1").packed, NOW) == NOWHERE


def test_a_list_is_read_anew_when_it_changes(tmp_path):
    """A replacement counts within half a minute; one that is faulty or gone changes nothing."""
    path = tmp_path / "bad.txt"
    path.write_text("192.0.2.0/24\n", "utf-8")
    watched = Watched(path, blocklist.read)

    def seconds(count):
        return watched.get(NOW + timedelta(seconds=count))

    first = seconds(0)
    path.write_text("198.51.100.0/24\n203.0.113.0/24\n", "utf-8")
    assert seconds(10) is first
    second = seconds(31)
    assert second is not first
    path.write_text("nonsense, and more of it\n", "utf-8")
    assert seconds(62) is second
    path.unlink()
    assert seconds(93) is second
    path.write_text("192.0.2.0/24\n", "utf-8")
    assert seconds(124) == first
