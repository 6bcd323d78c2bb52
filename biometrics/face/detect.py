"""Detect faces with dlib's max-margin network over an image pyramid."""

from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from biometrics.face.geometry import Box
from biometrics.face.images import Picture, shrink

WINDOW: Final = 80
RIVAL_WIDTH: Final = 0.7
"""A second face of at least this share of the largest one's width counts as a second person."""
_STRIDE: Final = 8
_CENTER: Final = 14
_STEP: Final = 5 / 6
_AROUND: Final = 30 / WINDOW
"""Margin around the previous box in which the face is searched, in box widths.

Chosen so that a cell is centered exactly on the previous box (8 * 7 + 14 = 30 + 40): with other
margins the box of a still face drifts sideways a little in each frame.
"""
_REFINED: Final = 0.2
"""The margin within one picture, where the position is known to a cell or two."""
_SURE: Final = 0.9
_BETWEEN: Final = (_STEP, 1 / _STEP)
_OVERLAP: Final = 0.4
_COVERED: Final = 0.8


class Detection(NamedTuple):
    """A detected face: its box and the score of the network (above 0)."""

    box: Box
    score: float


class Scores(Protocol):
    """The network: uint8 (1, rows, columns, 3) BGR to float32 scores (rows', columns')."""

    def __call__(self, picture: Picture) -> npt.NDArray[np.float32]:
        """Return the score of each cell."""


class Finder(Protocol):
    """A face detector: the pyramid of dlib's network, or `yunet`."""

    def find(self, picture: Picture, smallest: float) -> list[Detection]:
        """Return the faces by descending score: the largest, and rivals of it.

        Args:
            picture: uint8 (rows, columns, 3).
            smallest: Width in pixels of the smallest face to search for.
        """

    def near(self, picture: Picture, place: Box) -> list[Detection]:
        """Return the best face around a previous position, at about its size; or an empty list.

        Args:
            picture: uint8 (rows, columns, 3).
            place: The box of the face in the previous frame.
        """


class Pyramid:
    """A detector that scores every position of an image pyramid.

    The cost falls as the smallest face grows. The pyramid is searched from its coarse end, where
    levels are cheap, until a face is found and anything smaller could not be a rival of it. A face
    is detected on about three consecutive levels, so every other level is enough; the others are
    searched only if nothing was found.

    Args:
        network: The detector.
    """

    def __init__(self, network: Scores) -> None:
        self._network = network

    def find(self, picture: Picture, smallest: float) -> list[Detection]:
        """Return the faces; see `Finder`."""
        scales = _scales(min(picture.shape[:2]), smallest)
        halves = _Halves(picture)
        found = self._search(halves, scales[::2]) or self._search(halves, scales[1::2])
        found = _distinct(sorted(found, key=lambda item: -item.score))
        # Around the best face, the levels between those searched may fit it better.
        return [self._around(picture, found[0], _REFINED), *found[1:]] if found else []

    def near(self, picture: Picture, place: Box) -> list[Detection]:
        """Return the face around a place; see `Finder`."""
        found = self._around(picture, Detection(place, 0.0), _AROUND, (1.0,))
        if found.score < _SURE:
            found = self._around(picture, found, _AROUND)
        return [found] if found.score > 0 else []

    def _search(self, halves: "_Halves", scales: list[float]) -> list[Detection]:
        found: list[Detection] = []
        for scale in reversed(scales):
            largest = max((item.box.width for item in found), default=0.0)
            if largest and WINDOW / scale < RIVAL_WIDTH * largest:
                break
            found += _hits(self._network(halves.at(scale)), scale)
        return found

    def _around(
        self,
        picture: Picture,
        known: Detection,
        beyond: float,
        changes: tuple[float, ...] = _BETWEEN,
    ) -> Detection:
        """Return the best of a known face and detections around it at other scales."""
        rows, columns = picture.shape[:2]
        near = known.box
        best = known
        margin = near.width * beyond
        left = max(int(near.left - margin), 0)
        top = max(int(near.top - margin), 0)
        right = min(int(near.right + margin), columns)
        bottom = min(int(near.bottom + margin), rows)
        cut = picture[top:bottom, left:right]
        for change in changes:
            scale = WINDOW / near.width * change
            if min(cut.shape[:2], default=0) * scale >= WINDOW:
                for hit in _hits(self._network(shrink(cut, scale)), scale):
                    if hit.score > best.score:
                        best = Detection(hit.box.shifted(left, top), hit.score)
        return best


class _Halves:
    """A picture and its halvings, so that each scale is made from one near it in size."""

    def __init__(self, picture: Picture) -> None:
        self._pictures = [picture]

    def at(self, scale: float) -> Picture:
        depth = 0
        while scale < 0.5:  # noqa: PLR2004 - halve once more
            scale *= 2
            depth += 1
        while len(self._pictures) <= depth:
            self._pictures.append(shrink(self._pictures[-1], 0.5))
        return shrink(self._pictures[depth], scale)


def _scales(side: int, smallest: float) -> list[float]:
    """Return the scales of the pyramid, finest first."""
    scales = []
    scale = WINDOW / smallest
    while side * scale >= WINDOW:
        scales.append(scale)
        scale *= _STEP
    return scales


def _hits(scores: npt.NDArray[np.float32], scale: float) -> list[Detection]:
    rows, columns = np.nonzero(scores > 0)
    half = WINDOW / 2
    return [
        Detection(
            Box(
                (_STRIDE * column + _CENTER - half) / scale,
                (_STRIDE * row + _CENTER - half) / scale,
                (_STRIDE * column + _CENTER + half) / scale - 1,
                (_STRIDE * row + _CENTER + half) / scale - 1,
            ),
            float(scores[row, column]),
        )
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
    ]


def _distinct(found: list[Detection]) -> list[Detection]:
    kept: list[Detection] = []
    for item in found:
        if not any(_same(item.box, other.box) for other in kept):
            kept.append(item)
    return kept


def _same(one: Box, other: Box) -> bool:
    shared = one.overlap(other)
    union = one.area + other.area - shared
    return shared / union > _OVERLAP or shared / min(one.area, other.area) > _COVERED
