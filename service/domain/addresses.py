"""Client addresses in normal form, so that other spellings of an address count as the same."""

import re
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

UNREADABLE: Final = "unreadable"
"""The bucket of all malformed addresses, shared so that garbage gains no extra attempts."""
_LONGEST: Final = 64
_SITE: Final = 64
"""Prefix length that identifies an IPv6 client: a customer holds at least a /64 (RFC 6177)."""
_BRACKETED: Final = re.compile(r"\[([^\[\]]*)\](?::\d{1,5})?")
_WITH_PORT: Final = re.compile(r"([^:]+):\d{1,5}")
_NUMBERS: Final = re.compile(r"(?:0x[0-9a-f]{1,8}|\d{1,12})(?:\.(?:0x[0-9a-f]{1,8}|\d{1,12})){3}")


def parse(text: str) -> IPv4Address | IPv6Address | None:
    """Parse an IP address in any common spelling; return None if it is malformed.

    A port, brackets, quotes, a zone, capitals, octal and hexadecimal parts, and IPv4 written as
    IPv6 are spellings of the same address.
    """
    bare = text.strip().strip('"').lower()
    if len(bare) > _LONGEST or not bare.isascii():
        return None
    found = _BRACKETED.fullmatch(bare) or _WITH_PORT.fullmatch(bare)
    if found is not None:
        bare = found[1]
    number, mark, zone = bare.partition("%")
    address = None if mark and not zone else _read(number)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _read(bare: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(bare)
    except ValueError:
        pass
    if not _NUMBERS.fullmatch(bare):
        return None
    try:
        return IPv4Address(socket.inet_aton(bare))
    except OSError:
        return None


def bucket(text: str) -> str:
    """Return the rate-limit bucket of a client: the IPv4 address, or the /64 of IPv6."""
    address = parse(text)
    if address is None:
        return UNREADABLE
    if isinstance(address, IPv4Address):
        return str(address)
    site = int(address) >> (128 - _SITE) << (128 - _SITE)
    return f"{IPv6Address(site)}/{_SITE}"
