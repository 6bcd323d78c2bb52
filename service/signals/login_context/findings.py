"""Findings against a login: lists, impossible travel, preceding failures."""

import math
from dataclasses import dataclass
from typing import Final

from service.signals.login_context.features import Level
from service.signals.login_context.history import History, PastLogin
from service.signals.login_context.model import LOWEST

FASTEST: Final = 1000.0
"""Kilometers per hour; an airliner including waiting times is slower."""
NEAR: Final = 500.0
"""Kilometers of error in location databases, within which no travel is detected."""
HARD: Final = -4.0
"""Nats of a finding that no positive evidence may offset."""
_EARTH: Final = 6371.0
_SHORTEST: Final = 60
_TYPO: Final = 0.15
"""Probability that an honest person fails once more: failures are geometric."""
_GUESS: Final = 5 / 6
"""The same for an attacker who guesses; half of the attackers have the password already."""
_GUESSES: Final = 20
"""Number of failures beyond which more are no further evidence."""
_NETWORK_USUAL: Final = 10
"""Failures per hour that are usual for a shared network."""
_NETWORK_MOST: Final = 3.0
_SURGE_USUAL: Final = 4.0
_SURGE_MOST: Final = 1.0


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding with at most 0 nats; nothing offsets a `hard` one."""

    code: str
    nats: float
    hard: bool = False


@dataclass(frozen=True, slots=True)
class Failures:
    """The numbers of failures in the last hour.

    Args:
        subject: Failures of this subject.
        network: Failures from this network, of any subject.
        surge: Failures of the last minutes among all subjects, relative to the usual number.
    """

    subject: int = 0
    network: int = 0
    surge: float = 0.0


def travel(history: History, login: PastLogin) -> Finding | None:
    """Return the finding of an impossible speed since the last success, or None.

    A network used by the person before is not travel: a VPN is switched on and off.
    """
    if history.last_place is None or login.place is None or _familiar(history, login):
        return None
    before = (history.last_place[0] / 10, history.last_place[1] / 10)
    distance = kilometers(before, login.place)
    hours = max(_SHORTEST, login.at - history.last_at) / 3600
    if distance <= NEAR or (distance - NEAR) / hours <= FASTEST:
        return None
    return Finding("impossible_travel", HARD, hard=True)


def _familiar(history: History, login: PastLogin) -> bool:
    return any(
        login.digests.get(level) in history.values[level]
        for level in (Level.PREFIX, Level.ASN)
        if level in login.digests
    )


def kilometers(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Return the great-circle distance of two places in degrees (haversine)."""
    (a, b), (c, d) = (map(math.radians, place) for place in (one, other))
    half = math.sin((c - a) / 2) ** 2 + math.cos(a) * math.cos(c) * math.sin((d - b) / 2) ** 2
    return 2 * _EARTH * math.asin(min(1.0, math.sqrt(half)))


def failing(failures: Failures, *, known_device: bool) -> list[Finding]:
    """Return the findings of preceding failures, which are never positive evidence.

    For a known device the caller counts only failures on known devices, so that strangers cannot
    raise the requirements for its holder; networks and surges count for strangers only.
    """
    found = [Finding("failures_of_subject", _guessing(failures.subject))]
    if not known_device:
        over = math.log1p(failures.network / _NETWORK_USUAL) if failures.network > 1 else 0.0
        found.append(Finding("failures_of_network", -min(_NETWORK_MOST, over)))
        surge = math.log(max(1.0, failures.surge / _SURGE_USUAL))
        found.append(Finding("failures_everywhere", -min(_SURGE_MOST, 0.5 * surge)))
    return [finding for finding in found if finding.nats < 0]


def _guessing(failures: int) -> float:
    count = min(failures, _GUESSES)
    honest = (1 - _TYPO) * _TYPO**count
    attacker = 0.5 * (count == 0) + 0.5 * (1 - _GUESS) * _GUESS**count
    return max(LOWEST, min(0.0, math.log(honest / attacker)))
