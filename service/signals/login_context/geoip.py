"""Locate addresses with databases in MaxMind's format that the operator supplies."""

from collections.abc import Sequence
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path

import maxminddb

from service.domain.errors import SetupError
from service.signals.login_context.features import NOWHERE, Origin
from service.signals.login_context.reloading import Watched


class Places:
    """The databases; later ones supplement earlier ones (one for cities, one for ASNs)."""

    def __init__(self, paths: Sequence[Path] = ()) -> None:
        self._readers = [Watched(path, _open) for path in paths]

    def locate(self, address: bytes, now: datetime) -> Origin:
        """Return the location of a packed address; `NOWHERE` if unknown. Never raises."""
        if not self._readers:
            return NOWHERE
        found = NOWHERE
        for reader in self._readers:
            other = origin(_lookup(reader.get(now), address))
            found = Origin(
                found.asn or other.asn, found.country or other.country, found.place or other.place
            )
        return found


def origin(record: object) -> Origin:
    """Return the location in a record of a city, country, ASN or enterprise database.

    Source: MaxMind DB file format 2.0 and the documented fields of GeoIP2 and GeoLite2.
    """
    country = _member(record, "country", "iso_code") or _member(
        record, "registered_country", "iso_code"
    )
    asn = _member(record, "autonomous_system_number") or _member(
        record, "traits", "autonomous_system_number"
    )
    latitude, longitude = (_member(record, "location", name) for name in ("latitude", "longitude"))
    place = None
    if isinstance(latitude, int | float) and isinstance(longitude, int | float):
        place = float(latitude), float(longitude)
    if place and not (abs(place[0]) <= 90 and abs(place[1]) <= 180):  # noqa: PLR2004 - degrees
        place = None
    return Origin(
        asn if isinstance(asn, int) and asn > 0 else 0,
        country[:2] if isinstance(country, str) else "",
        place,
    )


def _member(record: object, *path: str) -> object:
    for name in path:
        record = record.get(name) if isinstance(record, dict) else None
    return record


def _lookup(reader: maxminddb.Reader, address: bytes) -> object:
    try:
        return reader.get(ip_address(address))
    except (ValueError, RuntimeError, TypeError, OSError):
        # IPv6 in an IPv4 database, or a damaged page: the location is unknown.
        return None


def _open(path: Path) -> maxminddb.Reader:
    try:
        return maxminddb.open_database(path)
    except (OSError, ValueError, RuntimeError) as error:
        detail = f"{path}: no database in MaxMind's format ({type(error).__name__})"
        raise SetupError("bad_geoip_db", detail) from None
