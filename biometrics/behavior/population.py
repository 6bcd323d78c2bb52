"""Population statistics: spreads, means and covariances of each column, and sample vectors.

Columns are mapped to normal scores by their ranks in the population (knots of the distribution,
with shortened tails). In that space a person's samples scatter with the covariance `within`, a
person's mean varies from session to session with `drift`, and the means of people scatter with
`between` (two-covariance PLDA, Ioffe 2006, with the drift as a third covariance).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from biometrics.behavior.head import fit, within
from biometrics.behavior.layout import Floats, Ints, Layout

Real = TypeVar("Real", bound=np.floating[Any])
KNOTS: Final = 65
CLIP: Final = 4.5
SCALE: Final = 31.0
"""Number of columns for which the kernel widths are defined; they scale with the columns."""
KERNEL: Final = 0.02
"""Inverse width of the kernel classifier."""
RIDGE: Final = 2e-4
_AT_ONCE: Final = 8
_AT: Final = np.array([NormalDist().inv_cdf((at + 0.5) / KNOTS) for at in range(KNOTS)])
_EDGE: Final = 8
_SESSION: Final = 50
_SETTLED: Final = 100
"""Repetitions in the CMU data set after which a person no longer learns the text."""
_SHRINK_BETWEEN: Final = 0.6
_SHRINK_WITHIN: Final = 0.1
_BEGIN: Final = 10
"""Number of a person's first samples that count as a beginner's."""
_EARLY_RIDGE: Final = 3e-2
_EARLY: Final = 8
_LATER: Final = 16
_KERNEL_EARLY: Final = 2
_KERNEL_LATER: Final = 6
LAGS: Final = (0, 1, -1, None)
"""Offsets between two columns within their kinds: same, next, previous, farther."""


@dataclass(kw_only=True, frozen=True)
class Population:
    """Population statistics of one layout.

    Args:
        knots: Quantiles of each column, (d, 65), nondecreasing.
        mean: Mean of people's means in the normal space, (d,).
        between: Covariance of people's means, (d, d).
        within: Covariance of samples of one session, (d, d).
        drift: Covariance of session means of one person, (d, d).
        spread: Typical absolute deviation of each raw column for one person, (d,).
        background: Samples of many people in the normal space, (m, d).
        kernel: Indices of the background samples used by the kernel classifier.
        early: Weights that recognize a person who is still learning the text: of the deviations
            from the mean and of their absolute values, (2, d).
    """

    layout: Layout
    knots: Floats
    mean: Floats
    between: Floats
    within: Floats
    drift: Floats
    spread: Floats
    background: Floats
    kernel: Ints
    early: Floats

    @cached_property
    def kept(self) -> Ints:
        """The columns that are not derived from others."""
        return self.layout.kept

    @cached_property
    def typical(self) -> Floats:
        """The covariance of one person's samples over sessions, (d, d)."""
        return self.within + self.drift

    @cached_property
    def whitener(self) -> Floats:
        """The symmetric inverse square root of `typical`."""
        return inverse_root(self.typical)[0]

    @cached_property
    def whitened(self) -> Floats:
        """The whitened background, (m, d)."""
        return self.background @ self.whitener

    @cached_property
    def chosen(self) -> Floats:
        """The part of the whitened background that the kernel classifier uses."""
        return self.whitened[self.kernel]

    @cached_property
    def apart(self) -> Floats:
        """The pairwise L1 distances of `chosen`."""
        return distances(self.chosen, self.chosen)

    @cached_property
    def solver(self) -> Floats:
        """The inverse of the population's own block of the kernel classifier's matrix."""
        kernel = np.exp(self.apart * (-KERNEL * SCALE / self.layout.columns))
        kernel[np.diag_indices_from(kernel)] += RIDGE * 2 * len(kernel)
        return np.linalg.inv(kernel)

    @cached_property
    def parts(self) -> tuple["ColumnModel", "ColumnModel"]:
        """The covariances of the stored columns and of all columns."""
        found = []
        for at in (self.kept, np.arange(self.layout.columns)):
            pick = np.ix_(at, at)
            found.append(ColumnModel(at, self.between[pick], self.drift[pick], self.typical[pick]))
        return found[0], found[1]

    @cached_property
    def deviation(self) -> Floats:
        """Standard deviations of one person's samples over sessions, (d,)."""
        return np.sqrt(np.diag(self.typical))

    @cached_property
    def everybody(self) -> tuple["Normal", "Normal"]:
        """The distribution of samples of any person, for the stored columns and for all."""
        kept, every = (
            Normal(part.at, self.mean[part.at], *inverse_root(part.between + part.typical))
            for part in self.parts
        )
        return kept, every

    @cached_property
    def _steps(self) -> Floats:
        """The knots, transposed so that counting along the first axis adds whole rows."""
        return np.ascontiguousarray(self.knots.T)[:, None]

    @cached_property
    def _pieces(self) -> tuple[Floats, Floats, Floats, Ints]:
        """The segments of the map to the normal space: start, value there, slope, first index.

        The first segment extends to minus infinity, the last (whose tail is shortened) to infinity.
        """
        low = (_AT[_EDGE] - _AT[0]) / (self.knots[:, _EDGE] - self.knots[:, 0])
        high = (_AT[-1] - _AT[-1 - _EDGE]) / (self.knots[:, -1] - self.knots[:, -1 - _EDGE])
        inside = np.diff(_AT) / np.diff(self.knots, axis=1)
        slope = np.concatenate([low[:, None], inside, high[:, None]], axis=1)
        start = np.concatenate([self.knots[:, :1], self.knots], axis=1)
        height = np.tile(np.concatenate([_AT[:1], _AT]), (len(low), 1))
        first = np.arange(len(low)) * (KNOTS + 1)
        return start.ravel(), height.ravel(), slope.ravel(), first

    def normal(self, rows: Floats) -> Floats:
        """Map rows (n, d) to the normal space; NaN becomes the mean."""
        start, height, slope, first = self._pieces
        piece = (rows >= self._steps).sum(axis=0, dtype=np.uint8)
        at = first + piece
        part = (rows - start[at]) * slope[at]
        part = np.where(piece == KNOTS, np.log1p(np.maximum(part, 0.0)), part)
        return np.where(np.isnan(rows), self.mean, within(height[at] + part, CLIP))

    def learning(self, normal: Floats) -> Floats:
        """Return how much samples (n, d) in the normal space resemble a beginner's, (n,)."""
        away = normal - self.mean
        return np.asarray(away @ self.early[0] + np.abs(away) @ self.early[1]) / len(self.mean)


