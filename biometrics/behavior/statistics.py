"""Statistics of one sample against one profile: the inputs of the learned head.

A `Prepared` holds everything that depends on the profile only, so that a score is a few products.
The statistics are averages over columns, so that one head serves texts of any length; a statistic
that is undefined for a short text is NaN.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from biometrics.behavior.head import within
from biometrics.behavior.layout import GAP, Floats, Layout
from biometrics.behavior.population import (
    KERNEL,
    RIDGE,
    SCALE,
    ColumnModel,
    Normal,
    Population,
    distances,
    inverse_root,
)
from biometrics.behavior.profile import Profile, recency

FREEDOM: Final = 4.0
"""Degrees of freedom of the heavy tails (Student's t)."""
CAP: Final = 4.0
"""Scales beyond which a column counts no further."""
PRIOR: Final = 12.0
"""Number of samples as which the population's spread counts beside a person's own."""
_POWER: Final = 0.7
_OWN_PRIOR: Final = 6.0
_WIDTH: Final = 0.05
_TINY: Final = 1e-300
_OWN_WIDTH: Final = 0.3
_OWN_SHRINK: Final = 0.7
_RECENT: Final = 60


@dataclass(kw_only=True, frozen=True)
class Own:
    """Statistics of a person's own samples, without a population.

    Args:
        center: Median of each column, in `Layout.even`.
        scale: Mean absolute deviation of each column.
        turn: Partial whitening of the scaled columns, (d, d).
        rows: The samples, scaled, capped and whitened, (m, d).
        weights: Recency, summing to one.
    """

    center: Floats
    scale: Floats
    turn: Floats
    rows: Floats
    weights: Floats

    def scaled(self, even: Floats) -> Floats:
        """Return the deviations in scales, capped."""
        return within((even - self.center) / self.scale, CAP)

    def closeness(self, scaled: Floats) -> Floats:
        """Return the logarithm of a Laplacian kernel density at scaled rows (n, d); (n,)."""
        apart = distances(scaled @ self.turn, self.rows) * (_OWN_WIDTH * SCALE / scaled.shape[1])
        least = apart.min(axis=1)
        return np.asarray(np.log(np.exp(least[:, None] - apart) @ self.weights) - least)


@dataclass(kw_only=True, frozen=True)
class Prepared:
    """A profile prepared for comparison, with d columns, of which k are stored.

    Args:
        views: Maps a sample in the normal space (d,) to all views of it: whitened coordinates for
            the person among the stored and among all columns, the same for anyone, the whitened
            space, and the shift of each kind; (d, 2 k + 3 d + kinds).
        base: Subtracted after that.
        sizes: Half the log determinants, the person's minus anyone's, (2,).
        rows: The samples, then the background, in the whitened space, (m, d).
        densities: Weights of `rows` in the densities of the person and of anyone, (m, 2).
        alphas: Weights of `rows` in the kernel classifier, (m,).
        level: The usual mean of each column's kind, in `Layout.even`, (d,).
        rhythm: The usual deviations from `level`, by kind, normalized, (d, kinds).
        habits: How much the person resembles a beginner, the logarithm of the person's variation
            relative to others', and the mean distance of samples to their nearest neighbor, (3,).
    """

    layout: Layout
    own: Own
    views: Floats
    base: Floats
    sizes: Floats
    rows: Floats
    samples: int
    densities: Floats
    alphas: Floats
    level: Floats
    rhythm: Floats
    habits: Floats


def prepare_own(profile: Profile, spread: Floats | None = None) -> Own:
    """Prepare the own-samples part; a population's spread, if given, regularizes it."""
    layout = profile.layout
    even = layout.even(profile.rows)
    center = np.median(even, axis=0)
    scale = np.abs(even - center).mean(axis=0)
    count = len(even)
    if spread is None:
        typical = np.median(scale)
        scale = (count * scale + 2.0 * np.maximum(scale, typical)) / (count + 2.0)
    else:
        scale = (count * scale + _OWN_PRIOR * spread) / (count + _OWN_PRIOR)
    scale = np.maximum(scale, 1e-4)
    rows = within((even - center) / scale, CAP)
    turn = _half_whitener(rows)
    return Own(center=center, scale=scale, turn=turn, rows=rows @ turn, weights=recency(count))


def _half_whitener(rows: Floats) -> Floats:
    """Return a whitener of correlations shrunk towards zero; identity if samples are few."""
    square = np.eye(rows.shape[1])
    spread = rows.std(axis=0)
    if len(rows) < 2 * rows.shape[1] // 3 or not spread.all():
        return square
    apart = (rows - rows.mean(axis=0)) / (spread * np.sqrt(len(rows)))
    correlation = apart.T @ apart
    return inverse_root((1 - _OWN_SHRINK) * correlation + _OWN_SHRINK * square)[0]


def prepare(profile: Profile, population: Population, even_spread: Floats) -> Prepared:
    """Prepare a profile; `even_spread` is the population's spread in `Layout.even`."""
    layout = profile.layout
    normal = population.normal(profile.rows)
    weights = recency(len(normal))
    views, base, sizes = _views(population, _person(normal, weights, population))
    whitened = normal @ population.whitener
    # Single precision suffices for blurred kernels and takes half the time.
    among = np.concatenate([whitened, population.chosen], dtype=np.float32)
    apart = distances(among[: len(whitened)], among).astype(np.float64)
    densities, alphas = _weights(apart, weights, population)
    own = prepare_own(profile, even_spread)
    varies = np.log((own.scale / even_spread).mean())
    habits = [weights @ population.learning(normal), varies, _nearest(apart, weights)]
    level, rhythm = _rhythm(layout, own.center)
    return Prepared(
        layout=layout,
        own=own,
        views=views,
        base=base,
        sizes=sizes,
        rows=np.concatenate([whitened, population.whitened]),
        samples=len(normal),
        densities=densities,
        alphas=alphas,
        level=level,
        rhythm=rhythm,
        habits=np.array(habits),
    )


def _person(normal: Floats, weights: Floats, population: Population) -> list[Normal]:
    """Return the predictive distributions of the person's next sample: stored columns, and all."""
    effective = 1.0 / float((weights**2).sum())
    typical = np.sqrt(np.diag(population.within))
    middle = np.median(normal[-_RECENT:], axis=0)
    steady = middle + within(normal - middle, 3 * typical)
    mean = weights @ steady
    ratio = _ratio(steady, weights=weights, mean=mean, effective=effective, typical=typical)
    return [
        _next(population, part=part, mean=mean, ratio=ratio, effective=effective)
        for part in population.parts
    ]


def _ratio(
    steady: Floats, *, weights: Floats, mean: Floats, effective: float, typical: Floats
) -> Floats:
    """Return each column's spread relative to the population's, regularized by it."""
    spread = weights @ (steady - mean) ** 2 * effective / max(effective - 1, 1)
    variance = (PRIOR * typical**2 + effective * spread) / (PRIOR + effective)
    return np.asarray((variance / typical**2) ** (_POWER / 2))


def _next(
    population: Population, *, part: ColumnModel, mean: Floats, ratio: Floats, effective: float
) -> Normal:
    """Return the predictive distribution of the person's next sample for some columns."""
    at = part.at
    between = part.between
    usual = population.mean[part.at]
    scale = np.outer(ratio[at], ratio[at])
    noise = (part.typical - part.drift) * scale / effective + part.drift
    gain = np.linalg.solve(between + noise, between).T
    center = usual + gain @ (mean[at] - usual)
    return Normal(at, center, *inverse_root(between - gain @ between + part.typical * scale))


def _views(population: Population, person: list[Normal]) -> tuple[Floats, Floats, Floats]:
    """Return `views`, `base` and `sizes` of a `Prepared`."""
    both = [*person, *population.everybody]
    moved = averages(population.layout)[0] / population.deviation[:, None]
    still = np.zeros(population.layout.columns)
    views = [*(fall.spread(len(still)) for fall in both), population.whitener, moved]
    base = [*(fall.center @ fall.root for fall in both), still, person[1].center @ moved]
    sizes = np.array([fall.size for fall in both])
    return np.concatenate(views, axis=1), np.concatenate(base), (sizes[:2] - sizes[2:]) / 2


def _nearest(apart: Floats, weights: Floats) -> float:
    """Return the mean distance of a person's samples to their nearest other sample."""
    among = apart[:, : len(apart)].copy()
    np.fill_diagonal(among, np.inf)
    return float(weights @ among.min(axis=1)) if len(among) > 1 else 0.0


def _weights(apart: Floats, weights: Floats, population: Population) -> tuple[Floats, Floats]:
    """Return `densities` and `alphas` of a `Prepared`."""
    count = len(apart)
    others = len(population.whitened)
    densities = np.zeros((count + others, 2))
    densities[:count, 0] = weights
    densities[count:, 1] = 1 / others
    solved = _classifier(apart, weights, population)
    alphas = np.zeros(count + others)
    alphas[:count] = solved[:count]
    alphas[count + population.kernel] = solved[count:]
    return densities, alphas


def _classifier(apart: Floats, weights: Floats, population: Population) -> Floats:
    """Return the weights of a kernel ridge classifier of these samples against the population.

    The population's block is inverted once; only its Schur complement depends on the person.
    """
    count = len(apart)
    kernel = np.exp(apart * (-KERNEL * SCALE / population.layout.columns))
    own = kernel[:, :count]
    across = kernel[:, count:]
    own[np.diag_indices_from(own)] += RIDGE / np.maximum(0.5 * weights, 1e-9)
    solver = population.solver
    drawn = across @ solver
    mine = np.linalg.solve(own - drawn @ across.T, 1.0 + drawn.sum(axis=1))
    return np.concatenate([mine, -solver.sum(axis=0) - mine @ drawn])


def _rhythm(layout: Layout, center: Floats) -> tuple[Floats, Floats]:
    """Return `level` and `rhythm` of a `Prepared`."""
    means, members = averages(layout)
    level = members @ (center @ means)
    rhythm = members * (center - level)[:, None]
    return level, rhythm / (np.sqrt((rhythm * rhythm).sum(axis=0)) + 1e-9)


@lru_cache(maxsize=256)
def averages(layout: Layout) -> tuple[Floats, Floats]:
    """Return the matrix that averages each kind except the gaps, (d, kinds), and its 0/1 mask."""
    members = np.array(
        [[kind == name for name in timing_kinds(layout)] for kind in layout.kinds], float
    )
    return members / members.sum(axis=0), members


def timing_kinds(layout: Layout) -> tuple[str, ...]:
    """Return the kinds reported separately; the gaps are derived from the others."""
    return tuple(kind for kind in layout.names if kind != GAP)


def names(layout: Layout) -> tuple[str, ...]:
    """Return the names of the statistics of a layout, in the order of `statistics`."""
    kinds = timing_kinds(layout)
    return (
        "plda",
        "plda_all",
        "kernel_wide",
        "kernel_narrow",
        "classifier",
        "own",
        "capped",
        "nearest",
        "common",
        "middle",
        "upper",
        "outliers",
        "beginner",
        "beginner_moved",
        "varies",
        "own_nearest",
        *(f"{what}_{kind}" for kind in kinds for what in ("capped", "shift", "moved")),
        *(f"rhythm_{kind}" for kind in kinds),
    )


_ALL: Final = 16
"""Number of statistics that belong to no kind."""


def statistics(prepared: Prepared, population: Population, rows: Floats) -> Floats:
    """Return the statistics (n, k) of samples (n, d)."""
    return measure(prepared, population, rows)[0]


def measure(prepared: Prepared, population: Population, rows: Floats) -> tuple[Floats, Floats]:
    """Return the statistics (n, k) and the deviations in scales (n, d), for the reasons."""
    columns = prepared.layout.columns
    kinds = prepared.rhythm.shape[1]
    even = prepared.layout.even(rows)
    scaled = prepared.own.scaled(even)
    normal = population.normal(rows)
    seen = normal @ prepared.views - prepared.base
    apart = distances(seen[:, -columns - kinds : -kinds], prepared.rows)
    found = np.empty((len(rows), _ALL + 4 * kinds))
    found[:, :2], found[:, 8] = _falls(seen, prepared)
    found[:, 2:4] = _kernels(apart, prepared)
    found[:, 4] = np.exp(apart * (-KERNEL * SCALE / columns)) @ prepared.alphas
    found[:, 5] = prepared.own.closeness(scaled)
    found[:, 7] = apart[:, : prepared.samples].min(axis=1) / columns
    deviation = np.abs(scaled)
    ordered = np.sort(deviation, axis=1)
    found[:, 6] = deviation.mean(axis=1)
    found[:, 9] = ordered[:, columns // 2]
    found[:, 10] = ordered[:, columns * 3 // 4]
    found[:, 11] = (deviation > CAP - 1).mean(axis=1)
    found[:, 12] = population.learning(normal)
    found[:, 13] = found[:, 12] - prepared.habits[0]
    found[:, 14] = prepared.habits[1]
    found[:, 15] = prepared.habits[2] / columns
    moved = seen[:, -kinds:]
    found[:, _ALL:-kinds:3] = deviation @ averages(prepared.layout)[0]
    found[:, _ALL + 1 : -kinds : 3] = np.abs(moved)
    found[:, _ALL + 2 : -kinds : 3] = moved
    found[:, -kinds:] = _agree(even, prepared)
    return found, scaled


def _falls(seen: Floats, prepared: Prepared) -> tuple[Floats, Floats]:
    """Return the mean log ratios of t densities (n, 2) and the typicality of a sample (n,)."""
    columns = prepared.layout.columns
    kept = (seen.shape[1] - prepared.rhythm.shape[1] - 3 * columns) // 2
    ends = (0, kept, kept + columns, 2 * kept + columns, 2 * (kept + columns))
    square = seen[:, : ends[-1]] ** 2
    tails = np.add.reduceat(np.log1p(square / FREEDOM), ends[:-1], axis=1)
    ratios = (tails[:, 2:] - tails[:, :2]) * ((FREEDOM + 1) / 2) - prepared.sizes
    return ratios / (kept, columns), square[:, ends[-2] :].sum(axis=1) * (-0.5 / columns)


def _kernels(apart: Floats, prepared: Prepared) -> Floats:
    """Return the log ratios of Laplacian kernel densities, the person's over anyone's."""
    least = apart.min(axis=1, keepdims=True)
    wide = np.exp((least - apart) * (_WIDTH * SCALE / prepared.layout.columns))
    narrow = np.square(np.square(wide))
    densities = np.stack([wide @ prepared.densities, narrow @ prepared.densities], axis=1)
    found = np.log(np.maximum(densities, _TINY))
    return np.asarray(found[..., 0] - found[..., 1])


def _agree(even: Floats, prepared: Prepared) -> Floats:
    """Return the correlation of a sample's rhythm with the usual one, by kind, (n, kinds)."""
    members = averages(prepared.layout)[1]
    count = members.sum(axis=0)
    moved = even - prepared.level
    spread = (moved * moved) @ members - (moved @ members) ** 2 / count
    found = (moved @ prepared.rhythm) / (np.sqrt(np.maximum(spread, 0.0)) + 1e-9)
    return np.where(count > 2, found, np.nan)  # noqa: PLR2004 - two values always correlate
