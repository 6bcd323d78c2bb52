"""The learned head: one logistic regression for everybody, calibrated on people it never saw."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from biometrics.behavior.layout import Floats

_EDGE: Final = 8.0
_ROUNDS: Final = 50
RIDGE: Final = 3e-3


@dataclass(frozen=True)
class Head:
    """Weights over statistics.

    Args:
        center: Mean of each statistic in training, (k,).
        scale: Its standard deviation, (k,).
        weights: In nats per standard deviation, (k,).
        offset: Added to the sum.
        slope: Calibration: the sum is multiplied by it, then
        shift: this is added.
    """

    center: Floats
    scale: Floats
    weights: Floats
    offset: float
    slope: float = 1.0
    shift: float = 0.0

    def terms(self, found: Floats) -> Floats:
        """Return the share of each statistic (n, k), in nats, before the constant."""
        steady = np.clip((found - self.center) / self.scale, -_EDGE, _EDGE)
        return np.asarray(steady * (self.weights * self.slope))

    @property
    def constant(self) -> float:
        """What is added to the terms."""
        return self.offset * self.slope + self.shift

    def llr(self, found: Floats) -> Floats:
        """Return log-likelihood ratios (n,)."""
        return np.asarray(self.terms(found).sum(axis=1) + self.constant)


def fit(found: Floats, genuine: Floats, weights: Floats, ridge: float = RIDGE) -> Head:
    """Fit by Newton's method, with genuine and impostor samples weighing the same together.

    Args:
        found: Statistics, (n, k).
        genuine: 1 for a genuine sample, 0 for an impostor's, (n,).
        weights: How much each counts among its side, (n,).
        ridge: Penalty on squared weights.
    """
    weights = balance(genuine, weights)
    center = weights @ found
    scale = np.sqrt(weights @ (found - center) ** 2) + 1e-9
    steady = np.clip((found - center) / scale, -_EDGE, _EDGE)
    solved = _newton(np.column_stack([steady, np.ones(len(found))]), genuine, weights, ridge)
    return Head(center, scale, solved[:-1], float(solved[-1]))


def balance(genuine: Floats, weights: Floats) -> Floats:
    """Return weights of which each side has half."""
    side = np.where(genuine > 0, weights @ genuine, weights @ (1 - genuine))
    return np.asarray(weights / (2 * np.maximum(side, 1e-12)))


def calibrate(scores: Floats, genuine: Floats, weights: Floats) -> tuple[float, float]:
    """Return slope and shift that make scores log-likelihood ratios (Platt 1999)."""
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
