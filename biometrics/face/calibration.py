"""What a distance proves: how many strangers came as near when it was measured, and the bound.

Counted were comparisons of the mean of one, two or three frames with templates of three, on the
photographs that `docs/face.md` names; `lamina face evaluate PAIRS --images DIR --enroll 3 --probe N
--json` counts them again, as `false_matches`. Comparisons are not people: 25 identities made all of
them, so that the bounds hold for comparisons like these and not for a wider public.
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
"""By frames of a probe: comparisons with strangers, and false matches at each distance."""
_CONFIDENCE: Final = 0.05
_HALVINGS: Final = 60


@dataclass(frozen=True, slots=True)
class Calibration:
    """How often strangers match at a distance: what was seen, and of how many."""

    seen: int
    trials: int

    @property
    def upper(self) -> float:
        """Return the 95 % upper bound of the false match rate; where none was seen, 3 over n."""
        return upper(self.seen, self.trials) or 1.0


def calibrated(distance: float, frames: int) -> Calibration:
    """Return what was seen at the next distance of the grid, which never flatters.

    Args:
        distance: Of the mean of the frames to the template.
        frames: How many; more than three count as three.
    """
    trials, counts = _COUNTS[min(frames, max(_COUNTS))]
    at = bisect_left(GRID, distance if distance == distance else inf)  # noqa: PLR0124 - a NaN is no near one
    return Calibration(counts[at] if at < len(counts) else trials, trials)


def upper(events: int, trials: int) -> float | None:
    """Return the 95 % upper bound of a rate of which `events` of `trials` were seen."""
    if not trials:
        return None
    if events >= trials:
        return 1.0
    low, high = events / trials, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _at_most(events, trials, middle) > _CONFIDENCE:
            low = middle
        else:
            high = middle
    return high


def _at_most(events: int, trials: int, rate: float) -> float:
    """Return the probability of so few events, summed in logarithms."""
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