@dataclass(frozen=True)
class ColumnModel:
    """Covariances of the population for some of its columns.

    Args:
        at: Indices of the columns, (k,).
        between: Covariance of people's means, (k, k).
        drift: Covariance of one person's means over sessions, (k, k).
        typical: Covariance of one person's samples over sessions, (k, k).
    """

    at: Ints
    between: Floats
    drift: Floats
    typical: Floats


@dataclass(frozen=True)
class Normal:
    """A normal distribution over some columns.

    Args:
        at: Indices of the columns, (k,).
        center: Its mean, (k,).
        root: Inverse root of its covariance, (k, k).
        size: Logarithm of the determinant.
    """

    at: Ints
    center: Floats
    root: Floats
    size: float

    def spread(self, columns: int) -> Floats:
        """Return `root` with zero rows for the other columns, (columns, k)."""
        found = np.zeros((columns, len(self.at)))
        found[self.at] = self.root
        return found


def inverse_root(matrix: Floats) -> tuple[Floats, float]:
    """Return the symmetric inverse square root and the logarithm of the determinant."""
    values, vectors = np.linalg.eigh(matrix)
    values = np.maximum(values, 1e-6)
    return (vectors / np.sqrt(values)) @ vectors.T, float(np.log(values).sum())


def distances(left: npt.NDArray[Real], right: npt.NDArray[Real]) -> npt.NDArray[Real]:
    """Return the L1 distances of rows (n, d) and (m, d), in their precision."""
    ones = np.ones(left.shape[1], left.dtype)
    found = np.empty((len(left), len(right)), left.dtype)
    # A few rows at a time, so that the intermediate array stays in the cache of the core.
    room = np.empty((min(_AT_ONCE, len(left)), *right.shape), left.dtype)
    for start in range(0, len(left), _AT_ONCE):
        some = left[start : start + _AT_ONCE, None]
        apart = np.subtract(some, right, out=room[: len(some)])
        np.matmul(np.abs(apart, out=apart), ones, out=found[start : start + _AT_ONCE])
    return found


