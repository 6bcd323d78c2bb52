"""The score: how much likelier a login is for this person than for an assumed attacker.

A log-likelihood ratio in nats, genuine over a mixture of three attackers that is declared here,
not learned. The person's side backs off from exact values to coarser ones to the population
(hierarchical Dirichlet smoothing: MacKay and Peto 1995); the ratio follows Freeman et al., NDSS
2016.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from service.signals.login_context.features import COARSER, FINEST, WEEK, Chain, Level
from service.signals.login_context.history import History, PastLogin
from service.signals.login_context.population import ContextCounts

LOWEST: Final = -6.0
HIGHEST: Final = 4.0
"""Bounds of each contribution and of the total."""
BEND: Final = -4.0
"""The total from which it is compressed towards `LOWEST`: sums beyond prove less than they say."""
COLD: Final = 3.0
"""Number of logins below which the history counts as short; smoothing keeps its ratio small."""


@dataclass(kw_only=True, frozen=True, slots=True)
class Attacker:
    """The assumptions about a kind of attacker.

    Args:
        weight: Its share of attacks.
        token: Probability that it holds the person's newest device token.
        country: Probability of a country of the person's.
        network: Probability of a network (ASN, or /16) of the person's.
        agent: Probability of the person's own user agent.
        language: Probability of the person's language.
        hour: Probability of the person's hours.
    """

    weight: float
    token: float
    country: float
    network: float
    agent: float
    language: float
    hour: float


NAIVE: Final = Attacker(
    weight=0.4, token=0.0005, country=0.0, network=0.0, agent=0.0, language=0.0, hour=0.0
)
VPN: Final = Attacker(
    weight=0.3, token=0.0005, country=0.9, network=0.02, agent=0.0, language=0.5, hour=0.0
)
TARGETED: Final = Attacker(
    weight=0.3, token=0.005, country=0.9, network=0.15, agent=0.9, language=0.9, hour=0.5
)
ATTACKERS: Final = (NAIVE, VPN, TARGETED)
"""The declared mixture: random attackers, those in the person's country, and those who imitate."""
_TOKENS: Final = tuple(attacker.token for attacker in ATTACKERS)
_COUNTRIES: Final = tuple(attacker.country for attacker in ATTACKERS)
_NETWORKS: Final = tuple(attacker.network for attacker in ATTACKERS)
_AGENTS: Final = tuple(attacker.agent for attacker in ATTACKERS)
_LANGUAGES: Final = tuple(attacker.language for attacker in ATTACKERS)
_HOURS: Final = tuple(attacker.hour for attacker in ATTACKERS)
_FINEST: Final = frozenset(FINEST.values())
_BY_DATABASE: Final = (Level.PREFIX, Level.ASN, Level.COUNTRY)
_BY_PREFIX: Final = (Level.PREFIX, Level.WIDE, Level.COUNTRY)

CONCENTRATION: Final = 0.5
"""Weight of the coarser level in logins; novelty in the history is added to it."""
TOKEN_RATE: Final = 0.9
"""Prior probability that a returning person holds the token."""
TOKEN_PRIOR: Final = 2.0
NEW_DEVICE: Final = 0.25
"""Share of devices without a token that are new."""
ORIGINS: Final = 100
"""Number of countries that naive attacks come from evenly; half follow the population."""
HOSTS: Final = 40
"""Number of networks per country that attackers use evenly, mostly hosting; half follow the
population."""
OLDER: Final = 0.03
"""Probability that a person shows an older version than before on the same platform."""
OLDER_ATTACK: Final = 0.35
_HOUR_PRIOR: Final = 4.0
_HOUR_WIDTH: Final = 2.0


def _kernel() -> tuple[float, ...]:
    """Return the kernel: half on the hour of the week, half on the hour of the day, circular."""

    def around(period: int, at: int) -> float:
        distance = min(at % period, period - at % period)
        return math.exp(-0.5 * (distance / _HOUR_WIDTH) ** 2)

    week = [around(WEEK, at) for at in range(WEEK)]
    day = [around(24, at) for at in range(WEEK)]
    return tuple(
        0.5 * one / sum(week) + 0.5 * other / sum(day) for one, other in zip(week, day, strict=True)
    )


_KERNEL: Final = _kernel()
Ratios = tuple[float, ...]
"""The ratio against each attacker, in nats."""
NO_RATIOS: Final = (0.0,) * len(ATTACKERS)


@dataclass(frozen=True, slots=True)
class Contribution:
    """The contribution of one feature, in nats."""

    code: str
    nats: float


