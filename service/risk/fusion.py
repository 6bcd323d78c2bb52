"""Fusion of calibrated log-likelihood ratios by addition, with limited positive evidence."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MOST_OFFSET: Final = 2.0
"""Maximum total of negative evidence that positive signals can offset, in nats."""


class Availability(StrEnum):
    """The input that a signal had available."""

    SCORED = "scored"
    NOT_OFFERED = "not_offered"
    """Never requested and never sent: no evidence either way."""
    NO_HISTORY = "no_history"
    WITHHELD = "withheld"
    """Requested or usually sent, but missing now: never positive evidence."""
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Share:
    """The contribution of one signal in nats; hard findings cannot be offset."""

    signal: str
    llr: float
    hard: bool = False


@dataclass(frozen=True, slots=True)
class Fused:
    """The fused score.

    Args:
        total: Nats, at most 0: positive evidence only offsets negative evidence.
        excused: Negative evidence that positive signals offset, 0 to 2 nats.
        hard: Whether a hard finding is among the contributions.
    """

    total: float
    excused: float
    hard: bool


def bounded(llr: float, worst: float, seen: Availability = Availability.SCORED) -> float:
    """Return the log-likelihood ratio within the bounds of what the signal can prove.

    Args:
        llr: The ratio that the signal reported; NaN or infinity counts as `worst`.
        worst: The lowest ratio that the signal's data can support, below 0.
        seen: The input that the signal had available.
    """
    if seen is Availability.FAULT or not math.isfinite(llr):
        return worst
    if seen in {Availability.NOT_OFFERED, Availability.NO_HISTORY}:
        return 0.0
    return max(worst, min(llr, 0.0) if seen is Availability.WITHHELD else llr)


def fuse(shares: Iterable[Share]) -> Fused:
    """Add the shares; positive ones offset at most `MOST_OFFSET` and no hard finding."""
    soft = firm = favor = 0.0
    hard = False
    for share in shares:
        hard = hard or share.hard
        if share.llr > 0:
            favor += share.llr
        elif share.hard:
            firm += share.llr
        else:
            soft += share.llr
    excused = min(favor, MOST_OFFSET, -soft)
    return Fused(firm + soft + excused, excused, hard)
