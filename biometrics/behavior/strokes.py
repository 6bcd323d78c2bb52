"""The trail of a pointer and the strokes it is made of.

Positions are in CSS pixels of the page, times in ms. A stroke ends where the hand rests for more
than 200 ms, where a button is pressed, and where the pointer is set elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from biometrics.behavior.features import COARSE_MS, NotScored, coarse
from biometrics.behavior.layout import Floats, Ints

Event = tuple[float, float, float, str]
"""Time in ms, x, y, and `move`, `down` or `up`."""
Places = npt.NDArray[np.complex128]
"""Positions in a plane, x + iy."""
REST_MS: Final = 200.0
"""Time without an event after which a stroke is over; slow mice tell every 110 ms."""
GRID_MS: Final = 25.0
"""Time that a rest counts on the clock of the strokes, and from look to look."""
FEWEST_MOVES: Final = 10
LEAST_STROKE: Final = 30.0
"""Pixels of path below which a stroke is none: a hand that trembles, or lies down."""
_FEWEST_POINTS: Final = 3
_FASTEST: Final = 40.0
"""Pixels a ms above which, over `_FAR`, nobody moved: the pointer was set elsewhere."""
_FAR: Final = 300.0
_SOON: Final = 4.0
_FEW_JUMPS: Final = 2


@dataclass(frozen=True)
class Trail:
    """What the pointer did, one entry an event.

    Args:
        t: Times in ms, never falling, (n,).
        at: Positions, x + iy, (n,).
        down: Which events press a button, and `up`: which let it go.
    """

    t: Floats
    at: Places
    down: Ints
    up: Ints


@dataclass(frozen=True)
class Strokes:
    """The movements of a trail, those long enough to tell something.

    Args:
        t: Times in ms of the points, one for each moment, and `at`: where, (m,).
        first: First point of each stroke, and `last`: its last one, (s,).
        path: Length of each way in pixels, and `reach`: from its begin to its end, (s,).
        lasted: How long each took, ms, (s,).
        clock: Times without rests, ms, by which points lie on one line, (m,).
    """

    t: Floats
    at: Places
    first: Ints
    last: Ints
    path: Floats
    reach: Floats
    lasted: Floats
    clock: Floats


def trail(events: Sequence[Event], clock_step_ms: float = 0.0) -> Trail:
    """Return events as arrays; raises NotScored for those that tell nothing of a hand."""
    if not events:
        raise NotScored("not_used")
    times, across, along, kinds = zip(*events, strict=True)
    if "move" not in kinds:
        raise NotScored("no_hover")
    if kinds.count("move") < FEWEST_MOVES:
        raise NotScored("too_few_moves")
    t = np.array(times, dtype=np.float64)
    at = np.array(across) + 1j * np.array(along)
    apart = t[1:] - t[:-1]
    if apart.min() < 0:
        raise NotScored("time_reversed")
    if (at == at[0]).all():
        raise NotScored("stays_put")
    # Two moments closer than the step rule it out without a look at all.
    if clock_step_ms >= COARSE_MS or (not _fine(apart) and coarse(t)):
        raise NotScored("coarse_clock")
    down, up = (
        np.array([number for number, kind in enumerate(kinds) if kind == name], dtype=np.intp)
        for name in ("down", "up")
    )
    return Trail(t, at, down, up)


def _fine(apart: Floats) -> bool:
    return bool(((apart > 1.0) & (apart < COARSE_MS - 1.0)).any())


def strokes(of: Trail) -> Strokes:
    """Return the strokes of a trail; raises NotScored where the pointer is set again and again."""
    apart = of.t[1:] - of.t[:-1]
    kept = np.append(np.flatnonzero(apart > 0), len(of.t) - 1)
    t, at = of.t[kept], of.at[kept]
    apart, length = t[1:] - t[:-1], np.abs(at[1:] - at[:-1])
    jumped = (length > _FAR) & (length > _FASTEST * np.maximum(apart, _SOON))
    if jumped.sum() > _FEW_JUMPS:
        raise NotScored("teleports")
    ends = (apart > REST_MS) | jumped
    ends[np.searchsorted(t[:-1], of.t[of.down][of.t[of.down] < t[-1]])] = True
    edges = np.flatnonzero(ends)
    first, last = np.concatenate([[0], edges + 1]), np.append(edges, len(t) - 1)
    path = np.add.reduceat(np.append(np.where(ends, 0.0, length), 0.0), first)
    good = (path >= LEAST_STROKE) & (last - first + 1 >= _FEWEST_POINTS)
    first, last, path = first[good], last[good], path[good]
    lasted = t[last] - t[first]
    reach = np.maximum(np.abs(at[last] - at[first]), 1.0)
    clock = np.concatenate([[0.0], np.cumsum(np.where(ends, GRID_MS, apart))])
    return Strokes(t, at, first, last, path, reach, lasted, clock)
