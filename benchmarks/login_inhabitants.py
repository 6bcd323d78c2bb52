"""Networks, countries, devices and people of which a world of logins is made."""

from dataclasses import dataclass, field
from datetime import datetime
from random import Random


@dataclass(frozen=True, slots=True)
class Network:
    """One autonomous system: its prefixes are consecutive /24."""

    asn: int
    country: int
    first: int
    size: int
    place: tuple[float, float]


@dataclass(slots=True)
class Country:
    """Where people live."""

    number: int
    share: float
    offset: int
    language: str
    fixed: list[Network] = field(default_factory=list)
    mobile: list[Network] = field(default_factory=list)
    hosting: list[Network] = field(default_factory=list)
    exits: list[Network] = field(default_factory=list)


@dataclass(slots=True)
class Device:
    """What a person signs in with."""

    system: str
    family: str
    model: str
    app: bool
    lag: float
    since: float
    tokened: bool = False

    def header(self, day: float) -> str:
        """Return the User-Agent of a day: versions grow."""
        age = max(0.0, day - self.lag)
        version = int(112 + age / 28)
        if self.app:
            inside = f"Android 14; {self.model}" if self.system == "android" else "iPhone; iOS 17"
            return f"Bank/{int(30 + age / 42)}.1 ({inside})"
        return header_of(self.system, self.family, self.model, version)


@dataclass(slots=True)
class Person:
    """One subject."""

    number: int
    country: Country
    language: str
    home: tuple[Network, int]
    mobile: tuple[Network, int]
    work: tuple[Network, int] | None
    exits: list[tuple[Network, int]]
    travels: bool
    clears: float
    monthly: float
    peaks: list[float]
    rate: float
    devices: list[Device]


@dataclass(frozen=True, slots=True)
class Event:
    """One login, honest or not.

    Args:
        kind: ``honest`` or the strength of the attacker.
    """

    at: datetime
    person: int
    kind: str
    ip: str
    header: str
    language: str
    token: bool


class Luck(Random):
    """A seeded generator."""

    def chance(self, share: float) -> bool:
        """Return whether something of that probability happens."""
        return self.random() < share


def header_of(system: str, family: str, model: str, version: int) -> str:
    """Return the User-Agent of a browser on a system."""
    inside = {
        "windows": "Windows NT 10.0; Win64; x64",
        "macos": "Macintosh; Intel Mac OS X 10_15_7",
        "linux": "X11; Linux x86_64",
        "ios": "iPhone; CPU iPhone OS 17_0 like Mac OS X",
        "android": f"Linux; Android 14; {model}",
    }[system]
    mozilla = f"Mozilla/5.0 ({inside})"
    if family == "firefox":
        return f"{mozilla} Gecko/20100101 Firefox/{version}.0"
    if family == "safari":
        return f"{mozilla} AppleWebKit/605.1.15 Version/{version - 95}.0 Safari/605.1.15"
    webkit = f"{mozilla} AppleWebKit/537.36 (KHTML, like Gecko)"
    extra = {"edge": f" Edg/{version}.0", "samsung": f" SamsungBrowser/{version - 90}.0"}
    before = "" if family != "samsung" else extra["samsung"]
    after = extra["edge"] if family == "edge" else ""
    return f"{webkit}{before} Chrome/{version}.0.0.0 Safari/537.36{after}"
