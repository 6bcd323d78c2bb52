"""The score: how much likelier what is seen is for this person than for a declared attacker.

A log-likelihood ratio in nats, genuine over a mixture of three attackers that is declared here, not
learned. The person's side backs off from exact values to coarser ones to everybody (hierarchical
Dirichlet smoothing: MacKay and Peto 1995); the idea of the ratio is Freeman et al., NDSS 2016.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from service.signals.login_context.history import History, Login
from service.signals.login_context.observed import COARSER, FINEST, WEEK, Chain, Level
from service.signals.login_context.population import Population

LOWEST: Final = -6.0
HIGHEST: Final = 4.0
"""Each contribution and the whole lie between these."""
BEND: Final = -4.0
"""Where the whole begins to bend towards `LOWEST`: sums beyond it prove less than they say."""
COLD: Final = 3.0
"""Logins below which the history is named short; the smoothing keeps the ratio modest by itself."""


@dataclass(frozen=True, slots=True)
class Attacker:
    """One kind of attacker: what is assumed of it.

    Args:
        weight: Its share of attacks.
        token: How often it holds the person's newest device token.
        country: How often it comes from a country of the person's.
        network: How often from a network (ASN, or /16) of the person's.
        agent: How often with the person's own user agent.
        language: How often with the person's language.
        hour: How often at the person's hours.
    """

    weight: float
    token: float
    country: float
    network: float
    agent: float
    language: float
    hour: float


NAIVE: Final = Attacker(0.4, 0.0005, 0.0, 0.0, 0.0, 0.0, 0.0)
VPN: Final = Attacker(0.3, 0.0005, 0.9, 0.02, 0.0, 0.5, 0.0)
TARGETED: Final = Attacker(0.3, 0.005, 0.9, 0.15, 0.9, 0.9, 0.5)
ATTACKERS: Final = (NAIVE, VPN, TARGETED)
"""The declared mixture: who tries at random, who hides in the person's country, who copies."""

CONCENTRATION: Final = 0.5
"""How many logins the coarser level is worth; what was new before is added to it."""
TOKEN_RATE: Final = 0.9
"""How often a person who was here before holds the token, before it is known of this person."""
TOKEN_PRIOR: Final = 2.0
NEW_DEVICE: Final = 0.25
"""How often a device without a token is one that was never seen."""
ORIGINS: Final = 100
"""Countries that naive attacks come from alike; half of them follow the population instead."""
HOSTS: Final = 40
"""Networks of a country that attackers use alike: mostly hosting; half follow the population."""
OLDER: Final = 0.03
"""How often a person shows an older version than before on the same platform."""
OLDER_ATTACK: Final = 0.35
_HOUR_PRIOR: Final = 4.0
_HOUR_WIDTH: Final = 2.0


def _kernel() -> tuple[float, ...]:
    """Half on the hour of the week and half on the hour of the day, circular."""

    def around(period: int, at: int) -> float:
        distance = min(at % period, period - at % period)
        return math.exp(-0.5 * (distance / _HOUR_WIDTH) ** 2)

    week = [around(WEEK, at) for at in range(WEEK)]
    day = [around(24, at) for at in range(WEEK)]
    return tuple(
        0.5 * one / sum(week) + 0.5 * other / sum(day)
        for one, other in zip(week, day, strict=True)
    )


