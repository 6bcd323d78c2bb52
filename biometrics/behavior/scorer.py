"""Score a sample against a profile: a calibrated log-likelihood ratio with readable reasons."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from biometrics.behavior.head import Head
from biometrics.behavior.layout import (
    BEND,
    CLICK,
    HOLD,
    HOLDING,
    PACE,
    PRESS,
    REST,
    WORDS,
    Floats,
    Layout,
)
from biometrics.behavior.model import LIVE, SignalModel
from biometrics.behavior.motion import PITCH, ROLL
from biometrics.behavior.population import Population
from biometrics.behavior.profile import Profile
from biometrics.behavior.statistics import (
    Prepared,
    averages,
    measure,
    names,
    prepare,
    prepare_own,
    statistics,
    timing_kinds,
)
from biometrics.score import Score

FEWEST: Final = 5
"""Samples below which nothing is said: the profile is learning."""
FEW: Final = 20
FEW_CLIP: Final = 2.0
OVERALL: Final = "overall closeness"
_LONGER: Final = ("longer", "shorter")
_MORE: Final = {
    HOLD: _LONGER,
    PRESS: _LONGER,
    REST: _LONGER,
    CLICK: _LONGER,
    PACE: ("faster", "slower"),
    BEND: ("more bent", "straighter"),
}
"""What a person reads for more and for less, where it is not that."""


@dataclass(frozen=True)
class Ready:
    """A profile, its population and its head, made ready once for many scores."""

    model: SignalModel
    prepared: Prepared
    population: Population
    head: Head
    clip: tuple[float, float]


def ready(profile: Profile, model: SignalModel, way: str = LIVE) -> Ready | None:
    """Return a profile made ready to be compared with; None while it is learning."""
    head = model.head(profile.total, way)
    if head is None:
        return None
    population = model.known.population(profile.layout)
    spread = model.known.even_spread(profile.layout)
    low, high = model.clip
    if profile.total < FEW:
        low, high = max(low, -FEW_CLIP), min(high, FEW_CLIP)
    return Ready(model, prepare(profile, population, spread), population, head, (low, high))


def llrs(against: Ready, rows: Floats) -> Floats:
    """Return log-likelihood ratios of samples (n, d), not clipped."""
    return against.head.llr(statistics(against.prepared, against.population, rows))


def score(against: Ready, row: Floats, quality: float = 1.0) -> Score:
    """Return the score of one sample (d,); a poor quality draws it towards 0."""
    found, scaled = measure(against.prepared, against.population, row[None])
    each, together = against.head.terms(found)
    total = float(each.sum() + together[0])
    low, high = against.clip
    llr = min(max(total, low), high) * quality
    return Score(
        llr,
        quality,
        _reasons(against, row, scaled[0], each[0], float(together[0])),
        against.model.version,
    )


def own_scores(profile: Profile, rows: Floats) -> Floats:
    """Return closeness to a person's own samples only, more is closer; no population is used."""
    own = prepare_own(profile)
    return own.closeness(own.scaled(profile.layout.even(rows)))


def _reasons(
    against: Ready, row: Floats, scaled: Floats, each: Floats, together: float
) -> tuple[tuple[str, float], ...]:
    """Group the shares by what they measure, and say how far each kind is from usual."""
    layout = against.prepared.layout
    kinds, groups = _groups(layout)
    away = (scaled @ averages(layout)[0]).tolist()
    shares = (each @ groups).tolist()
    words = [
        _angle(row - against.prepared.own.center) if kind == HOLDING else _words(kind, far)
        for kind, far in zip(kinds, away, strict=True)
    ]
    texts = [OVERALL, *words, *(f"rhythm of {WORDS[kind]}" for kind in kinds)]
    shares[0] += together
    return tuple(sorted(zip(texts, shares, strict=True), key=lambda item: -abs(item[1])))


@lru_cache(maxsize=256)
def _groups(layout: Layout) -> tuple[tuple[str, ...], Floats]:
    """Return the kinds, and which statistics speak of none, of each kind, and of its rhythm."""
    kinds = timing_kinds(layout)
    found = []
    for name in names(layout):
        what, _, kind = name.rpartition("_")
        group = 0
        if kind in kinds:
            group = 1 + kinds.index(kind) + (len(kinds) if what == "rhythm" else 0)
        found.append(np.eye(1 + 2 * len(kinds))[group])
    return kinds, np.array(found)


def _words(kind: str, away: float) -> str:
    more, less = _MORE.get(kind, ("more", "less"))
    return f"{WORDS[kind]} {abs(away):.1f} scales {more if away > 0 else less} than usual"


def _angle(moved: Floats) -> str:
    """Say how a telephone is held, of how far its first two columns are from usual."""
    pitch, roll = float(moved[0]) * PITCH, float(moved[1]) * ROLL
    if abs(pitch) >= abs(roll):
        told = f"{abs(pitch):.0f}° {'steeper' if pitch > 0 else 'flatter'}"
    else:
        told = f"{abs(roll):.0f}° more to the {'left' if roll > 0 else 'right'}"
    return f"{WORDS[HOLDING]} {told} than usual"
