"""Population statistics for typed text of any content and length.

Each person types another password, so no column has a history of its own. Means, spreads and
correlations are averaged over all columns in the same relation (same column, neighbors, farther
apart). The variance that the text itself adds to the column means counts as variance between
people.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from biometrics.behavior.layout import Floats, Ints, Layout
from biometrics.behavior.population import (
    KNOTS,
    LAGS,
    Population,
    positive,
    relations,
)

_BACKGROUND: Final = 256
_KERNEL: Final = 128
_SEED: Final = 20_261
_MATRICES: Final = ("between", "within", "drift")


@dataclass(kw_only=True, frozen=True)
class AnyText:
    """Population statistics averaged over columns, one entry per kind of column.

    Args:
        kinds: The kinds of columns, in the order of every array.
        knots: Quantiles of each kind, (k, 65).
        mean: Mean of each kind in the normal space, (k,).
        spread: Typical absolute deviation of a person in the raw space, (k,).
        even: The same in `Layout.even`, (k,).
        variances: Of `between`, `within`, `drift`, (3, k).
        correlations: Of the same, by kind, kind and lag, (3, k, k, 4).
        early: Weights that recognize a person who is still learning a text, (2, k).
    """

    kinds: tuple[str, ...]
    knots: Floats
    mean: Floats
    spread: Floats
    even: Floats
    variances: Floats
    correlations: Floats
    early: Floats
    _made: dict[Layout, Population] = field(default_factory=dict, compare=False, repr=False)

    def population(self, layout: Layout) -> Population:
        """Return the statistics for a layout; computed once and cached."""
        if layout not in self._made:
            if len(self._made) >= 2 * KNOTS:
                self._made.clear()
            self._made[layout] = self._make(layout)
        return self._made[layout]

    def even_spread(self, layout: Layout) -> Floats:
        """Return the typical deviation of each column in `Layout.even`."""
        return np.asarray(self.even[self._rows(layout)])

    def _rows(self, layout: Layout) -> Ints:
        return np.array([self.kinds.index(kind) for kind in layout.kinds])

    def _make(self, layout: Layout) -> Population:
        rows = self._rows(layout)
        between, within, drift = (
            self._matrix(layout, number, rows) for number in range(len(_MATRICES))
        )
        mean = self.mean[rows]
        random = np.random.default_rng(_SEED)
        everybody = random.multivariate_normal(
            mean, between + within + drift, size=_BACKGROUND, method="eigh"
        )
        return Population(
            layout=layout,
            knots=self.knots[rows],
            mean=mean,
            between=between,
            within=within,
            drift=drift,
            spread=self.spread[rows],
            background=np.clip(everybody, -4.0, 4.0),
            kernel=np.arange(_KERNEL, dtype=np.intp),
            early=self.early[:, rows],
        )

    def _matrix(self, layout: Layout, number: int, rows: Ints) -> Floats:
        found = np.zeros((layout.columns, layout.columns))
        for (left, right, lag), mask in relations(layout).items():
            pair = self.kinds.index(left), self.kinds.index(right)
            found[mask] = self.correlations[number][pair][lag]
        np.fill_diagonal(found, 1.0)
        sigma = np.sqrt(self.variances[number][rows])
        return positive(found * np.outer(sigma, sigma))


def average(population: Population, even_spread: Floats) -> AnyText:
    """Average the statistics of one text over its columns, so that they apply to any text."""
    layout = population.layout
    kinds = layout.names
    at = [layout.slices[kind] for kind in kinds]
    text = np.array([population.mean[part].var() for part in at])
    between = population.between + np.diag(text[[kinds.index(kind) for kind in layout.kinds]])
    matrices = (between, population.within, population.drift)
    return AnyText(
        kinds=kinds,
        knots=np.array([_pooled(population.knots[part]) for part in at]),
        mean=np.array([population.mean[part].mean() for part in at]),
        spread=np.array([np.median(population.spread[part]) for part in at]),
        even=np.array([np.median(even_spread[part]) for part in at]),
        variances=np.array([[np.diag(matrix)[part].mean() for part in at] for matrix in matrices]),
        correlations=np.array([_correlations(matrix, layout) for matrix in matrices]),
        early=np.array([population.early[:, part].mean(axis=1) for part in at]).T,
    )


def _pooled(knots: Floats) -> Floats:
    """Return the quantiles of several columns pooled into one."""
    found = np.quantile(knots.ravel(), (np.arange(KNOTS) + 0.5) / KNOTS)
    span = max(found[-1] - found[0], 1e-6)
    return np.asarray(np.maximum.accumulate(found + span * 1e-5 * np.arange(KNOTS)))


def _correlations(matrix: Floats, layout: Layout) -> Floats:
    kinds = layout.names
    sigma = np.sqrt(np.diag(matrix))
    correlation = matrix / np.outer(sigma, sigma)
    found = np.zeros((len(kinds), len(kinds), len(LAGS)))
    for (left, right, lag), mask in relations(layout).items():
        if mask.any():
            found[kinds.index(left), kinds.index(right), lag] = correlation[mask].mean()
    return found


def to_arrays(known: AnyText) -> dict[str, Floats]:
    """Return the arrays by name."""
    return {name: getattr(known, name) for name in _NUMBERS}


def from_arrays(kinds: tuple[str, ...], arrays: Mapping[str, Floats]) -> AnyText:
    """Build the statistics from named arrays; raises KeyError or ValueError if malformed."""
    knots, mean, spread, even, variances, correlations, early = (
        np.asarray(arrays[name], float) for name in _NUMBERS
    )
    known = AnyText(
        kinds=kinds,
        knots=knots,
        mean=mean,
        spread=spread,
        even=even,
        variances=variances,
        correlations=correlations,
        early=early,
    )
    count = len(kinds)
    shapes = {
        "knots": (count, KNOTS),
        "mean": (count,),
        "spread": (count,),
        "even": (count,),
        "variances": (3, count),
        "correlations": (3, count, count, len(LAGS)),
        "early": (2, count),
    }
    for name, shape in shapes.items():
        if getattr(known, name).shape != shape or not np.isfinite(getattr(known, name)).all():
            raise ValueError(f"{name} must be {shape} finite numbers")
    return known


_NUMBERS: Final = ("knots", "mean", "spread", "even", "variances", "correlations", "early")
