"""Detect pointer movements that a program made and no hand makes.

Lines along an axis or a diagonal are not counted: keys that move the pointer (Mouse Keys, for
people who cannot hold a mouse) draw them, exactly straight and at one speed. Nor are clicks
without any move: touch, switches and voice control produce them.
"""

from functools import lru_cache
from typing import Final

import numpy as np

from biometrics.behavior.layout import Floats
from biometrics.behavior.strokes import Places, Strokes, Trail

JUMP: Final = "scripted_jump"
LINE: Final = "scripted_line"
EVEN: Final = "scripted_even"
CURVE: Final = "scripted_curve"
FAR: Final = 30.0
"""Pixels from the last move to a press; with a real hand the press is at the pointer."""
_LONG: Final = 150.0
"""Pixels from begin to end below which a stroke is not tested."""
_CURVED: Final = 200.0
_POINTS: Final = 8
_CURVE_POINTS: Final = 12
_OFF_LINE: Final = 1.5
"""Pixels of deviation from a line that rounding can cause, including that of the ends."""
_OFF_CURVE: Final = 1.0
"""Pixels of deviation from a curve that rounding can cause after the fit."""
_OFF_STEP: Final = 2.0
"""Pixels of deviation of a step's length that rounding can cause."""
_LEAST_STEP: Final = 3.0
_KEYS: Final = 0.9
"""Share of steps along an axis or a diagonal from which Mouse Keys may have made them."""


def scripted(of: Trail, found: Strokes) -> str | None:
    """Return the code of a scripted movement, or None if there is no sign of one.

    More than half of the strokes that are long enough to test must be scripted.
    """
    if len(of.down) and _jumped(of):
        return JUMP
    named = [
        _named(found.at[first : last + 1], reach)
        for first, last, reach in zip(
            found.first.tolist(), found.last.tolist(), found.reach.tolist(), strict=True
        )
        if reach >= _LONG and last - first + 1 >= _POINTS
    ]
    found_names = [name for name in named if name]
    return found_names[0] if len(found_names) * 2 > len(named) else None


def _jumped(of: Trail) -> bool:
    """Return whether every press was far from the position of the move before it."""
    moves = np.ones(len(of.t), dtype=bool)
    moves[of.down] = moves[of.up] = False
    at = np.flatnonzero(moves)
    before = at[np.maximum(np.searchsorted(at, of.down) - 1, 0)]
    return bool((np.abs(of.at[of.down] - of.at[before]) > FAR).all())


def _named(points: Places, reach: float) -> str | None:
    step = points[1:] - points[:-1]
    moves = int(np.flatnonzero(step)[-1]) + 1
    points = points[: moves + 1]
    step = step[:moves]
    if moves < _POINTS or _by_keys(step):
        return None
    turned = (points - points[0]) * ((points[-1] - points[0]).conjugate() / reach)
    if np.abs(turned.imag).max() <= _OFF_LINE:
        return LINE
    if _even(np.abs(step[1:-1])):
        return EVEN
    if reach >= _CURVED and moves >= _CURVE_POINTS and _off(points) <= _OFF_CURVE:
        return CURVE
    return None


def _by_keys(step: Places) -> bool:
    across = np.abs(step.real)
    along = np.abs(step.imag)
    return bool(((across == 0) | (along == 0) | (across == along)).mean() >= _KEYS)


def _even(length: Floats) -> bool:
    """Return whether all steps but the first and last have the same length, up to rounding."""
    middle = float(np.sort(length)[len(length) // 2])
    return middle >= _LEAST_STEP and bool(np.abs(length - middle).max() <= _OFF_STEP)


def _off(points: Places) -> float:
    """Return the maximum deviation of points from the best cubic through them, at even steps."""
    basis = _cubics(len(points))
    left = points - basis @ (basis.T @ points)
    return float(max(np.abs(left.real).max(), np.abs(left.imag).max()))


@lru_cache(maxsize=512)
def _cubics(count: int) -> Floats:
    """Return an orthonormal basis of the cubics at that many even steps, (count, 4)."""
    return np.linalg.qr(np.vander(np.linspace(-1.0, 1.0, count), 4))[0]