@dataclass(frozen=True, slots=True)
class ContextScore:
    """The contributions and their sum.

    Args:
        enough: Whether the history has more than a few logins.
    """

    total: float
    contributions: tuple[Contribution, ...]
    enough: bool

    @property
    def llr(self) -> float:
        """Return the ratio within its bounds."""
        return soft_clip(self.total)


def score(
    history: History | None, login: PastLogin, crowd: ContextCounts, shares: Sequence[float]
) -> ContextScore:
    """Return the ratio of a login against its subject's history.

    Args:
        history: The history; None without any, which gives 0.
        login: The current login.
        crowd: The population counts, for absent values.
        shares: The population share of the current values, by level.
    """
    if history is None or history.logins <= 0:
        return ContextScore(0.0, (Contribution("no_history", 0.0),), enough=False)
    factor = history.fade(login.at)
    found = [_token(history, login, factor)]
    case = _Case(history=history, login=login, factor=factor, crowd=crowd, shares=shares)
    for chain in Chain:
        found += _chain(chain, case)
    found.append(_hour(history, login, factor))
    contributions, total = _mix(found)
    logins = factor * history.logins
    return ContextScore(total, contributions, enough=logins >= COLD)


def soft_clip(total: float) -> float:
    """Keep the total above `LOWEST`, preserving the order of values below `BEND`."""
    if total >= BEND:
        return min(HIGHEST, total)
    depth = BEND - LOWEST
    return BEND - depth * -math.expm1((total - BEND) / depth)


