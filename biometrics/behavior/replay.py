"""Marks of samples, by which one that comes again is found: nobody types alike twice.

A mark is 16 of the columns, each time modulo 64 ms in steps of a quarter: 16 bytes that find a
sample again to 1 ms in every column, and do not tell how long any time was.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from biometrics.behavior.layout import Floats

COLUMNS: Final = 16
MOST_MARKS: Final = 200
"""Samples that are remembered, the newest."""
WITHIN: Final = 0.001
"""Seconds within which every column of a replay lies."""
NEAR: Final = 0.0035
"""Seconds, in the mean of 16 columns, within which a typing is a copy with noise added.

Of 13,360 typings of the CMU set, each against the 200 before it of the same person, none came as
near (the nearest 3.7 ms); copies with every time moved by up to 4 ms lie at 2.7 ms at most.
"""
FEWEST_COLUMNS: Final = 11
"""Columns below which two typings may be alike by chance."""
_STEP: Final = 0.00025
_WRAP: Final = 256
Marks = npt.NDArray[np.uint8]


def mark(times: Floats) -> Marks:
    """Return the mark of the stored columns of times (k,): (COLUMNS,), or fewer of a short text."""
    at = np.unique(np.linspace(0, len(times) - 1, min(COLUMNS, len(times))).round().astype(int))
    return np.asarray(np.rint(times[at] / _STEP) % _WRAP, dtype=np.uint8)


def replayed(marks: Marks, times: Floats, *, typed: bool = False) -> bool:
    """Tell whether a sample repeats one that left a mark.

    Args:
        marks: The marks (m, c).
        times: The stored columns of the sample (k,), in seconds.
        typed: Whether the columns are times of keys, so that a near copy is found as well: all
            16 columns together lie nearer than a person ever types alike.

    Returns:
        Whether every column lies within 1 ms of one mark, or, where typed, the mean within 3.5 ms.
    """
    probe = mark(times)
    if len(probe) < FEWEST_COLUMNS or marks.shape[1:] != probe.shape:
        return False
    # Unsigned differences wrap as the marks do; half a step is lost on either side.
    apart = np.abs((marks - probe).view(np.int8).astype(np.int16)) * _STEP
    found = (apart <= WITHIN + _STEP).all(axis=1)
    if typed and len(probe) == COLUMNS:
        found |= apart.mean(axis=1) <= NEAR
    return bool(found.any())


def remember(marks: Marks, times: Floats) -> Marks:
    """Return the marks with one more, the newest last; those of another length are let go."""
    new = mark(times)[None]
    former = marks if marks.shape[1:] == new.shape[1:] else np.zeros((0, new.shape[1]), np.uint8)
    return np.asarray(np.concatenate([former, new])[-MOST_MARKS:])
