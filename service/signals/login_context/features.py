"""The features of a login, level by level: from the exact value to ever coarser ones."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Final

from service.domain import addresses
from service.signals.login_context import user_agent

WEEK: Final = 168
_TAG: Final = re.compile(r"\s*([A-Za-z]{2,3})(?:[-_]([A-Za-z0-9]{2,8}))?(?=$|[,;\s-])")


class Level(IntEnum):
    """The levels of the three chains; the number is part of the stored format."""

    PREFIX = 0
    WIDE = 1
    ASN = 2
    COUNTRY = 3
    DEVICE = 4
    PLATFORM = 5
    SYSTEM = 6
    LOCALE = 7
    LANGUAGE = 8


class Chain(IntEnum):
    """The compared features, each from fine to coarse."""

    NETWORK = 0
    AGENT = 1
    LANGUAGE = 2


FINEST: Final = {
    Chain.NETWORK: Level.PREFIX,
    Chain.AGENT: Level.DEVICE,
    Chain.LANGUAGE: Level.LOCALE,
}
COARSER: Final = {
    Chain.NETWORK: (Level.WIDE, Level.ASN, Level.COUNTRY),
    Chain.AGENT: (Level.PLATFORM, Level.SYSTEM),
    Chain.LANGUAGE: (Level.LANGUAGE,),
}


@dataclass(frozen=True, slots=True)
class Origin:
    """The location of an address in the operator's databases; empty if unknown.

    Args:
        asn: Autonomous system number; 0 if unknown.
        country: ISO 3166 code.
        place: Latitude and longitude in degrees.
    """

    asn: int = 0
    country: str = ""
    place: tuple[float, float] | None = field(default=None, repr=False)


NOWHERE: Final = Origin()


@dataclass(kw_only=True, frozen=True, slots=True)
class Observed:
    """The features of a login in the clear, kept during the request and never stored.

    Args:
        values: The value of each known level.
        version: The major version of the user agent; 0 if unknown.
        hour: Hour of the week in UTC; 0 is Monday 0:00.
        address: The packed address, for lists; empty if unknown.
        unreadable: Whether a malformed address was given.
    """

    values: dict[Level, bytes] = field(repr=False)
    version: int
    hour: int
    place: tuple[float, float] | None = field(default=None, repr=False)
    address: bytes = field(default=b"", repr=False)
    unreadable: bool = False


def hour_of_week(now: datetime) -> int:
    """Return the hour of the week, 0..167."""
    return now.weekday() * 24 + now.hour


def packed(text: str) -> bytes:
    """Return the packed address, 4 or 16 bytes; empty for a malformed one."""
    found = addresses.parse(text)
    return found.packed if found is not None else b""


def observe(
    address_text: str,
    *,
    agent_text: str,
    languages: str,
    now: datetime,
    locate: Callable[[bytes], Origin],
) -> Observed:
    """Return the features of a login without absent or malformed ones. Never raises."""
    address = packed(address_text)
    values: dict[Level, bytes] = {}
    place = None
    if address:
        origin = locate(address)
        place = origin.place
        _network(values, address, origin)
    seen = user_agent.parse(agent_text)
    if seen is not None:
        _agent(values, seen)
    tag = _TAG.match(languages[:64])
    if tag is not None:
        values[Level.LANGUAGE] = tag[1].lower().encode()
        values[Level.LOCALE] = f"{tag[1]}-{tag[2] or ''}".lower().encode()
    return Observed(
        values=values,
        version=seen.version if seen else 0,
        hour=hour_of_week(now),
        place=place,
        address=address,
        unreadable=bool(address_text.strip()) and not address,
    )


def _network(values: dict[Level, bytes], address: bytes, origin: Origin) -> None:
    fine, wide = (3, 2) if len(address) == 4 else (6, 4)  # noqa: PLR2004 - bytes of IPv4
    values[Level.PREFIX] = address[:fine]
    values[Level.WIDE] = address[:wide]
    if origin.asn:
        values[Level.ASN] = str(origin.asn).encode()
    if origin.country:
        values[Level.COUNTRY] = origin.country.encode()


def _agent(values: dict[Level, bytes], seen: user_agent.Agent) -> None:
    platform = f"{seen.system}|{seen.family}"
    values[Level.SYSTEM] = seen.system.encode()
    values[Level.PLATFORM] = platform.encode()
    values[Level.DEVICE] = f"{platform}|{seen.model}".encode()