def _mix(found: Sequence[tuple[str, Ratios]]) -> tuple[tuple[Contribution, ...], float]:
    """Combine the ratios against the mixture; contributions follow the chain rule.

    Each contribution is between the lowest and the highest of its ratios, as it is their mean
    weighted by how likely each attacker is after the features before it.
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
    return tuple(min(HIGHEST, max(LOWEST, math.log(person / attacker))) for attacker in attackers)


def _holding(history: History, factor: float) -> float:
    held = factor * history.tokens + TOKEN_PRIOR * TOKEN_RATE
    return min(0.995, held / (factor * history.offered + TOKEN_PRIOR))


def _fresh(history: History, login: PastLogin, factor: float) -> float:
    """Return the chance of a new device: high if a usual token holder has none now."""
    return 0.0 if login.known_device else NEW_DEVICE * _holding(history, factor)


def _token(history: History, login: PastLogin, factor: float) -> tuple[str, Ratios]:
    rate = _holding(history, factor)
    if login.known_device:
        return "device_known", _bounded(rate, _TOKENS)
    # A person who usually lacks the token gains nothing by lacking it.
    found = _bounded(1 - rate, [1 - token for token in _TOKENS])
    return "device_unknown", tuple(min(0.0, ratio) for ratio in found)


def _hour(history: History, login: PastLogin, factor: float) -> tuple[str, Ratios]:
    near = sum(
        weight * _KERNEL[(login.hour - hour) % WEEK] for hour, weight in history.hours.items()
    )
    everywhere = 1 / WEEK
    density = factor * near + _HOUR_PRIOR * everywhere
    density /= factor * sum(history.hours.values()) + _HOUR_PRIOR
    attackers = [own * density + (1 - own) * everywhere for own in _HOURS]
    code = "hour_usual" if density >= everywhere else "hour_unusual"
    return code, _bounded(density, attackers)


@dataclass(frozen=True, slots=True)
class _Row:
    """One level of a login beside its history, in decayed logins.

    Args:
        weight: Weight of the current value.
        total: Weight of all values.
        worth: Weight of the next coarser level.
        share: Population share of the value within its coarser one.
    """

    weight: float
    total: float
    worth: float
    share: float

    @property
    def part(self) -> float:
        """Return the share of this value in the history."""
        return self.weight / self.total


Rows = Mapping[Level, _Row]
"""Rows from fine to coarse."""


@dataclass(kw_only=True, frozen=True, slots=True)
class _Case:
    """The inputs of all comparisons of a login."""

    history: History
    login: PastLogin
    factor: float
    crowd: ContextCounts
    shares: Sequence[float]

    def rows(self, levels: Sequence[Level]) -> Rows:
        """Return the rows of the levels that have a history and a current value."""
        digests = self.login.digests
        return {
            level: self._row(level, digests[level], self.shares)
            for level in levels
            if level in digests
        }

    def unseen(self, levels: Sequence[Level]) -> Rows:
        """Return the rows of a value never seen in the population."""
        shares = self.crowd.rarest()
        return {level: self._row(level, b"", shares) for level in levels}

    def _row(self, level: Level, digest: bytes, shares: Sequence[float]) -> _Row:
        history = self.history
        factor = self.factor
        found = history.values[level].get(digest)
        return _Row(
            factor * found[0] if found else 0.0,
            factor * history.totals[level],
            CONCENTRATION + factor * history.novel[level],
            shares[level],
        )


def _chain(chain: Chain, case: _Case) -> list[tuple[str, Ratios]]:
    name = chain.name.lower()
    totals = case.history.totals
    usual = tuple(level for level in _levels(chain, totals) if totals[level] > 0)
    shown = FINEST[chain] in case.login.digests
    if not usual:
        return [(f"{name}_learning" if shown else f"{name}_not_offered", NO_RATIOS)]
    if not shown:
        worst = _ratios(chain, case, case.unseen(usual))
        return [(f"{name}_withheld", tuple(min(0.0, ratio) for ratio in worst))]
    rows = case.rows(usual)
    found = [(f"{name}_{_nearest(rows)}", _ratios(chain, case, rows))]
    if chain is Chain.AGENT:
        found += _version(case)
    if rows[FINEST[chain]].weight:
        return found
    return _no_worse(found, _ratios(chain, case, case.unseen(usual)))


def _no_worse(found: Sequence[tuple[str, Ratios]], worst: Ratios) -> list[tuple[str, Ratios]]:
    """Raise the ratios of new values to at least those of a withheld value."""
    kept = []
    floor = worst
    for code, ratios in reversed(found[1:]):
        kept.append((code, tuple(max(0.0, ratio) for ratio in ratios)))
    code, first = found[0]
    for _, ratios in found[1:]:
        first = tuple(one + min(0.0, other) for one, other in zip(first, ratios, strict=True))
    return [(code, tuple(max(pair) for pair in zip(first, floor, strict=True))), *kept]


def _levels(chain: Chain, totals: Sequence[float]) -> tuple[Level, ...]:
    if chain is not Chain.NETWORK:
        return (FINEST[chain], *COARSER[chain])
    # A wide prefix stands for the network if no database names it.
    return _BY_DATABASE if totals[Level.ASN] > 0 else _BY_PREFIX


def _nearest(rows: Rows) -> str:
    near = next((level for level, row in rows.items() if row.weight), None)
    if near is None:
        return "new"
    return "known" if near in _FINEST else f"new_in_known_{near.name.lower()}"


def _ratios(chain: Chain, case: _Case, rows: Rows) -> Ratios:
    person = common = 1.0
    for row in reversed(tuple(rows.values())):
        person = (row.weight + row.worth * person * row.share) / (row.total + row.worth)
        common *= row.share
    if chain is Chain.NETWORK:
        return _bounded(person, _attacking_network(rows))
    part = rows[FINEST[chain]].part
    if chain is Chain.LANGUAGE:
        return _bounded(person, [own * part + (1 - own) * common for own in _LANGUAGES])
    fresh = _fresh(case.history, case.login, case.factor)
    person = (1 - fresh) * person + fresh * common
    return _bounded(person, [own * part + (1 - own) * common for own in _AGENTS])


def _attacking_network(rows: Rows) -> list[float]:
    between = rows.get(Level.ASN) or rows.get(Level.WIDE)
    country = rows.get(Level.COUNTRY)
    fine = rows[Level.PREFIX].share
    part, share = (between.part, between.share) if between else (0.0, 1.0)
    if country is None:
        hosted = 0.5 * share + 0.5 / (ORIGINS * HOSTS)
        return [((1 - own) * hosted + own * part) * fine for own in _NETWORKS]
    hosted = 0.5 * share + 0.5 / HOSTS
    anywhere = 0.5 * country.share + 0.5 / ORIGINS
    here = country.part
    return [
        ((1 - own) * ((1 - near) * anywhere + near * here) * hosted + own * part) * fine
        for own, near in zip(_NETWORKS, _COUNTRIES, strict=True)
    ]


def _version(case: _Case) -> list[tuple[str, Ratios]]:
    platform = case.login.digests.get(Level.PLATFORM, b"")
    known = case.history.values[Level.PLATFORM].get(platform)
    if known is None or not known[1] or not case.login.version:
        return []
    older = case.login.version < known[1]
    person = OLDER if older else 1 - OLDER
    common = OLDER_ATTACK if older else 1 - OLDER_ATTACK
    attackers = [own * person + (1 - own) * common for own in _AGENTS]
    return [("version_older" if older else "version_grown", _bounded(person, attackers))]
