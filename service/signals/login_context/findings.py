"""What speaks against a login by itself: lists, impossible travel, failures before it."""

import math
from dataclasses import dataclass
from typing import Final

from service.signals.login_context.features import Level
from service.signals.login_context.history import History, PastLogin
from service.signals.login_context.model import LOWEST

FASTEST: Final = 1000.0
"""Kilometers an hour; an airliner with its waiting times stays below."""
NEAR: Final = 500.0
"""Kilometers within which databases err, so that no travel is seen."""
HARD: Final = -4.0
"""Nats of a finding that no good sign may offset."""
_EARTH: Final = 6371.0
_SHORTEST: Final = 60
_TYPO: Final = 0.15
"""How often an honest person fails once more: failures before a login are geometric."""
_GUESS: Final = 5 / 6
"""The same for an attacker who guesses; half of the attackers have the password already."""
_GUESSES: Final = 20
"""More failures say no more."""
_NETWORK_USUAL: Final = 10
"""Failures an hour that a shared network has by itself."""
_NETWORK_MOST: Final = 3.0
_SURGE_USUAL: Final = 4.0
_SURGE_MOST: Final = 1.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: nats at most 0; `hard` is offset by nothing."""

    code: str
    nats: float
    hard: bool = False


@dataclass(frozen=True, slots=True)
class Failures:
    """How many failures came before, in the last hour.

    Args:
        subject: Of this subject.
        network: From this network, of any subject.
        surge: Failures of the last minutes among everybody, over what is usual.
    """

    subject: int = 0
    network: int = 0
    surge: float = 0.0


def travel(history: History, login: PastLogin) -> Finding | None:
    """Return the finding that nobody gets here so fast from the last success.

    A network that the person was seen in before is no travel: a VPN goes on and off.
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
    """Return what failures before this login say; they never speak for anybody.

    The caller counts for a known device only what failed on known devices, so that strangers
    cannot raise what its holder is asked; networks and surges concern strangers alone.
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
