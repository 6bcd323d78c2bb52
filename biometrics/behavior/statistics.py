"""Statistics of one sample against one profile: what the learned head weighs.

A `Prepared` holds all that depends on the profile only, so that a score is a few products. The
statistics are averages over columns, so that one head serves texts of any length.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from biometrics.behavior.layout import GAP, HOLD, PRESS, WORDS, Floats, Ints, Layout
from biometrics.behavior.population import Population, distances, inverse_root
from biometrics.behavior.profile import Profile, recency

FREEDOM: Final = 4.0
"""Degrees of freedom of the heavy tails (Student's t)."""
CAP: Final = 4.0
"""Scales after which a column counts no further."""
PRIOR: Final = 12.0
"""Samples that the population's spread counts as, beside a person's own."""
_POWER: Final = 0.7
_OWN_PRIOR: Final = 6.0
_SCALE: Final = 31.0
_WIDTHS: Final = (0.05, 0.2)
_KERNEL: Final = 0.02
_RIDGE: Final = 2e-4
_OWN_WIDTH: Final = 0.3
_OWN_SHRINK: Final = 0.7
_RECENT: Final = 60
Tail = tuple[Floats, Floats, float]


@dataclass(frozen=True)
class Own:
    """What a person's own samples tell, without anybody else's.

    Args:
        center: Median of each column, in `Layout.even`.
        scale: Mean absolute deviation of each column.
        turn: Partly whitens the scaled columns, (d, d).
        rows: The samples: scaled, capped, turned; (m, d).
        weights: Recency, summing to one.
    """

    center: Floats
    scale: Floats
    turn: Floats
    rows: Floats
    weights: Floats

    def scaled(self, even: Floats) -> Floats:
        """Return deviations in scales, capped."""
        return np.clip((even - self.center) / self.scale, -CAP, CAP)

    def closeness(self, scaled: Floats) -> Floats:
        """Return the logarithm of a Laplacian kernel density at scaled rows (n, d); (n,)."""
        apart = distances(scaled @ self.turn, self.rows) * (_OWN_WIDTH * _SCALE / scaled.shape[1])
        least = apart.min(axis=1)
        return np.asarray(np.log(np.exp(least[:, None] - apart) @ self.weights) - least)


@dataclass(frozen=True)
class Prepared:
    """A profile made ready to be compared with.

    Args:
        samples: How many the profile holds.
        tails: Where and how the person's next sample should fall, among the kept columns and
            among all: mean, inverse root of the covariance, logarithm of its determinant.
        rows: The samples in the whitened space, (m, d).
        alphas: Weights of the kernel classifier: the samples' and the population's.
        shift_scale: Spread of each column in the normal space.
    """

    layout: Layout
    samples: int
    total: int
    own: Own
    tails: tuple[Tail, Tail]
    rows: Floats
    weights: Floats
    alphas: Floats
    mean: Floats
    shift_scale: Floats


def prepare_own(profile: Profile, spread: Floats | None = None) -> Own:
    """Return the own-samples part; a population's spread, where there is one, steadies it."""
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
    rows = np.clip((even - center) / scale, -CAP, CAP)
    turn = _half_whitener(rows)
    return Own(center, scale, turn, rows @ turn, recency(count))


def _half_whitener(rows: Floats) -> Floats:
    """Return a whitener of correlations shrunk towards none; the fewer samples, the more."""
    square = np.eye(rows.shape[1])
    spread = rows.std(axis=0)
    if len(rows) < 2 * rows.shape[1] // 3 or not spread.all():
        return square
    correlation = np.corrcoef(rows.T)
    return inverse_root((1 - _OWN_SHRINK) * correlation + _OWN_SHRINK * square)[0]


def prepare(profile: Profile, population: Population, even_spread: Floats) -> Prepared:
    """Make a profile ready; `even_spread` is the population's spread in `Layout.even`."""
    normal = population.normal(profile.rows)
    weights = recency(len(normal))
    effective = 1.0 / float((weights**2).sum())
    typical = np.sqrt(np.diag(population.within))
    middle = np.median(normal[-_RECENT:], axis=0)
    steady = middle + np.clip(normal - middle, -3 * typical, 3 * typical)
    mean = weights @ steady
    ratio = _ratio(steady, weights, mean, effective, typical)
    kept, every = population.kept, np.arange(population.layout.columns)
    tails = tuple(_tail(population, at, mean, ratio, effective) for at in (kept, every))
    whitened = normal @ population.whitener
    return Prepared(
        layout=profile.layout, samples=len(normal), total=profile.total,
        own=prepare_own(profile, even_spread), tails=(tails[0], tails[1]), rows=whitened,
        weights=weights, alphas=_alphas(whitened, weights, population), mean=tails[1][0],
        shift_scale=np.sqrt(np.diag(population.typical)),
    )  # fmt: skip


def _ratio(
    steady: Floats, weights: Floats, mean: Floats, effective: float, typical: Floats
) -> Floats:
    """Return each column's spread over the population's, steadied by the population."""
    spread = weights @ (steady - mean) ** 2 * effective / max(effective - 1, 1)
    variance = (PRIOR * typical**2 + effective * spread) / (PRIOR + effective)
    return np.asarray((variance / typical**2) ** (_POWER / 2))


def _tail(population: Population, at: Ints, mean: Floats, ratio: Floats, effective: float) -> Tail:
    """Return the predictive distribution of the person's next sample among some columns."""
    pick = np.ix_(at, at)
    scale = np.outer(ratio[at], ratio[at])
    within, drift, between = (
        matrix[pick] for matrix in (population.within, population.drift, population.between)
    )
    noise = within * scale / effective + drift
    gain = np.linalg.solve(between + noise, between).T
    center = population.mean[at] + gain @ (mean[at] - population.mean[at])
    root, size = inverse_root(between - gain @ between + (within + drift) * scale)
    return center, root, size


def _alphas(rows: Floats, weights: Floats, population: Population) -> Floats:
    """Return the weights of a kernel ridge classifier: these samples against the population."""
    width = _KERNEL * _SCALE / rows.shape[1]
    across = np.exp(-width * distances(rows, population.chosen))
    among = np.exp(-width * distances(rows, rows))
    everybody = np.exp(-width * population.apart)
    kernel = np.block([[among, across], [across.T, everybody]])
    count = len(population.chosen)
    share = np.concatenate([0.5 * weights, np.full(count, 0.5 / count)])
    target = np.concatenate([np.ones(len(rows)), -np.ones(count)])
    kernel[np.diag_indices_from(kernel)] += _RIDGE / np.maximum(share, 1e-9)
    return np.asarray(np.linalg.solve(kernel, target))


def names(layout: Layout) -> tuple[str, ...]:
    """Return the names of the statistics of a layout, in the order of `statistics`."""
    kinds = [kind for kind in layout.names if kind != GAP]
    return (
        "plda", "plda_all", "kernel_wide", "kernel_narrow", "classifier", "own", "capped",
        "nearest", "common", "middle", "upper", "outliers",
        *(f"{what}_{kind}" for kind in kinds for what in ("capped", "shift", "moved")),
        *(f"rhythm_{kind}" for kind in kinds if len(layout.of(kind)) > 2),  # noqa: PLR2004 - two always agree
    )  # fmt: skip


def statistics(prepared: Prepared, population: Population, rows: Floats) -> Floats:
    """Return the statistics (n, k) of samples (n, d)."""
    layout = prepared.layout
    normal = population.normal(rows)
    even = layout.even(rows)
    scaled = prepared.own.scaled(even)
    whitened = normal @ population.whitener
    columns = layout.columns
    own, others = distances(whitened, prepared.rows), distances(whitened, population.whitened)
    deviation = np.abs(scaled)
    ordered = np.sort(deviation, axis=1)
    common = _common(normal, population)
    found = [
        *(_plda(normal, prepared, population, at) for at in (0, 1)),
        *(_kernel(own, others, prepared.weights, width * _SCALE / columns) for width in _WIDTHS),
        _classify(own, others, prepared, population, _KERNEL * _SCALE / columns),
        prepared.own.closeness(scaled),
        deviation.mean(axis=1),
        own.min(axis=1) / columns,
        common / columns,
        ordered[:, columns // 2],
        ordered[:, columns * 3 // 4],
        (deviation > CAP - 1).mean(axis=1),
    ]
    moved = (normal - prepared.mean) / prepared.shift_scale
    for kind, at in layout.slices.items():
        if kind != GAP:
            shift = moved[:, at].mean(axis=1)
            found += [deviation[:, at].mean(axis=1), np.abs(shift), shift]
    for kind, at in layout.slices.items():
        if kind != GAP and at.stop - at.start > 2:  # noqa: PLR2004 - two always agree
            found.append(_agree(even[:, at], prepared.own.center[at]))
    return np.stack(found, axis=1)


def _log_tails(turned: Floats, size: float) -> Floats:
    """Return log densities of independent t columns, less their common constant; (n,)."""
    spread = -(FREEDOM + 1) / 2 * np.log1p(turned * turned / FREEDOM).sum(axis=1)
    return np.asarray(spread - size / 2)


def _common(normal: Floats, population: Population) -> Floats:
    turned = (normal - population.mean) @ population.everybody[1][1]
    return np.asarray(-0.5 * (turned * turned).sum(axis=1))


def _plda(normal: Floats, prepared: Prepared, population: Population, which: int) -> Floats:
    at = population.kept if which == 0 else slice(None)
    part = normal[:, at]
    center, root, size = prepared.tails[which]
    general, general_root, general_size = population.everybody[which]
    person = _log_tails((part - center) @ root, size)
    anybody = _log_tails((part - general) @ general_root, general_size)
    return np.asarray((person - anybody) / len(center))


def _kernel(own: Floats, others: Floats, weights: Floats, width: float) -> Floats:
    """Return the log ratio of Laplacian kernel densities: this person's over everybody's."""
    near, far = own.min(axis=1), others.min(axis=1)
    person = np.log(np.exp(width * (near[:, None] - own)) @ weights) - width * near
    anybody = np.log(np.exp(width * (far[:, None] - others)).mean(axis=1)) - width * far
    return np.asarray(person - anybody)


def _classify(
    own: Floats, others: Floats, prepared: Prepared, population: Population, width: float
) -> Floats:
    count = own.shape[1]
    person = np.exp(-width * own) @ prepared.alphas[:count]
    anybody = np.exp(-width * others[:, population.kernel]) @ prepared.alphas[count:]
    return np.asarray(person + anybody)


def _agree(rows: Floats, center: Floats) -> Floats:
    """Return the correlations of rows (n, d) with a center (d,)."""
    left = rows - rows.mean(axis=1, keepdims=True)
    right = center - center.mean()
    size = np.sqrt((left * left).sum(axis=1) * (right @ right)) + 1e-9
    return np.asarray(left @ right / size)


def deviations(prepared: Prepared, row: Floats) -> dict[str, float]:
    """Return by kind how many scales a sample (d,) lies from what is usual: mean, with its sign."""
    scaled = prepared.own.scaled(prepared.layout.even(row[None]))[0]
    return {
        kind: float(scaled[at].mean())
        for kind, at in prepared.layout.slices.items()
        if kind in WORDS and kind != GAP
    }


TIMED: Final = (HOLD, PRESS)
"""Kinds that are times: more is longer."""
