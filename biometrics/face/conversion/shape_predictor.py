"""Convert dlib's five-point shape predictor to arrays of regular shape."""

from typing import Final

import numpy as np

from biometrics.face.arrays import Floats, Integers
from biometrics.face.conversion import dlib_reader
from biometrics.face.errors import BadWeights
from biometrics.face.landmarks import PARTS, Predictor

# Part of the cache key: any change below needs a new number.
CONVERTER_VERSION: Final = 1
_VERSION: Final = 1
_INTEGERS_OF_A_SPLIT: Final = 4
_INTEGERS_OF_A_PAIR: Final = 4


def predictor(data: bytes) -> Predictor:
    """Read dlib's file: version, initial shape, cascades of trees, anchors, deltas.

    Args:
        data: The file with the hash of weights.LANDMARKS.

    Raises:
        BadWeights: The file does not contain a five-point predictor.
    """
    cursor = _Cursor(dlib_reader.integers(data))
    if cursor.count() != _VERSION:
        raise BadWeights("the predictor has another version")
    initial = cursor.column()
    stages = [_forest(cursor) for _ in range(cursor.count())]
    anchors = [cursor.take(cursor.count()) for _ in range(cursor.count())]
    deltas = [_pairs(cursor) for _ in range(cursor.count())]
    pixels, thresholds, leaves = zip(*stages, strict=True) if stages else ((), (), ())
    try:
        found = Predictor(
            initial=initial.reshape(PARTS, 2),
            pixels=np.stack(pixels),
            thresholds=np.stack(thresholds),
            leaves=np.stack(leaves),
            anchors=np.stack(anchors),
            deltas=np.stack(deltas),
        )
    except ValueError as error:
        raise BadWeights("the parts of the predictor differ in size") from error
    _check(found)
    return found


class _Cursor:
    """A bounded cursor over a sequence of integers."""

    __slots__ = ("_at", "_values")

    def __init__(self, values: Integers) -> None:
        self._values = values
        self._at = 0

    def take(self, count: int) -> Integers:
        if not 0 <= count <= len(self._values) - self._at:
            raise BadWeights("the file ends too early")
        self._at += count
        return self._values[self._at - count : self._at]

    def count(self) -> int:
        return int(self.take(1)[0])

    def column(self) -> Floats:
        """Return the next matrix, which must have one column."""
        rows, columns = self.take(2)
        if rows >= 0 or columns != -1:
            raise BadWeights("this is no column of numbers")
        return dlib_reader.floats(self.take(-2 * int(rows)))


def _forest(cursor: _Cursor) -> tuple[Integers, Floats, Floats]:
    """Return pixels (t, s, 2), thresholds (t, s) and leaves (t, s + 1, n) of one stage."""
    trees = [_tree(cursor) for _ in range(cursor.count())]
    try:
        splits = np.stack([split for split, _ in trees])
        leaves = np.stack([leaf for _, leaf in trees])
    except ValueError as error:
        raise BadWeights("the trees of a stage differ in size") from error
    thresholds = dlib_reader.floats(splits[..., 2:].reshape(-1)).reshape(splits.shape[:2])
    return splits[..., :2], thresholds, leaves


def _tree(cursor: _Cursor) -> tuple[Integers, Floats]:
    count = cursor.count()
    splits = cursor.take(_INTEGERS_OF_A_SPLIT * count).reshape(-1, _INTEGERS_OF_A_SPLIT)
    leaves = [cursor.column() for _ in range(cursor.count())]
    if len(leaves) != count + 1 or len(leaves) & count:
        raise BadWeights("a tree is not complete")
    try:
        return splits, np.stack(leaves)
    except ValueError as error:
        raise BadWeights("the leaves of a tree differ in size") from error


def _pairs(cursor: _Cursor) -> Floats:
    return dlib_reader.floats(cursor.take(_INTEGERS_OF_A_PAIR * cursor.count())).reshape(-1, 2)


def _check(found: Predictor) -> None:
    """Check that every index is within its array, so that evaluation needs no bounds checks."""
    stages, trees, splits = found.thresholds.shape
    shapes = (
        found.leaves.shape == (stages, trees, splits + 1, 2 * PARTS),
        found.anchors.shape == found.deltas.shape[:2],
        len(found.anchors) == stages,
    )
    if not all(shapes) or not _within(found.anchors, PARTS):
        raise BadWeights("the parts of the predictor do not fit together")
    if not _within(found.pixels, found.anchors.shape[1]):
        raise BadWeights("a split of the predictor compares pixels that do not exist")


def _within(indices: Integers, end: int) -> bool:
    return bool((indices >= 0).all() and (indices < end).all())
