"""How common values are among everybody: decayed counts, and the shares that are read from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from service.signals.login_context.features import Level

HALF_LIFE: Final = 90 * 86_400
_SMOOTHING: Final = 5.0
_EVEN: Final = 0.1
"""Which part of everybody is taken to be spread evenly: nobody is barred from anywhere."""
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
"""How many values there are beneath one of the next coarser level: what is assumed before any
counts are there. Of a wide prefix (/16, /32) 256 narrow ones are possible and none is counted."""
COUNTED: Final = tuple(level for level in Level if level is not Level.PREFIX)
"""Narrow prefixes are not counted for everybody: they are many, and say little."""


@dataclass(frozen=True, slots=True)
class ContextCounts:
    """A snapshot of the counts, by digest; each digest is of one level.

    Args:
        totals: The sum of the counts of each level.
    """

    counts: Mapping[bytes, float] = field(repr=False)
    totals: Sequence[float]

    def shares(self, digests: Mapping[Level, bytes]) -> list[float]:
        """Return each level's share among the values of its next coarser level.

        A level without a digest has the share of a value that nobody was seen with.
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
        """Return the shares of values that nobody was seen with."""
        found = [_share(level, 0.0, self.totals[level]) for level in Level]
        found[Level.PREFIX] = 1 / _SIZES[Level.PREFIX]
        return found


def _share(level: Level, part: float, whole: float) -> float:
    even = 1 / _SIZES[level]
    return _EVEN * even + (1 - _EVEN) * (part + _SMOOTHING * even) / (whole + _SMOOTHING)


EMPTY: Final = ContextCounts({}, (0.0,) * len(Level))
