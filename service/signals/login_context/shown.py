"""What a list of sessions shows of where a login came from: kind of device and network, coarse."""

from collections.abc import Callable
from ipaddress import ip_network
from typing import Final, TypedDict

from service.domain import addresses
from service.risk.model import ClientContext
from service.signals.login_context import user_agent
from service.signals.login_context.features import Origin

_PREFIX: Final = {4: 24, 6: 48}
"""Bits that are kept of an address: they name a network, and no connection in it."""


class DeviceKind(TypedDict):
    """A kind of device."""

    agent: str
    system: str


class NetworkOrigin(TypedDict):
    """A network, without the address in it; the country is None if unknown."""

    prefix: str
    country: str | None


class LoginOrigin(TypedDict):
    """Device and network of a login, each None if unknown."""

    device: DeviceKind | None
    network: NetworkOrigin | None


def origin(said: ClientContext, locate: Callable[[bytes], Origin]) -> LoginOrigin | None:
    """Return device and network of a login, each None where nothing is known. Never raises.

    Args:
        said: What the client says; it counts only from one that may assert it.
        locate: Tells where a packed address is.

    Returns:
        None where there is neither.
    """
    if not said.asserted:
        return None
    device = _device(said.user_agent)
    network = _network(said.ip, locate)
    return {"device": device, "network": network} if device or network else None


def _device(agent_text: str) -> DeviceKind | None:
    seen = user_agent.parse(agent_text)
    return {"agent": seen.family, "system": seen.system} if seen else None


def _network(ip: str, locate: Callable[[bytes], Origin]) -> NetworkOrigin | None:
    address = addresses.parse(ip)
    if address is None:
        return None
    # A scope names an interface of one machine, and is no part of a network.
    prefix = ip_network((address.packed, _PREFIX[address.version]), strict=False)
    return {"prefix": str(prefix), "country": locate(address.packed).country or None}
