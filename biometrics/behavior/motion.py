"""Convert a motion series to columns: how a telephone is held, shaken and turned.

The series are those a browser provides while the password is typed: acceleration including
gravity (m/s²) and rotation rate (degrees per second), x to the right of the screen, y to its top,
z out of it (W3C DeviceOrientation). They contain no compass and no angle about the vertical.

All spreads are of means over 100 ms, so that the sensor rate hardly matters. Spreads are natural
logarithms relative to a typical size; angles are in units of a typical difference between people.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from biometrics.behavior.features import NotScored, Vector
from biometrics.behavior.layout import Floats, Layout

LEAST_HZ: Final = 20.0
"""Rate below which means over 100 ms differ from those of a faster sensor."""
LEAST_SECONDS: Final = 0.5
FEWEST: Final = 10
WINDOW: Final = 0.1
"""Seconds averaged in each mean."""
HOP: Final = 0.05
GRAVITY: Final = 9.80665
_OFF: Final = 2.0
"""Tolerance of the mean acceleration's length; half a second of walking can reach it."""
_NO_GRAVITY: Final = 0.5
_MOST_ACC: Final = 160.0
"""Sixteen g, the largest range of a telephone's sensor."""
_MOST_ROT: Final = 4000.0
PITCH: Final = 15.0
"""Degrees per unit of the first column."""
ROLL: Final = 6.0
USUAL_PITCH: Final = 45.0
USUAL_ACC: Final = 0.3
USUAL_ROT: Final = 8.0
USUAL_JERK: Final = 0.2
"""Typical spread of the change of acceleration between consecutive non-overlapping means."""
USUAL_TURN: Final = 6.0
_LEAST: Final = 0.01
"""Share of a typical spread below which no hand holds the device: only sensor noise is left."""


@dataclass(frozen=True)
class Series:
    """Motion sensor readings of a telephone.

    Args:
        hz: Readings per second.
        acc: Acceleration including gravity, m/s², one (x, y, z) per reading.
        rot: Rotation rate, degrees per second, one triple per reading.
    """

    hz: float
    acc: Sequence[Sequence[float]]
    rot: Sequence[Sequence[float]]


def motion(series: Series) -> Vector:
    """Return the features of how a telephone was held, shaken and turned; raises NotScored."""
    if len(series.acc) != len(series.rot):
        raise NotScored("lengths_differ")
    if series.hz < LEAST_HZ:
        raise NotScored("rate_too_low")
    if len(series.acc) < FEWEST or (len(series.acc) - 1) / series.hz < LEAST_SECONDS:
        raise NotScored("too_short")
    acc = np.asarray(series.acc, dtype=np.float64)
    rot = np.asarray(series.rot, dtype=np.float64)
    if not np.ptp(acc, axis=0).any() or not np.ptp(rot, axis=0).any():
        raise NotScored("sensor_constant")
    _possible(acc, rot)
    moved = steady(acc, series.hz)
    turned = steady(rot, series.hz)
    apart = round(WINDOW / HOP)
    jerk = moved[apart:] - moved[:-apart]
    swing = turned[apart:] - turned[:-apart]
    moves = [
        *spreads(spread(moved), USUAL_ACC),
        *spreads(jerk.std(axis=0), USUAL_JERK),
        *spreads(spread(turned), USUAL_ROT),
        *spreads(lengths(turned).mean(), USUAL_ROT),
        *spreads(swing.std(axis=0), USUAL_TURN),
    ]
    if min(moves) <= np.log(_LEAST):
        raise NotScored("lies_still")
    return Vector(Layout.motion(), np.array([*angles(acc.mean(axis=0)), *moves]))


def _possible(acc: Floats, rot: Floats) -> None:
    length = float(np.linalg.norm(acc.mean(axis=0)))
    if length < _NO_GRAVITY:
        raise NotScored("gravity_missing")
    beyond = np.abs(acc).max() > _MOST_ACC or np.abs(rot).max() > _MOST_ROT
    if beyond or abs(length - GRAVITY) > _OFF:
        raise NotScored("unknown_units")


def steady(values: Floats, hz: float) -> Floats:
    """Resample values (n, 3) of any rate from 20 Hz to means (m, 3) over 100 ms, every 50 ms."""
    at = np.arange(len(values)) / hz
    steps = (values[1:] + values[:-1]) / (2 * hz)
    summed = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(steps, axis=0)])
    begin = np.arange(0.0, at[-1] - WINDOW + 1e-9, HOP)
    mean = [
        (np.interp(begin + WINDOW, at, axis) - np.interp(begin, at, axis)) / WINDOW
        for axis in summed.T
    ]
    return np.stack(mean, axis=1)


def angles(gravity: Floats) -> tuple[float, float]:
    """Return pitch and roll of a telephone, in typical units, from its gravity vector (3,)."""
    across, along, out = gravity.tolist()
    pitch = np.degrees(np.arctan2(along, out))
    roll = np.degrees(np.arctan2(across, np.hypot(along, out)))
    return float(pitch - USUAL_PITCH) / PITCH, float(roll) / ROLL


def lengths(values: Floats) -> Floats:
    """Return the lengths (n,) of vectors (n, 3)."""
    return np.asarray(np.linalg.norm(values, axis=1))


def spread(values: Floats) -> Floats:
    """Return the standard deviations of the length and of each axis, (4,)."""
    return np.concatenate([[lengths(values).std()], values.std(axis=0)])


def spreads(found: Floats | float, usual: float) -> Floats:
    """Return the natural logarithms of spreads relative to the typical one."""
    return np.log(np.maximum(np.atleast_1d(found) / usual, _LEAST))
