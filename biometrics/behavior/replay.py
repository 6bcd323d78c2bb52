"""Replay detection: marks that recognize a repeated sample, as no one types twice alike.

A mark holds 16 of the columns, each time modulo 64 ms in steps of 0.25 ms: 16 bytes that match a
repeated sample to 1 ms in every column and do not reveal any time.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from biometrics.behavior.layout import Floats

COLUMNS: Final = 16
MOST_MARKS: Final = 200
"""Number of the newest samples that are remembered."""
WITHIN: Final = 0.001
"""Maximum difference in seconds of each column of a replay."""
NEAR: Final = 0.0035
"""Mean difference in seconds over 16 columns below which a typing is a copy with noise added.

Of 13,360 typings of the CMU set, each compared with the 200 before it of the same person, none
was as near (the nearest 3.7 ms); copies with every time moved by up to 4 ms differ by at most
2.7 ms.
"""
FEWEST_COLUMNS: Final = 11
"""Number of columns below which two typings may be alike by chance."""
_STEP: Final = 0.00025
_WRAP: Final = 256
Marks = npt.NDArray[np.uint8]


def mark(times: Floats) -> Marks:
    """Return the mark of stored time columns (k,): 16 bytes, fewer for a short text."""
    at = np.unique(np.linspace(0, len(times) - 1, min(COLUMNS, len(times))).round().astype(int))
    return np.asarray(np.rint(times[at] / _STEP) % _WRAP, dtype=np.uint8)


def replayed(marks: Marks, times: Floats, *, typed: bool = False) -> bool:
    """Return whether a sample repeats one of the marked samples.

    Args:
        marks: The marks (m, c).
        times: The stored columns of the sample (k,), in seconds.
        typed: Whether the columns are key times. Then near copies are detected as well: a mean
            difference over all 16 columns smaller than a person ever achieves.

    Returns:
        Whether every column is within 1 ms of one mark, or, if typed, the mean within 3.5 ms.
    """
    probe = mark(times)
    if len(probe) < FEWEST_COLUMNS or marks.shape[1:] != probe.shape:
        return False
    # Unsigned differences wrap as the marks do; rounding loses half a step on either side.
    apart = np.abs((marks - probe).view(np.int8).astype(np.int16)) * _STEP
    found = (apart <= WITHIN + _STEP).all(axis=1)
    if typed and len(probe) == COLUMNS:
        found |= apart.mean(axis=1) <= NEAR
    return bool(found.any())


def remember(marks: Marks, times: Floats) -> Marks:
    """Append the mark of a sample, newest last; marks of another length are dropped."""
    new = mark(times)[None]
    former = marks if marks.shape[1:] == new.shape[1:] else np.zeros((0, new.shape[1]), np.uint8)
    return np.asarray(np.concatenate([former, new])[-MOST_MARKS:])
