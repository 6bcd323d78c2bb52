"""From events to columns: what a typed text measures, and why a sample cannot be scored.

A sample that is unfit is named with one of the codes of `WHY`, never guessed at. Which key was
pressed is not known here: a key is when it went down, when it went up, and its class.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from biometrics.behavior.layout import FEWEST_KEYS, MOST_KEYS, Floats, Layout

COARSE_MS: Final = 50.0
"""Step of a clock from which on times say too little: 100 ms double the error, 17 cost nothing."""
_MS: Final = 1000.0
_ALIKE_MS: Final = 1.0
_STEPS_APART: Final = (1, 2, 3)
_CONSTANT_MS: Final = 0.5
_FEW: Final = 8
"""Keys below which one kind of time may be constant by chance, where the clock has steps."""
_PIXELS: Final = 100.0
"""CSS pixels that a contact of size 1 has, where a browser gives pixels."""
WHY: Final = {
    "pasted": "the text was pasted",
    "autofilled": "the text was filled in by a program",
    "edited": "the text was corrected, so its keys are not those of the whole text",
    "coarse_clock": "the clock of the device is too coarse",
    "too_few_keys": f"there are fewer than {FEWEST_KEYS} keys",
    "too_many_keys": f"there are more than {MOST_KEYS} keys",
    "zero_variance": "every time is the same, which nobody types",
    "not_used": "no pointer was used: the keyboard does as well",
    "no_hover": "there are clicks without moves: a touch, or a device that helps",
    "too_few_moves": "there are fewer than 10 moves",
    "too_little": "the pointer moves for less than 0.3 s or in bits only",
    "no_click": "nothing was clicked at one place",
    "time_reversed": "the times of the pointer go back",
    "seldom": "the pointer is told of fewer than 20 times a second",
    "stays_put": "the pointer stays where it is",
    "scripted_jump": "every click comes far from where the pointer was",
    "scripted_line": "the pointer moves along a ruler",
    "scripted_even": "the pointer moves by steps of one length",
    "scripted_curve": "the pointer moves along a curve that a program drew",
    "teleports": "the pointer is set elsewhere again and again, which no hand does",
    "touches_incomplete": "there is not exactly one touch for each key",
    "pressure_missing": "the pressure never changes: there is no sensor for it",
    "size_missing": "the contact size never changes: there is no sensor for it",
    "lengths_differ": "acceleration and rotation rate have another number of values",
    "rate_too_low": "the sensors gave fewer than 20 values a second",
    "too_short": "the movement lasts less than half a second or has fewer than 10 values",
    "sensor_constant": "acceleration or rotation rate never changes: there is no sensor for it",
    "lies_still": "it lies still: nobody holds it",
    "gravity_missing": "gravity is not in the acceleration, so the angle is not known",
    "unknown_units": "no telephone moves so in m/s² and degrees a second: the units are others",
}
"""Codes of what makes a sample unfit, and what a person reads."""


class NotScored(ValueError):
    """A sample that cannot be scored.

    Args:
        code: Which of the known reasons it is.
        detail: The same for a person; it repeats nothing of the sample.
    """

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail or WHY[code]


class Scripted(NotScored):
    """A sample that a program made; it speaks against whoever sends it."""


@dataclass(frozen=True)
class Vector:
    """The columns of one sample.

    Args:
        layout: What each of them measures.
        row: All of them, (d,); times in seconds.
    """

    layout: Layout
    row: Floats

    @property
    def kept(self) -> Floats:
        """The columns that are stored, (k,)."""
        return np.asarray(self.row[self.layout.kept])

    @property
    def marked(self) -> Floats:
        """The columns by which it is found when it comes again."""
        return np.asarray(self.row[self.layout.marked])


@dataclass(frozen=True)
class Key:
    """One press.

    Args:
        down: When it went down, in ms from the first press.
        up: When it went up.
        kind: `char`, `shift`, `backspace` or `enter`.
    """

    down: float
    up: float
    kind: str = "char"


@dataclass(frozen=True)
class InputFlags:
    """What the client says of a sample.

    Args:
        clock_step_ms: The step of its clock, 0 where it does not say.
        pasted: Something was pasted.
        autofilled: A program filled it in.
        edited: Something was corrected.
    """

    clock_step_ms: float = 0.0
    pasted: bool = False
    autofilled: bool = False
    edited: bool = False


@dataclass(frozen=True)
class Touch:
    """The contact of one press.

    Args:
        key: The place of the press among all that were sent.
        pressure: As the sensor gives it, 0 to 1.
        width: Of the contact, in CSS pixels, or as a share where the system gives shares.
        height: The same.
    """

    key: int
    pressure: float
    width: float
    height: float


def keystroke(keys: Sequence[Key], told: InputFlags) -> Vector:
    """Return hold and press-to-press times of a fixed text; raises NotScored.

    The key that sends the form is left out: whether it or the mouse sends it is no rhythm.
    """
    _whole(keys, told)
    typed = [key for key in keys if key.kind != "enter"]
    if len(typed) < FEWEST_KEYS:
        raise NotScored("too_few_keys")
    if len(typed) > MOST_KEYS:
        raise NotScored("too_many_keys")
    down = np.array([key.down for key in typed])
    up = np.array([key.up for key in typed])
    if told.clock_step_ms >= COARSE_MS or coarse(np.concatenate([down, up])):
        raise NotScored("coarse_clock")
    hold, press = up - down, np.diff(down)
    if _constant(hold, press):
        raise NotScored("zero_variance")
    layout = Layout.keystroke(len(typed))
    return Vector(layout, layout.expand(np.concatenate([hold, press]) / _MS))


def touch(keys: Sequence[Key], told: InputFlags, touches: Sequence[Touch]) -> Vector:
    """Return the times with pressure and contact size of each press; raises NotScored."""
    timed = keystroke(keys, told)
    typed = [at for at, key in enumerate(keys) if key.kind != "enter"]
    by_key = {found.key: found for found in touches}
    if len(by_key) != len(touches) or not set(typed) <= set(by_key):
        raise NotScored("touches_incomplete")
    found = [by_key[at] for at in typed]
    pressure = np.array([one.pressure for one in found])
    sides = np.array([(one.width, one.height) for one in found])
    size = np.sqrt(np.maximum(sides, 0.0).prod(axis=1))
    if np.ptp(pressure) == 0:
        raise NotScored("pressure_missing")
    if np.ptp(size) == 0:
        raise NotScored("size_missing")
    if size.max() > 1:
        size = size / _PIXELS
    layout = Layout.touch(len(typed))
    kept = np.concatenate([timed.kept, pressure, size])
    return Vector(layout, layout.expand(kept))


def coarse(times: Floats) -> bool:
    """Tell whether all times are multiples of one large step, so that the clock must have it.

    The step shows in the smallest distance between two times, which is one step or a few.
    """
    apart = np.unique(np.round(times - times.min(), 3))
    gaps = np.diff(apart)
    gaps = gaps[gaps > _ALIKE_MS]
    if not len(gaps):
        return False
    for steps in _STEPS_APART:
        step = float(gaps.min()) / steps
        off = np.abs(apart / step - np.rint(apart / step)) * step
        if step >= COARSE_MS - _ALIKE_MS and off.max() <= _ALIKE_MS:
            return True
    return False


def _whole(keys: Sequence[Key], told: InputFlags) -> None:
    if told.pasted:
        raise NotScored("pasted")
    if told.autofilled:
        raise NotScored("autofilled")
    if told.edited or any(key.kind == "backspace" for key in keys):
        raise NotScored("edited")


def _constant(hold: Floats, press: Floats) -> bool:
    """Tell whether no person typed it: all of one kind alike, of both where there are few."""
    alike = [bool(np.ptp(part) < _CONSTANT_MS) for part in (hold, press)]
    return any(alike) if len(hold) >= _FEW else all(alike)
