"""The population: decayed counts of values and their shares, and whether failures surge."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from service.signals.login_context.features import Level

HALF_LIFE: Final = 90 * 86_400
_SMOOTHING: Final = 5.0
_EVEN: Final = 0.1
"""Share of the population assumed to be evenly spread, so that no value has zero probability."""
_PARENT: Final = {
    Level.PREFIX: Level.PREFIX,
    Level.WIDE: Level.COUNTRY,
    Level.ASN: Level.COUNTRY,
    Level.COUNTRY: Level.COUNTRY,
    Level.DEVICE: Level.PLATFORM,
    Level.PLATFORM: Level.SYSTEM,
    Level.SYSTEM: Level.SYSTEM,
    Level.LOCALE: Level.LANGUAGE,
    Level.LANGUAGE: Level.LANGUAGE,
}
_SIZES: Final = {
    Level.PREFIX: 256,
    Level.WIDE: 300,
    Level.ASN: 40,
    Level.COUNTRY: 200,
    Level.DEVICE: 20,
    Level.PLATFORM: 6,
    Level.SYSTEM: 7,
    Level.LOCALE: 3,
    Level.LANGUAGE: 60,
}
"""Assumed number of values beneath one of the next coarser level, before there are counts. A wide
prefix (/16, /32) has 256 narrow ones, none of which is counted."""
COUNTED: Final = tuple(level for level in Level if level is not Level.PREFIX)
"""Narrow prefixes are not counted in the population: there are too many to be informative."""
WINDOW: Final = timedelta(minutes=5)
COMPARED: Final = timedelta(hours=24)
_EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
_LEAST_WINDOWS: Final = 12
_RECENT: Final = 2
_SPARE: Final = 5.0
_WIDTH: Final = 9


@dataclass(frozen=True, slots=True)
class ContextCounts:
    """A snapshot of the counts by digest; each digest belongs to one level.

    Args:
        totals: The sum of the counts of each level.
    """

    counts: Mapping[bytes, float] = field(repr=False)
    totals: Sequence[float]

    def shares(self, digests: Mapping[Level, bytes]) -> list[float]:
        """Return the share of each level's value within its next coarser value.

        A level without a digest has the share of a value never seen.
        """
        get = self.counts.get
        counts = [get(digests.get(level, b""), 0.0) for level in Level]
        found = []
        for level, part in zip(Level, counts, strict=True):
            parent = _PARENT[level]
            whole = counts[parent] if parent in digests else self.totals[level]
            found.append(_share(level, part, max(whole, part)))
        found[Level.PREFIX] = 1 / _SIZES[Level.PREFIX]
        return found

    def rarest(self) -> list[float]:
        """Return the shares of values never seen."""
        found = [_share(level, 0.0, self.totals[level]) for level in Level]
        found[Level.PREFIX] = 1 / _SIZES[Level.PREFIX]
        return found


def _share(level: Level, part: float, whole: float) -> float:
    even = 1 / _SIZES[level]
    return _EVEN * even + (1 - _EVEN) * (part + _SMOOTHING * even) / (whole + _SMOOTHING)


EMPTY: Final = ContextCounts({}, (0.0,) * len(Level))


@dataclass(frozen=True, slots=True)
class LoginPopulation:
    """A snapshot of the population: how common values are, and whether failures surge.

    Args:
        counts: The counts of values.
        surge: Failures of the last two windows over the usual number; 0 without a day of history.
    """

    counts: ContextCounts
    surge: float


NO_POPULATION: Final = LoginPopulation(EMPTY, 0.0)


def weight(now: datetime) -> float:
    """Return the weight of a login at a time, which grows instead of older counts fading.

    Forward decay (Cormode et al., ICDE 2009): counts are only ever incremented.
    """
    return float(2.0 ** ((now - _EPOCH).total_seconds() / HALF_LIFE))


def joined(digests: dict[Level, bytes]) -> bytes:
    """Encode the values of a login, 9 bytes each: level and digest."""
    return b"".join(bytes([level]) + digests[level] for level in COUNTED if level in digests)


def folded(logins: Iterable[bytes], each: float) -> dict[bytes, float]:
    """Return the increments of the counts by some logins."""
    found: dict[bytes, float] = {}
    for login in logins:
        for at in range(0, len(login), _WIDTH):
            name = login[at : at + _WIDTH]
            found[name] = found.get(name, 0.0) + each
    return found


def snapshot(rows: Iterable[tuple[bytes, float]], now: datetime) -> ContextCounts:
    """Return the stored counts as they are at a time."""
    scale = 1 / weight(now)
    counts = {}
    totals = [0.0] * len(Level)
    for name, stored in rows:
        counts[name[1:]] = scale * stored
        totals[name[0]] += scale * stored
    return ContextCounts(counts, totals)


def window_of(now: datetime) -> datetime:
    """Return the start of the window that contains a time."""
    return now - (now - _EPOCH) % WINDOW


def surge(tallies: Sequence[tuple[datetime, int]], now: datetime) -> float:
    """Return the failures of the last two windows relative to the day before."""
    edge = window_of(now) - WINDOW
    before = [count for window, count in tallies if edge - COMPARED <= window < edge]
    if len(before) < _LEAST_WINDOWS:
        return 0.0
    recent = sum(count for window, count in tallies if window >= edge)
    return recent / (_RECENT * sum(before) / len(before) + _SPARE)
