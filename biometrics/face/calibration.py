"""The evidence of a distance: false matches counted at that distance, and their upper bound.

Counted were comparisons of the mean of one, two or three frames with templates of three, on the
photographs named in `docs/face.md`; `lamina face evaluate PAIRS --images DIR --enroll 3 --probe N
--json` repeats the count, as `false_matches`. Comparisons are not people: 25 identities made all
of them, so the bounds hold for comparisons like these and not for a wider public.
"""

from bisect import bisect_left
from dataclasses import dataclass
from math import exp, inf, lgamma, log, log1p
from typing import Final

GRID: Final = (0.24, 0.28, 0.31, 0.34, 0.37, 0.40)
"""Distances at which false matches were counted."""
_COUNTS: Final = {
    1: (2648, (0, 0, 0, 2, 21, 70)),
    2: (1068, (0, 0, 0, 6, 15, 48)),
    3: (706, (0, 0, 0, 5, 10, 35)),
}
"""By frames in the probe: comparisons with impostors, and false matches at each distance."""
_CONFIDENCE: Final = 0.05
_HALVINGS: Final = 60


@dataclass(frozen=True, slots=True)
class Calibration:
    """False matches at a distance: the count and the number of trials."""

    seen: int
    trials: int

    @property
    def upper(self) -> float:
        """The 95 % upper bound of the false match rate; with no false match, 3 / trials."""
        return upper(self.seen, self.trials) or 1.0


def calibrated(distance: float, frames: int) -> Calibration:
    """Return the counts at the next larger distance of the grid, which is conservative.

    Args:
        distance: Distance from the mean of the frames to the template.
        frames: Number of frames; more than three count as three.
    """
    trials, counts = _COUNTS[min(frames, max(_COUNTS))]
    at = bisect_left(GRID, distance if distance == distance else inf)  # noqa: PLR0124 - NaN counts as far
    return Calibration(counts[at] if at < len(counts) else trials, trials)


def upper(events: int, trials: int) -> float | None:
    """Return the 95 % upper bound of a rate, given `events` in `trials`; None without trials."""
    if not trials:
        return None
    if events >= trials:
        return 1.0
    low = events / trials
    high = 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _at_most(events, trials, middle) > _CONFIDENCE:
            low = middle
        else:
            high = middle
    return high


def _at_most(events: int, trials: int, rate: float) -> float:
    """Return the binomial probability of at most that many events, computed in logarithms."""
    return sum(
        exp(
            lgamma(trials + 1)
            - lgamma(k + 1)
            - lgamma(trials - k + 1)
            + k * log(rate)
            + (trials - k) * log1p(-rate)
        )
        for k in range(events + 1)
    )
