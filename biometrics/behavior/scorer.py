"""Score a sample against a profile: a calibrated log-likelihood ratio with readable reasons."""

from dataclasses import dataclass
from typing import Final

from biometrics.behavior.head import Head
from biometrics.behavior.layout import WORDS, Floats
from biometrics.behavior.model import LIVE, SignalModel
from biometrics.behavior.population import Population
from biometrics.behavior.profile import Profile
from biometrics.behavior.statistics import (
    TIMED,
    Prepared,
    deviations,
    names,
    prepare,
    prepare_own,
    statistics,
)
from biometrics.score import Score

FEWEST: Final = 5
"""Samples below which nothing is said: the profile is learning."""
FEW: Final = 20
FEW_CLIP: Final = 2.0
OVERALL: Final = "overall closeness"


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
    found = statistics(against.prepared, against.population, row[None])
    terms = against.head.terms(found)[0]
    total = float(terms.sum() + against.head.constant)
    low, high = against.clip
    llr = min(max(total, low), high) * quality
    return Score(llr, quality, _reasons(against, row, terms), against.model.version)


def own_scores(profile: Profile, rows: Floats) -> Floats:
    """Return closeness to a person's own samples only, more is closer; no population is used."""
    own = prepare_own(profile)
    return own.closeness(own.scaled(profile.layout.even(rows)))


def _reasons(against: Ready, row: Floats, terms: Floats) -> tuple[tuple[str, float], ...]:
    """Group the shares by what they measure, and say how far each kind is from usual."""
    layout = against.prepared.layout
    away = deviations(against.prepared, row)
    shares: dict[str, float] = {}
    for name, share in zip(names(layout), terms, strict=True):
        kind = name.rpartition("_")[2]
        text = _words(kind, name, away) if kind in away else OVERALL
        shares[text] = shares.get(text, 0.0) + float(share)
    shares[OVERALL] = shares.get(OVERALL, 0.0) + against.head.constant
    return tuple(sorted(shares.items(), key=lambda item: -abs(item[1])))


def _words(kind: str, name: str, away: dict[str, float]) -> str:
    if name.startswith("rhythm"):
        return f"rhythm of {WORDS[kind]}"
    more, less = ("longer", "shorter") if kind in TIMED else ("more", "less")
    return (
        f"{WORDS[kind]} {abs(away[kind]):.1f} scales {more if away[kind] > 0 else less} than usual"
    )
