"""Population counts of values, decayed, and the shares derived from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
