"""The learned head: one logistic regression for all people, calibrated on held-out people.

It weighs the statistics and the products of their principal components: a large distance in one
statistic means less if another is small.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from biometrics.behavior.layout import Floats

_EDGE: Final = 8.0
_BENT_EDGE: Final = 3.0
_ROUNDS: Final = 50
_BEND: Final = 0.3
"""Scale of the product inputs relative to the statistics; smaller values are shrunk more."""


@dataclass(kw_only=True, frozen=True)
class Head:
    """Weights over statistics.

    Args:
        center: Training mean of each statistic, (k,).
        scale: Training standard deviation of each statistic, (k,).
        weights: Nats per standard deviation, (k,).
        turn: Maps standardized statistics to principal components of unit spread, (k, c).
        curve: Symmetric weights of the products of components, (c, c).
        offset: Added to the sum.
        slope: Calibration factor of the sum.
        shift: Calibration offset, added after the slope.
    """

    center: Floats
    scale: Floats
    weights: Floats
    turn: Floats
    curve: Floats
    offset: float
    slope: float = 1.0
    shift: float = 0.0

    def terms(self, found: Floats) -> tuple[Floats, Floats]:
        """Return the nats of each statistic (n, k) and the nats of the joint terms (n,).

        A statistic that is NaN contributes nothing.
        """
        steady = _steady(found, self.center, self.scale)
        each = steady * (self.weights * self.slope)
        together = np.full(len(found), self.offset * self.slope + self.shift)
        if self.curve.size:
            bent = within(steady @ self.turn, _BENT_EDGE)
            together += ((bent @ self.curve) * bent).sum(axis=1) * self.slope
        return each, together

    def llr(self, found: Floats) -> Floats:
        """Return the log-likelihood ratios in nats, (n,)."""
        each, together = self.terms(found)
        return np.asarray(each.sum(axis=1) + together)

    def finite(self) -> bool:
        """Return whether every weight is finite."""
        numbers = [self.offset, self.slope, self.shift]
        arrays = (self.center, self.scale, self.weights, self.turn, self.curve)
        return all(bool(np.isfinite(part).all()) for part in (numbers, *arrays))


def within(values: Floats, most: float | Floats) -> Floats:
    """Clip values to -most..most; faster than `np.clip` on small arrays."""
    return np.asarray(np.minimum(np.maximum(values, -most), most))


def _steady(found: Floats, center: Floats, scale: Floats) -> Floats:
    steady = within((found - center) / scale, _EDGE)
    return np.where(np.isnan(steady), 0.0, steady)


def fit(found: Floats, genuine: Floats, weights: Floats, *, ridge: float, components: int) -> Head:
    """Fit the head by Newton's method, with equal total weight for genuine and impostor samples.

    Args:
        found: Statistics, (n, k).
        genuine: 1 for genuine samples, 0 for impostor samples, (n,).
        weights: Weight of each sample within its class.
        ridge: Penalty on the squared weights.
        components: Number of principal components that form products.
    """
    weights = balance(genuine, weights)
    known = np.nan_to_num(found)
    center = weights @ known
    scale = np.sqrt(weights @ (known - center) ** 2) + 1e-9
    steady = _steady(found, center, scale)
    turn = _components(steady, weights, components)
    bent = within(steady @ turn, _BENT_EDGE)
    left, right = np.triu_indices(turn.shape[1])
    inputs = [steady, _BEND * bent[:, left] * bent[:, right], np.ones((len(found), 1))]
    solved = _newton(np.concatenate(inputs, axis=1), genuine, weights, ridge)
    curve = np.zeros((turn.shape[1], turn.shape[1]))
    curve[left, right] = _BEND * solved[len(center) : -1]
    curve = (curve + curve.T) / 2
    return Head(
        center=center,
        scale=scale,
        weights=solved[: len(center)],
        turn=turn,
        curve=curve,
        offset=float(solved[-1]),
    )


def _components(steady: Floats, weights: Floats, count: int) -> Floats:
    """Return the map from standardized statistics to their principal components, (k, c)."""
    values, vectors = np.linalg.eigh((steady * weights[:, None]).T @ steady)
    count = min(count, len(values))
    return np.asarray((vectors / np.sqrt(np.maximum(values, 1e-3)))[:, ::-1][:, :count])


def balance(genuine: Floats, weights: Floats) -> Floats:
    """Scale sample weights so that each class has half of the total."""
    side = np.where(genuine > 0, weights @ genuine, weights @ (1 - genuine))
    return np.asarray(weights / (2 * np.maximum(side, 1e-12)))


def calibrate(scores: Floats, genuine: Floats, weights: Floats) -> tuple[float, float]:
    """Return the slope and shift that turn scores into log-likelihood ratios (Platt 1999)."""
    inputs = np.column_stack([scores, np.ones(len(scores))])
    slope, shift = _newton(inputs, genuine, balance(genuine, weights), 1e-6)
    return max(float(slope), 1e-3), float(shift)


def _newton(inputs: Floats, genuine: Floats, weights: Floats, ridge: float) -> Floats:
    solved = np.zeros(inputs.shape[1])
    penalty = np.full(inputs.shape[1], ridge)
    penalty[-1] = 0.0
    for _ in range(_ROUNDS):
        chance = 1 / (1 + np.exp(-np.clip(inputs @ solved, -30, 30)))
        slope = inputs.T @ (weights * (chance - genuine)) + penalty * solved
        curve = (inputs * (weights * chance * (1 - chance) + 1e-12)[:, None]).T @ inputs
        step = np.linalg.solve(curve + np.diag(penalty + 1e-9), slope)
        solved = solved - step
        if np.abs(step).max() < 1e-6:  # noqa: PLR2004 - no longer moves
            break
    return solved
