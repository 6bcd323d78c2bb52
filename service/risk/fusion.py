"""Fusion of calibrated log-likelihood ratios: they add, and what is good excuses little."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MOST_OFFSET: Final = 2.0
"""What all good signals together may make up for, in nats."""


class Availability(StrEnum):
    """What a signal had to go by."""

    SCORED = "scored"
    NOT_OFFERED = "not_offered"
    """Never asked for and never sent: no evidence either way."""
    NO_HISTORY = "no_history"
    WITHHELD = "withheld"
    """Asked for or usual, and missing now: never good news."""
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Share:
    """What one signal puts in: nats, genuine over impostor; a hard finding is never excused."""

    signal: str
    llr: float
    hard: bool = False


@dataclass(frozen=True, slots=True)
class Fused:
    """The sum.

    Args:
        total: Nats, at most 0: what speaks for a person earns nothing beyond an excuse.
        excused: How much of what speaks against it good signals made up for, 0 to 2 nats.
        hard: Whether a hard finding is among the shares.
    """

    total: float
    excused: float
    hard: bool


def bounded(llr: float, worst: float, seen: Availability = Availability.SCORED) -> float:
    """Return the ratio that counts.

    Args:
        llr: What the signal said; no number at all counts as `worst`.
        worst: The lowest value that the signal's data can prove, below 0.
        seen: What it had to go by.
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
