"""Score a sample against a profile: a calibrated log-likelihood ratio with reasons for people."""

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
"""Number of samples below which there is no score: the profile is still learning."""
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
"""Words for more and less of each kind, if other than these two."""


@dataclass(kw_only=True, frozen=True)
class Ready:
    """A profile with its population and head, prepared once for many scores."""

    model: SignalModel
    prepared: Prepared
    population: Population
    head: Head
    clip: tuple[float, float]


def ready(profile: Profile, model: SignalModel, way: str = LIVE) -> Ready | None:
    """Prepare a profile for scoring; returns None while it has too few samples."""
    head = model.head(profile.total, way)
    if head is None:
        return None
    population = model.known.population(profile.layout)
    spread = model.known.even_spread(profile.layout)
    low, high = model.clip
    if profile.total < FEW:
        low = max(low, -FEW_CLIP)
        high = min(high, FEW_CLIP)
    return Ready(
        model=model,
        prepared=prepare(profile, population, spread),
        population=population,
        head=head,
        clip=(low, high),
    )


def llrs(against: Ready, rows: Floats) -> Floats:
    """Return the unclipped log-likelihood ratios of samples (n, d)."""
    return against.head.llr(statistics(against.prepared, against.population, rows))


def score(against: Ready, row: Floats, quality: float = 1.0) -> Score:
    """Score one sample (d,); a low quality shrinks the score towards 0."""
    found, scaled = measure(against.prepared, against.population, row[None])
    each, together = against.head.terms(found)
    total = float(each.sum() + together[0])
    low, high = against.clip
    llr = min(max(total, low), high) * quality
    return Score(
        llr=llr,
        quality=quality,
        contributions=_reasons(
            against, row=row, scaled=scaled[0], each=each[0], together=float(together[0])
        ),
        model_version=against.model.version,
    )


def own_scores(profile: Profile, rows: Floats) -> Floats:
    """Return the closeness of samples to a person's own, without a population; more is closer."""
    own = prepare_own(profile)
    return own.closeness(own.scaled(profile.layout.even(rows)))


def _reasons(
    against: Ready, *, row: Floats, scaled: Floats, each: Floats, together: float
) -> tuple[tuple[str, float], ...]:
    """Group the contributions by kind, and describe how far each kind is from usual."""
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
    """Return the kinds, and the assignment of statistics to overall, each kind, and its rhythm."""
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
    """Describe how the holding angle of a telephone differs from usual."""
    pitch = float(moved[0]) * PITCH
    roll = float(moved[1]) * ROLL
    if abs(pitch) >= abs(roll):
        phrase = f"{abs(pitch):.0f}° {'steeper' if pitch > 0 else 'flatter'}"
    else:
        phrase = f"{abs(roll):.0f}° more to the {'left' if roll > 0 else 'right'}"
    return f"{WORDS[HOLDING]} {phrase} than usual"
