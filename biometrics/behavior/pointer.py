"""Convert pointer events at a form to columns: how a hand moves, stops and clicks.

The position of the form, the screen size and the distance hardly matter: columns are ratios,
shares of times and logarithms, each standardized by a typical value. Strokes are resampled every
25 ms, so that the event rate affects few columns. Movements made by a program are recognized and
named (`biometrics.behavior.scripted`).
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from biometrics.behavior.features import NotScored, Scripted, Vector
from biometrics.behavior.layout import Floats, Ints, Layout
from biometrics.behavior.scripted import scripted
from biometrics.behavior.strokes import GRID_MS, REST_MS, Event, Strokes, Trail, strokes, trail

LEAST_MOVED_MS: Final = 300.0
SELDOM_MS: Final = 50.0
"""Interval between events above which resampling at 25 ms shows nothing of a hand."""
_CLICK: Final = 10.0
"""Pixels that the pointer may move during a click."""
_LONGEST_CLICK: Final = 1500.0
_TOP: Final = 0.1
"""Share of the peak speed below which a rise and fall does not count as a correction."""
_ALONG: Final = 2.0
"""Pixels that a step of 25 ms must have for its direction to be meaningful."""
_NEAR: Final = 0.2
"""Share of the distance to the end of a stroke within which the hand is aiming."""
_EDGE: Final = 6.0
_TINY: Final = 1e-6


def pointer(
    events: Sequence[Event], clock_step_ms: float = 0.0, seldom_ms: float = SELDOM_MS
) -> Vector:
    """Return the features of how a pointer was moved, rested and clicked; raises NotScored.

    Args:
        events: Pointer events of a page, in order.
        clock_step_ms: Step of the client's clock in ms; 0 if unknown.
        seldom_ms: Interval between events from which they carry too little information.
    """
    of = trail(events, clock_step_ms)
    found = strokes(of)
    if script := scripted(of, found):
        raise Scripted(script)
    if found.lasted.sum() < LEAST_MOVED_MS:
        raise NotScored("too_little")
    if _between(found) > seldom_ms:
        raise NotScored("seldom")
    row = np.array([*_moving(found), _along_axes(found), *_resting(of, found)])
    row = (row - _USUAL) / _SPREAD
    return Vector(Layout.pointer(), np.minimum(np.maximum(row, -_EDGE), _EDGE))


def _between(of: Strokes) -> float:
    """Return the median interval between events while the pointer moves, in ms."""
    apart = np.sort(of.t[1:] - of.t[:-1])
    apart = apart[: max(1, int(np.searchsorted(apart, REST_MS, "right")))]
    return float(apart[len(apart) // 2])


def _moving(of: Strokes) -> list[float]:
    """Return the columns of pace, bends and corrections, averaged over strokes."""
    which, speed, turn = _grid(of)
    count = len(of.first)
    sizes = np.bincount(which, minlength=count)
    begin = np.cumsum(sizes) - sizes
    lasted = np.maximum(of.lasted, 1.0)
    mean = of.path / lasted
    peak = np.array(
        [
            speed[at : at + size].max() if size else 0.0
            for at, size in zip(begin.tolist(), sizes.tolist(), strict=True)
        ]
    )
    peak = np.maximum(peak, mean)
    same = which[1:] == which[:-1]
    change = speed[1:] - speed[:-1]
    rough = np.bincount(which[1:], np.abs(change) * same, count) / (2 * peak)
    rising = change > _TINY * peak[which[1:]]
    tops = same[1:] & same[:-1] & rising[:-1] & ~rising[1:]
    tops &= speed[1:-1] > _TOP * peak[which[1:-1]]
    when = np.array(
        [
            (speed[at : at + size].argmax() + 0.5) / size if size else 0.5
            for at, size in zip(begin.tolist(), sizes.tolist(), strict=True)
        ]
    )
    bent, astray, aim = _shape(of)
    weight = np.sqrt(of.path)
    weight = weight / weight.sum()
    counted = turn[turn > 0]
    far = 0.6 * np.log(of.path)
    rows = np.array(
        [
            np.log(mean) - far,
            np.log(peak) - far,
            -np.log(lasted / 1000),
            np.log(of.path / of.reach),
            np.log(bent + 0.01),
            np.log(peak / mean),
            np.log(rough + 0.3),
            when,
            aim,
            np.log(astray + 0.01),
        ]
    )
    found = (rows @ weight).tolist()
    turned = float(np.log((counted.sum() + 0.1) / (len(counted) + 1)))
    topped = float(np.log((np.count_nonzero(tops) + 0.5) * 1000 / lasted.sum()))
    return [*found[:5], turned, *found[5:7], topped, *found[7:]]


def _grid(of: Strokes) -> tuple[Ints, Floats, Floats]:
    """Return the stroke, speed in px/ms and turn angle of each step of 25 ms."""
    times = np.arange(0.0, of.clock[-1] + _TINY, GRID_MS)
    spots = np.interp(times, of.clock, of.at)
    # A stroke includes its first and last points; steps between strokes do not count.
    which = np.searchsorted(of.clock[of.first], times, "right") - 1
    inside = (which >= 0) & (times <= of.clock[of.last][which] + _TINY)
    step = spots[1:] - spots[:-1]
    good = inside[1:] & inside[:-1] & (which[1:] == which[:-1])
    step = step[good]
    which = which[1:][good]
    length = np.abs(step)
    counted = length >= _ALONG
    counted = counted[1:] & counted[:-1] & (which[1:] == which[:-1])
    turn = np.abs(np.angle(step[1:] * step[:-1].conj())) + _TINY
    return which, length / GRID_MS, turn * counted


def _shape(of: Strokes) -> tuple[Floats, Floats, Floats]:
    """Return the bend, the overshoot with backtracking, and the aiming time of each stroke.

    All are shares: of the distance from begin to end, or of the time for aiming.
    """
    found = []
    for first, last, reach in zip(of.first.tolist(), of.last.tolist(), of.reach, strict=True):
        points = of.at[first : last + 1] - of.at[first]
        turned = points * (points[-1].conjugate() / (reach * reach))
        along = turned.real
        aside = turned.imag
        over = max(float(along.max()) - 1.0, 0.0)
        back = np.maximum(along[:-1] - along[1:], 0.0).sum()
        near = (np.abs(turned - turned[-1]) <= _NEAR).argmax()
        aim = of.t[last] - of.t[first + near]
        lasted = of.t[last] - of.t[first]
        found.append((np.abs(aside).max(), min(over + back, 3.0), aim / max(lasted, 1.0)))
    bent, astray, aim = np.array(found).T
    return bent, astray, aim


def _resting(of: Trail, found: Strokes) -> list[float]:
    """Return the columns of rests and clicks; raises NotScored if there is no click."""
    after = np.searchsorted(of.up, of.down)
    whole = after < len(of.up)
    down = of.down[whole]
    up = of.up[after[whole]]
    held = of.t[up] - of.t[down]
    good = (np.abs(of.at[up] - of.at[down]) <= _CLICK) & (held <= _LONGEST_CLICK)
    if not good.any():
        raise NotScored("no_click")
    down = down[good]
    held = np.maximum(held[good], 5.0)
    gaps = of.t[1:] - of.t[:-1]
    rests = gaps[gaps > REST_MS]
    lasted = max(float(of.t[-1] - of.t[0]), 1.0)
    # From the last event at that position to the press: the hand stops, then the finger presses.
    before = np.maximum(down - 1, 0)
    stood = np.where(of.at[down] == of.at[before], of.t[down] - of.t[before], 0.0)
    rested = float(rests.sum())
    return [
        math.log((rested + 50.0) / lasted),
        math.log((rested + 100.0) / (len(rests) + 1)),
        float(np.log(np.minimum(stood, 2000.0) + 20.0).mean()),
        -math.log(len(found.first) * 1000.0 / lasted),
        float(np.log(held).mean()),
        float(np.log(held.max())),
    ]


def _along_axes(of: Strokes) -> float:
    """Return the share of steps parallel to an axis; mice produce more of them than trackpads."""
    step = (of.at[1:] - of.at[:-1])[of.t[1:] - of.t[:-1] <= REST_MS]
    return float(((step.real == 0) | (step.imag == 0)).mean())


_USUAL: Final = np.array(
    [
        -4.4,
        -3.3,
        0.2,
        0.25,
        -1.85,
        -2.5,
        1.05,
        0.25,
        1.2,
        0.3,
        0.3,
        -3.0,
        0.25,
        -0.75,
        6.0,
        3.6,
        0.65,
        4.55,
        4.6,
    ]
)
_SPREAD: Final = np.array(
    [
        0.35,
        0.35,
        0.45,
        0.6,
        1.0,
        0.6,
        0.3,
        0.3,
        0.3,
        0.2,
        0.2,
        1.5,
        0.12,
        0.7,
        0.4,
        0.9,
        0.5,
        0.3,
        0.3,
    ]
)