_KERNEL: Final = _kernel()
Ratios = tuple[float, ...]
"""The ratio against each attacker, in nats."""
NO_RATIOS: Final = (0.0,) * len(ATTACKERS)


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one feature adds, in nats."""

    code: str
    nats: float


@dataclass(frozen=True, slots=True)
class Score:
    """The whole and its parts."""

    llr: float
    contributions: tuple[Contribution, ...]
    enough: bool


def score(history: History | None, login: Login, own: Population, shares: Sequence[float]) -> Score:
    """Return the ratio of a login against its subject's history.

    Args:
        history: None where nothing was learned yet, which gives 0.
        login: What is seen now.
        own: The counts among everybody, for what is absent.
        shares: How common what is seen now is among everybody, by level.
    """
    if history is None or history.logins <= 0:
        return Score(0.0, (Contribution("no_history", 0.0),), enough=False)
    factor = history.fade(login.at)
    found = [_token(history, login, factor)]
    for chain in Chain:
        found += _chain(chain, history, login, factor, own, shares)
    found.append(_hour(history, login, factor))
    contributions, total = _mix(found)
    logins = factor * history.logins
    return Score(_bent(total), contributions, enough=logins >= COLD)


def _bent(total: float) -> float:
    """Keep the whole above `LOWEST` and the order of what lies far below `BEND`."""
    if total >= BEND:
        return min(HIGHEST, total)
    depth = BEND - LOWEST
    return BEND - depth * -math.expm1((total - BEND) / depth)


def _mix(found: Sequence[tuple[str, Ratios]]) -> tuple[tuple[Contribution, ...], float]:
    """Set the person against the mixture; what each feature adds follows the chain rule.

    Each contribution lies between the lowest and the highest of its ratios, as it is a mean of
    them, weighted by how likely each attacker is after the features before it.
    """
    weights = [attacker.weight for attacker in ATTACKERS]
    contributions = []
    total = 0.0
    for code, ratios in found:
        weights = [weight * math.exp(-ratio) for weight, ratio in zip(weights, ratios, strict=True)]
        added = -math.log(sum(weights)) - total
        total += added
        contributions.append(Contribution(code, added))
    return tuple(contributions), total


def _bounded(person: float, attackers: Sequence[float]) -> Ratios:
    return tuple(
        min(HIGHEST, max(LOWEST, math.log(person / attacker))) for attacker in attackers
    )


def _holding(history: History, factor: float) -> float:
    held = factor * history.tokens + TOKEN_PRIOR * TOKEN_RATE
    return min(0.995, held / (factor * history.offered + TOKEN_PRIOR))


def _fresh(history: History, login: Login, factor: float) -> float:
    """A person who usually holds the token and now does not is often at a new device."""
    return 0.0 if login.known_device else NEW_DEVICE * _holding(history, factor)


def _token(history: History, login: Login, factor: float) -> tuple[str, Ratios]:
    rate = _holding(history, factor)
    if login.known_device:
        return "device_known", _bounded(rate, [attacker.token for attacker in ATTACKERS])
    without = [1 - attacker.token for attacker in ATTACKERS]
    # A person who mostly lacks the token does not gain by lacking it.
    found = _bounded(1 - rate, without)
    return "device_unknown", tuple(min(0.0, ratio) for ratio in found)


def _hour(history: History, login: Login, factor: float) -> tuple[str, Ratios]:
    near = sum(
        weight * _KERNEL[(login.hour - hour) % WEEK] for hour, weight in history.hours.items()
    )
    everywhere = 1 / WEEK
    density = factor * near + _HOUR_PRIOR * everywhere
    density /= factor * sum(history.hours.values()) + _HOUR_PRIOR
    attackers = [
        attacker.hour * density + (1 - attacker.hour) * everywhere for attacker in ATTACKERS
    ]
    code = "hour_usual" if density >= everywhere else "hour_unusual"
    return code, _bounded(density, attackers)


@dataclass(frozen=True, slots=True)
class _Seen:
    """One chain of one login beside its history.

    Args:
        levels: From fine to coarse; those that were shown now and before.
        digests: Of what is shown now.
        shares: Among everybody.
        fresh: How likely the person uses something new that anybody might have.
    """

    history: History
    factor: float
    levels: tuple[Level, ...]
    digests: Mapping[Level, bytes]
    shares: Sequence[float]
    fresh: float

    def weight(self, level: Level) -> float:
        """Return how much the history has of this value."""
        digest = self.digests.get(level)
        found = self.history.values[level].get(digest) if digest is not None else None
        return self.factor * found[0] if found else 0.0

    def part(self, level: Level) -> float:
        """Return which part of the history has this value; 0 where the level says nothing."""
        total = self.factor * self.history.totals[level]
        return self.weight(level) / total if total > 0 else 0.0

    def share(self, *levels: Level) -> float:
        """Return the share among everybody over several levels."""
        return math.prod(self.shares[level] for level in levels if level in self.levels)


def _chain(  # noqa: PLR0913 - the parts of one comparison
    chain: Chain, history: History, login: Login, factor: float, own: Population,
    shares: Sequence[float],
) -> list[tuple[str, Ratios]]:  # fmt: skip
    name = chain.name.lower()
    usual = tuple(level for level in _levels(chain, history) if history.totals[level] > 0)
    shown = FINEST[chain] in login.digests
    if not usual:
        return [(f"{name}_learning" if shown else f"{name}_not_offered", NO_RATIOS)]
    fresh = _fresh(history, login, factor) if chain is Chain.AGENT else 0.0
    worst = _ratios(chain, _Seen(history, factor, usual, {}, own.rarest(), fresh))
    if not shown:
        return [(f"{name}_withheld", tuple(min(0.0, ratio) for ratio in worst))]
    levels = tuple(level for level in usual if level in login.digests)
    seen = _Seen(history, factor, levels, login.digests, shares, fresh)
    ratios = _ratios(chain, seen)
    if not seen.weight(FINEST[chain]):
        # Nothing that is new scores worse than what is withheld.
        ratios = tuple(max(pair) for pair in zip(ratios, worst, strict=True))
    found = [(f"{name}_{_nearest(seen, levels)}", ratios)]
    if chain is Chain.AGENT:
        found += _version(seen, login)
    return found


def _levels(chain: Chain, history: History) -> tuple[Level, ...]:
    if chain is not Chain.NETWORK:
        return (FINEST[chain], *COARSER[chain])
    # A wide prefix stands for the network where no database names it.
    between = Level.ASN if history.totals[Level.ASN] > 0 else Level.WIDE
    return (Level.PREFIX, between, Level.COUNTRY)


def _nearest(seen: _Seen, levels: Sequence[Level]) -> str:
    near = next((level for level in levels if seen.weight(level)), None)
    if near is None:
        return "new"
    return "known" if near is levels[0] else f"new_in_known_{near.name.lower()}"


def _ratios(chain: Chain, seen: _Seen) -> Ratios:
    person = 1.0
    for level in reversed(seen.levels):
        total = seen.factor * seen.history.totals[level]
        worth = CONCENTRATION + seen.factor * seen.history.novel[level]
        person = seen.weight(level) + worth * person * seen.shares[level]
        person /= total + worth
    person = (1 - seen.fresh) * person + seen.fresh * seen.share(*seen.levels)
    return _bounded(person, _ATTACKING[chain](seen))


def _attacking_network(seen: _Seen) -> list[float]:
    between = Level.ASN if Level.ASN in seen.levels else Level.WIDE
    anywhere = 0.5 * seen.share(Level.COUNTRY) + 0.5 / ORIGINS
    hosted = 0.5 * seen.share(between) + 0.5 / HOSTS
    if Level.COUNTRY not in seen.levels:
        anywhere, hosted = 1.0, 0.5 * seen.share(between) + 0.5 / (ORIGINS * HOSTS)
    fine = seen.share(Level.PREFIX)
    found = []
    for attacker in ATTACKERS:
        country = anywhere
        if Level.COUNTRY in seen.levels:
            country = (1 - attacker.country) * anywhere + attacker.country * seen.part(
                Level.COUNTRY
            )
        network = (1 - attacker.network) * country * hosted
        found.append((network + attacker.network * seen.part(between)) * fine)
    return found


def _attacking_agent(seen: _Seen) -> list[float]:
    common = seen.share(*seen.levels)
    part = seen.part(Level.DEVICE)
    return [
        attacker.agent * part + (1 - attacker.agent) * common for attacker in ATTACKERS
    ]


def _attacking_language(seen: _Seen) -> list[float]:
    common = seen.share(*seen.levels)
    part = seen.part(Level.LOCALE)
    return [
        attacker.language * part + (1 - attacker.language) * common for attacker in ATTACKERS
    ]


_ATTACKING: Final[Mapping[Chain, Callable[[_Seen], list[float]]]] = {
    Chain.NETWORK: _attacking_network,
    Chain.AGENT: _attacking_agent,
    Chain.LANGUAGE: _attacking_language,
}


def _version(seen: _Seen, login: Login) -> list[tuple[str, Ratios]]:
    known = seen.history.values[Level.PLATFORM].get(login.digests.get(Level.PLATFORM, b""))
    if known is None or not known[1] or not login.version:
        return []
    older = login.version < known[1]
    person = OLDER if older else 1 - OLDER
    common = OLDER_ATTACK if older else 1 - OLDER_ATTACK
    attackers = [
        attacker.agent * person + (1 - attacker.agent) * common for attacker in ATTACKERS
    ]
    return [("version_older" if older else "version_grown", _bounded(person, attackers))]
