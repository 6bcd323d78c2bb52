"""The columns of a sample: their meaning, and which of them are stored.

A typed text of n presses has n hold times and n - 1 press-to-press times. The n - 1
release-to-press times are derived from them and never stored. Touch adds pressure and contact
size of each press. Times are in seconds; pressure and size are sensor values. Motion is a row of
statistics of how a telephone is held, shaken and turned.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

HOLD: Final = "hold"
PRESS: Final = "press"
GAP: Final = "gap"
PRESSURE: Final = "pressure"
SIZE: Final = "size"
MOTION: Final = "motion"
HOLDING: Final = "holding"
SHAKING: Final = "shaking"
TURNING: Final = "turning"
PACE: Final = "pace"
BEND: Final = "bend"
STEER: Final = "steer"
REST: Final = "rest"
CLICK: Final = "click"
WORDS: Final = {
    HOLD: "hold times",
    PRESS: "times from press to press",
    GAP: "times from release to press",
    PRESSURE: "pressure",
    SIZE: "contact size",
    MOTION: "grip and motion",
    HOLDING: "holding angle",
    SHAKING: "shaking",
    TURNING: "turning",
    PACE: "moves",
    BEND: "paths",
    STEER: "corrections",
    REST: "rests",
    CLICK: "clicks",
}
"""The name of each kind of column in text for people."""
HELD: Final = {HOLDING: 2, SHAKING: 7, TURNING: 8}
"""Columns of motion by kind: pitch and roll; spreads of acceleration (length, x, y, z) and of its
changes (x, y, z); spreads of the rotation rate, its mean length, and spreads of its changes."""
POINTED: Final = {PACE: 3, BEND: 3, STEER: 7, REST: 4, CLICK: 2}
"""Columns of a pointer by kind, in the order of `biometrics.behavior.pointer`."""
SCALED: Final = (0, 1, 5)
"""Pointer columns that depend on the size in pixels: two of the pace, one of the turns."""
FEWEST_KEYS: Final = 2
MOST_KEYS: Final = 64


@dataclass(frozen=True)
class Layout:
    """The columns of one signal.

    Args:
        signal: `keystroke`, `touch`, `motion` or `pointer`.
        kinds: Kind of each column, in order; the gaps follow the press-to-press times.
    """

    signal: str
    kinds: tuple[str, ...]

    @classmethod
    def keystroke(cls, keys: int) -> "Layout":
        """Return the layout of a typed text with that many presses."""
        return _typed("keystroke", keys)

    @classmethod
    def touch(cls, keys: int) -> "Layout":
        """Return the layout of a text typed with that many touches."""
        return _typed("touch", keys)

    @classmethod
    def motion(cls) -> "Layout":
        """Return the layout of how a telephone is held and moved (`biometrics.behavior.motion`)."""
        return cls.movement(HELD)

    @classmethod
    def movement(cls, columns: Mapping[str, int]) -> "Layout":
        """Return the layout of motion with the given number of columns of each kind."""
        kinds = (kind for kind in HELD for _ in range(columns[kind]))
        return cls("motion", tuple(kinds))

    @staticmethod
    def pointer() -> "Layout":
        """Return the layout of how a pointer is moved (`biometrics.behavior.pointer`)."""
        return _POINTER

    @classmethod
    def statistics(cls, signal: str, columns: int) -> "Layout":
        """Return the layout of a signal that is a row of statistics (motion or pointer)."""
        return cls(signal, (signal,) * columns)

    @property
    def columns(self) -> int:
        """The number of columns, including derived ones."""
        return len(self.kinds)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The distinct kinds, in order."""
        return tuple(dict.fromkeys(self.kinds))

    @cached_property
    def kept(self) -> Ints:
        """The stored columns: all except those derived from others."""
        return np.flatnonzero(np.array(self.kinds) != GAP)

    @cached_property
    def marked(self) -> Ints:
        """The stored columns by which a replayed sample is recognized.

        For a pointer, only those that do not change if a recording is replayed at another scale.
        """
        return np.setdiff1d(self.kept, SCALED) if self == _POINTER else self.kept

    @cached_property
    def places(self) -> Ints:
        """The index of each column within its kind, to identify neighbors."""
        return np.array([self.kinds[:at].count(kind) for at, kind in enumerate(self.kinds)])

    def of(self, kind: str) -> Ints:
        """Return the indices of the columns of a kind."""
        return np.flatnonzero(np.array(self.kinds) == kind)

    @cached_property
    def timed(self) -> bool:
        """Whether the columns are times of a typed text."""
        return HOLD in self.kinds

    def expand(self, stored: Floats) -> Floats:
        """Compute all columns (n, d) from the stored ones (n, k)."""
        if not self.timed:
            return stored
        keys = self.kinds.count(HOLD)
        hold = stored[..., :keys]
        press = stored[..., keys : 2 * keys - 1]
        gap = press - hold[..., :-1]
        return np.concatenate([hold, press, gap, stored[..., 2 * keys - 1 :]], axis=-1)

    def even(self, rows: Floats) -> Floats:
        """Return rows with shortened tails: logarithms of times, other columns unchanged."""
        if not self.timed:
            return rows
        out = np.empty_like(rows)
        for kind in self.names:
            at = self.slices[kind]
            out[..., at] = _EVEN[kind](rows[..., at])
        return out

    @cached_property
    def slices(self) -> dict[str, slice]:
        """The slice of the columns of each kind, which are always adjacent."""
        found = {}
        for kind in self.names:
            first = self.kinds.index(kind)
            found[kind] = slice(first, first + self.kinds.count(kind))
        return found


_POINTER: Final = Layout(
    "pointer", tuple(kind for kind, count in POINTED.items() for _ in range(count))
)


def _timing(keys: int) -> tuple[str, ...]:
    if not FEWEST_KEYS <= keys <= MOST_KEYS:
        raise ValueError(f"a text has {FEWEST_KEYS} to {MOST_KEYS} presses")
    return (HOLD,) * keys + (PRESS,) * (keys - 1) + (GAP,) * (keys - 1)


def _log_hold(values: Floats) -> Floats:
    return np.log(np.maximum(values, 0.01))


def _log_press(values: Floats) -> Floats:
    return np.log(np.maximum(values, 0.0) + 0.05)


def _log_gap(values: Floats) -> Floats:
    return np.arcsinh(values / 0.1)


def _as_it_is(values: Floats) -> Floats:
    return values


_EVEN: Final[dict[str, Callable[[Floats], Floats]]] = {
    HOLD: _log_hold,
    PRESS: _log_press,
    GAP: _log_gap,
    PRESSURE: _as_it_is,
    SIZE: _as_it_is,
}


@lru_cache(maxsize=2 * MOST_KEYS)
def _typed(signal: str, keys: int) -> Layout:
    """Return a shared layout for texts of one length, so that its properties are computed once."""
    more = (PRESSURE,) * keys + (SIZE,) * keys if signal == "touch" else ()
    return Layout(signal, _timing(keys) + more)
