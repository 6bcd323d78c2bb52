"""The trail of a pointer and its strokes.

Positions are in CSS pixels of the page, times in ms. A stroke ends at a rest of more than 200 ms,
at a button press, and where the position jumps.
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
"""Time without an event after which a stroke ends; slow mice report every 110 ms."""
GRID_MS: Final = 25.0
"""Resampling interval, and the length of a rest on the clock of the strokes."""
FEWEST_MOVES: Final = 10
LEAST_STROKE: Final = 30.0
"""Pixels of path below which movement is not a stroke but tremor or putting down the device."""
_FEWEST_POINTS: Final = 3
_FASTEST: Final = 40.0
"""Pixels per ms above which a move over `_FAR` is a jump: no hand is that fast."""
_FAR: Final = 300.0
_SOON: Final = 4.0
_FEW_JUMPS: Final = 2


@dataclass(frozen=True)
class Trail:
    """The events of a pointer as arrays, one entry per event.

    Args:
        t: Times in ms, nondecreasing, (n,).
        at: Positions, x + iy, (n,).
        down: Indices of the events that press a button.
        up: Indices of the events that release one.
    """

    t: Floats
    at: Places
    down: Ints
    up: Ints


@dataclass(kw_only=True, frozen=True)
class Strokes:
    """The strokes of a trail that are long enough to measure.

    Args:
        t: Times in ms of the points, one for each moment, (m,).
        at: Positions of the points, (m,).
        first: Index of the first point of each stroke, (s,).
        last: Index of its last point, (s,).
        path: Length of each stroke in pixels, (s,).
        reach: Distance from its begin to its end, (s,).
        lasted: Duration of each stroke in ms, (s,).
        clock: Times in ms without rests, (m,).
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
    """Convert events to arrays; raises NotScored if they show nothing of a hand."""
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
    # Two moments closer than the step rule out a coarse clock without a full test.
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
    """Split a trail into strokes; raises NotScored if the position jumps repeatedly."""
    apart = of.t[1:] - of.t[:-1]
    kept = np.append(np.flatnonzero(apart > 0), len(of.t) - 1)
    t = of.t[kept]
    at = of.at[kept]
    apart = t[1:] - t[:-1]
    length = np.abs(at[1:] - at[:-1])
    jumped = (length > _FAR) & (length > _FASTEST * np.maximum(apart, _SOON))
    if jumped.sum() > _FEW_JUMPS:
        raise NotScored("teleports")
    ends = (apart > REST_MS) | jumped
    ends[np.searchsorted(t[:-1], of.t[of.down][of.t[of.down] < t[-1]])] = True
    edges = np.flatnonzero(ends)
    first = np.concatenate([[0], edges + 1])
    last = np.append(edges, len(t) - 1)
    path = np.add.reduceat(np.append(np.where(ends, 0.0, length), 0.0), first)
    good = (path >= LEAST_STROKE) & (last - first + 1 >= _FEWEST_POINTS)
    first = first[good]
    last = last[good]
    path = path[good]
    lasted = t[last] - t[first]
    reach = np.maximum(np.abs(at[last] - at[first]), 1.0)
    clock = np.concatenate([[0.0], np.cumsum(np.where(ends, GRID_MS, apart))])
    return Strokes(
        t=t, at=at, first=first, last=last, path=path, reach=reach, lasted=lasted, clock=clock
    )
