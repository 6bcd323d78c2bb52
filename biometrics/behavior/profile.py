"""The behavior profile of a person: the latest samples, packed, and an anchor of the first ones.

Layout, little endian, version 1:
`u8` version · `u8` signal · `u8` keys (statistics: columns) · `u8` samples in the anchor ·
`u32` samples ever absorbed · `u16` samples held, m · anchor: k `f2` centers and k `f2` spreads ·
m rows of k `i2` steps, the oldest first (times in 0.25 ms, everything else in 1/4096, drawn in by
a symmetric square root where it is a statistic of motion or pointer). k counts the kept columns.
"""

import struct
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np

from biometrics.behavior.layout import HOLD, PRESS, Floats, Layout

VERSION: Final = 1
MOST_BYTES: Final = 6 * 1024
MOST_SAMPLES: Final = 100
ANCHORED: Final = 20
"""Number of samples after which the anchor is frozen."""
HALF_LIFE: Final = 30.0
"""Number of further samples after which the weight of a sample halves."""
_HEAD: Final = struct.Struct("<BBBBIH")
_SIGNALS: Final = ("keystroke", "touch", "motion", "pointer")
_TIME: Final = 0.00025
_STEP: Final = 1 / 4096
_LARGEST: Final = 32767


class BadProfile(ValueError):
    """The bytes are not a profile of a known version."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A behavior profile.

    Args:
        samples: The latest samples, oldest first, stored columns only, (m, k).
        total: Number of samples ever absorbed.
        anchor: Center and spread of the first samples, (2, k), in `Layout.even`.
        anchored: Number of samples in the anchor.
    """

    layout: Layout
    samples: Floats
    total: int
    anchor: Floats
    anchored: int

    @classmethod
    def empty(cls, layout: Layout) -> "Profile":
        """Return a profile without samples."""
        kept = len(layout.kept)
        return cls(
            layout=layout,
            samples=np.zeros((0, kept)),
            total=0,
            anchor=np.zeros((2, kept)),
            anchored=0,
        )

    @property
    def rows(self) -> Floats:
        """The samples with all columns, (m, d)."""
        return self.layout.expand(self.samples)

    def absorb(self, rows: Floats) -> "Profile":
        """Return the profile with further samples (n, d) added, the newest last."""
        kept = _steps(rows[:, self.layout.kept], self.layout) * _units(self.layout)
        held = np.concatenate([self.samples, _curved(kept, self.layout)])
        grown = replace(
            self, samples=held[-most_samples(self.layout) :], total=self.total + len(rows)
        )
        return _anchor(grown, held) if self.total < ANCHORED else grown

    def parted(self) -> float:
        """Return the median drift of the latest samples from the anchor, in spreads."""
        if not self.anchored or self.total <= ANCHORED:
            return 0.0
        last = self.layout.even(self.rows[-ANCHORED:])[:, self.layout.kept]
        spread = np.maximum(self.anchor[1], np.abs(last - np.median(last, axis=0)).mean(axis=0))
        moved = np.abs(np.median(last, axis=0) - self.anchor[0]) / np.maximum(spread, 1e-3)
        return float(np.median(moved))

    def pack(self) -> bytes:
        """Encode the profile as bytes."""
        layout = self.layout
        keys = layout.kinds.count(HOLD) or layout.columns
        head = _HEAD.pack(
            VERSION,
            _SIGNALS.index(layout.signal),
            keys,
            self.anchored,
            self.total,
            len(self.samples),
        )
        straight = _straight(self.samples, layout)
        steps = np.clip(np.rint(straight / _units(layout)), -_LARGEST, _LARGEST)
        return head + self.anchor.astype("<f2").tobytes() + steps.astype("<i2").tobytes()

    @classmethod
    def unpack(cls, packed: bytes) -> "Profile":
        """Decode a profile; raises BadProfile."""
        if len(packed) < _HEAD.size:
            raise BadProfile("too short")
        version, signal, keys, anchored, total, held = _HEAD.unpack_from(packed)
        if version != VERSION or signal >= len(_SIGNALS):
            raise BadProfile("unknown version or signal")
        try:
            layout = layout_of(_SIGNALS[signal], keys)
        except ValueError:
            raise BadProfile("a number of keys that cannot be") from None
        kept = len(layout.kept)
        if len(packed) != _HEAD.size + 4 * kept + 2 * kept * held:
            raise BadProfile("its length differs from the stated one")
        anchor = np.frombuffer(packed, "<f2", 2 * kept, _HEAD.size).reshape(2, kept)
        steps = np.frombuffer(packed, "<i2", kept * held, _HEAD.size + 4 * kept)
        rows = steps.reshape(held, kept).astype(np.float64) * _units(layout)
        return cls(
            layout=layout,
            samples=_curved(rows, layout),
            total=total,
            anchor=anchor.astype(np.float64),
            anchored=anchored,
        )


def _anchor(profile: Profile, held: Floats) -> Profile:
    """Set the anchor to the center and spread of the first samples."""
    layout = profile.layout
    first = layout.even(layout.expand(held[:ANCHORED]))[:, layout.kept]
    center = np.median(first, axis=0)
    anchor = np.stack([center, np.abs(first - center).mean(axis=0)])
    anchor = anchor.astype(np.float16).astype(np.float64)
    return replace(profile, anchor=anchor, anchored=min(ANCHORED, len(held)))


def layout_of(signal: str, keys: int) -> Layout:
    """Return the layout of a signal; `keys` is the number of columns for motion and pointer.

    With the number of columns of a login, it is the login layout; any other number belongs to a
    published data set.
    """
    if signal == "keystroke":
        return Layout.keystroke(keys)
    if signal == "touch":
        return Layout.touch(keys)
    for known in (Layout.motion(), Layout.pointer()):
        if (signal, keys) == (known.signal, known.columns):
            return known
    return Layout.statistics(signal, keys)


def most_samples(layout: Layout) -> int:
    """Return how many samples fit into a profile of maximum size."""
    kept = len(layout.kept)
    return min(MOST_SAMPLES, (MOST_BYTES - _HEAD.size - 4 * kept) // (2 * kept))


def recency(samples: int) -> Floats:
    """Return the recency weights of samples, the newest last; they sum to one."""
    weights = 0.5 ** (np.arange(samples)[::-1] / HALF_LIFE)
    return np.asarray(weights / weights.sum())


@lru_cache(maxsize=256)
def _units(layout: Layout) -> Floats:
    timed = np.isin(np.array(layout.kinds)[layout.kept], (HOLD, PRESS))
    return np.where(timed, _TIME, _STEP if layout.timed else 16 * _STEP)


def _steps(kept: Floats, layout: Layout) -> Floats:
    """Quantize stored columns to integer steps."""
    return np.clip(np.rint(_straight(kept, layout) / _units(layout)), -_LARGEST, _LARGEST)


def _straight(rows: Floats, layout: Layout) -> Floats:
    return rows if layout.timed else np.sign(rows) * np.sqrt(np.abs(rows))


def _curved(rows: Floats, layout: Layout) -> Floats:
    return rows if layout.timed else np.sign(rows) * rows * rows