def positive(matrix: Floats, least: float = 1e-3) -> Floats:
    """Raise the eigenvalues of a matrix to at least a share of the largest."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return np.asarray((vectors * np.maximum(values, least * values.max())) @ vectors.T)


def relations(layout: Layout) -> dict[tuple[str, str, int], Floats]:
    """Return masks (d, d) of the pairs of columns in each relation (kinds and offset)."""
    kinds = np.array(layout.kinds)
    places = layout.places
    apart = places[:, None] - places[None]
    found = {}
    for left in layout.names:
        for right in layout.names:
            both = (kinds[:, None] == left) & (kinds[None] == right)
            for number, lag in enumerate(LAGS):
                near = np.abs(apart) > 1 if lag is None else apart == lag
                found[left, right, number] = both & near
    return found


def structured(matrix: Floats, layout: Layout) -> Floats:
    """Average each correlation of a covariance over the pairs in the same relation."""
    if not layout.timed:
        return np.diag(np.diag(matrix))
    sigma = np.sqrt(np.diag(matrix))
    correlation = matrix / np.outer(sigma, sigma)
    found: Floats = np.zeros_like(matrix)
    for mask in relations(layout).values():
        if mask.any():
            found[mask] = correlation[mask].mean()
    np.fill_diagonal(found, 1.0)
    return np.asarray(found * np.outer(sigma, sigma))


def knots_of(rows: Floats) -> Floats:
    """Return the strictly increasing knots (d, 65) of rows (n, d)."""
    found: Floats = np.nanquantile(rows, (np.arange(KNOTS) + 0.5) / KNOTS, axis=0).T
    span = np.maximum(found[:, -1] - found[:, 0], 1e-6)
    found = found + span[:, None] * 1e-5 * np.arange(KNOTS)
    return np.asarray(np.maximum.accumulate(found, axis=1))


def learn_population(
    layout: Layout,
    people: Sequence[Floats],
    *,
    session: int = _SESSION,
    settled: int = _SETTLED,
    seed: int = 0,
) -> Population:
    """Estimate the statistics from people who all gave samples of one layout.

    Args:
        layout: The columns.
        people: One array (n, d) per person, in order of time.
        session: Number of samples per session, to estimate the drift between sessions.
        settled: Number of samples after which a person is used to the text.
        seed: Seed of the choice of background samples.
    """
    blank = np.zeros(layout.columns)
    square = np.eye(layout.columns)
    picked = np.zeros(0, dtype=np.intp)
    base = Population(
        layout=layout,
        knots=knots_of(np.concatenate(people)),
        mean=blank,
        between=square,
        within=square,
        drift=square,
        spread=blank,
        background=np.zeros((0, layout.columns)),
        kernel=picked,
        early=np.zeros((2, layout.columns)),
    )
    normal = [base.normal(rows) for rows in people]
    means = np.array([_center(rows[min(settled, len(rows) // 4) :]) for rows in normal])
    within, drift = _scatter(normal, session)
    between = np.cov(means.T) - drift / max(2, len(normal[0]) // session)
    background, kernel = _background(normal, seed)
    between = positive(between)
    mean = means.mean(axis=0)
    return Population(
        layout=layout,
        knots=base.knots,
        mean=mean,
        between=positive(_toward(between, layout, _SHRINK_BETWEEN)),
        within=(1 - _SHRINK_WITHIN) * within + _SHRINK_WITHIN * np.diag(np.diag(within)),
        drift=positive(_toward(drift, layout, 0.3)),
        spread=_spread(people),
        background=background,
        kernel=kernel,
        early=_early([rows - mean for rows in normal], settled),
    )


def _early(people: Sequence[Floats], settled: int) -> Floats:
    """Fit weights that tell a person's first samples (n, d) from those after learning the text."""
    if not settled:
        return np.zeros((2, people[0].shape[1]))
    first = [rows[:_BEGIN] for rows in people]
    later = [rows[min(settled, len(rows) // 2) + settled // 2 :: _BEGIN] for rows in people]
    rows = np.concatenate([*first, *later])
    begins = np.repeat([1.0, 0.0], [sum(map(len, first)), sum(map(len, later))])
    inputs = np.concatenate([rows, np.abs(rows)], axis=1)
    found = fit(inputs, begins, np.ones(len(rows)), ridge=_EARLY_RIDGE, components=0)
    return np.asarray(found.weights / found.scale * rows.shape[1]).reshape(2, -1)


def _center(rows: Floats) -> Floats:
    return np.asarray((np.median(rows, axis=0) + rows.mean(axis=0)) / 2)


def _toward(matrix: Floats, layout: Layout, share: float) -> Floats:
    return (1 - share) * matrix + share * structured(matrix, layout)


def _scatter(normal: Sequence[Floats], session: int) -> tuple[Floats, Floats]:
    """Return the covariances within a session and between sessions of one person."""
    residuals = []
    shifts = []
    for rows in normal:
        parts = [rows[at : at + session] for at in range(0, len(rows), session)]
        parts = [part for part in parts if len(part) > session // 2 or len(parts) == 1]
        residuals += [part - part.mean(axis=0) for part in parts]
        centers = np.array([part.mean(axis=0) for part in parts])
        late = centers[min(3, len(centers) - 1) :]
        if len(late) > 1:
            shifts.append((late - late.mean(axis=0)) * np.sqrt(len(late) / (len(late) - 1)))
    rest = np.concatenate(residuals)
    edge = 2.5 * rest.std(axis=0)
    within = np.cov(np.clip(rest, -edge, edge).T)
    if not shifts:
        return within, 0.2 * within
    moved = np.concatenate(shifts)
    drift: Floats = moved.T @ moved / len(moved)
    return within, drift


def _spread(people: Sequence[Floats]) -> Floats:
    each = [np.nanmedian(np.abs(rows - np.nanmedian(rows, axis=0)), axis=0) for rows in people]
    return np.asarray(np.maximum(np.median(each, axis=0) * 1.2, 1e-4))


def _background(normal: Sequence[Floats], seed: int) -> tuple[Floats, Ints]:
    """Choose background samples of each person: some of the first, more of the later ones."""
    random = np.random.default_rng(seed)
    rows: list[Floats] = []
    kernel: list[int] = []
    for person in normal:
        split = max(1, min(_SESSION, len(person) // 3))
        early = random.choice(split, min(_EARLY, split), replace=False)
        late = split + random.choice(
            len(person) - split, min(_LATER, len(person) - split), replace=False
        )
        first = len(rows) + np.arange(min(_KERNEL_EARLY, len(early)))
        then = len(rows) + len(early) + np.arange(min(_KERNEL_LATER, len(late)))
        kernel += [*first.tolist(), *then.tolist()]
        rows += [*person[early], *person[late]]
    return np.array(rows), np.array(kernel, dtype=np.intp)
