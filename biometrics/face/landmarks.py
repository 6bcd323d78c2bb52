"""Locate five landmarks of a face with dlib's cascade of regression trees, in numpy.

The points are, in this order: outer and inner corner of the eye on the right of the picture, outer
and inner corner of the eye on its left, base of the nose. Source: Kazemi and Sullivan, "One
millisecond face alignment with an ensemble of regression trees", CVPR 2014; dlib,
``shape_predictor.h``.
"""

import io
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import numpy.typing as npt

from biometrics.face.arrays import Floats, Integers
from biometrics.face.geometry import Box, Similarity

PARTS: Final = 5

Grey = npt.NDArray[np.uint8]


@dataclass(kw_only=True, frozen=True, slots=True)
class Predictor:
    """The cascade, as arrays; c stages of t trees with s splits and s + 1 leaves each.

    Args:
        initial: Mean shape, float32 (5, 2), in a box of side 1.
        pixels: The two pixels compared by each split, int64 (c, t, s, 2).
        thresholds: float32 (c, t, s).
        leaves: The shape increment of each leaf, float32 (c, t, s + 1, 10).
        anchors: The landmark each pixel is measured from, int64 (c, p).
        deltas: The offset of each pixel from its anchor, float32 (c, p, 2).
    """

    initial: Floats
    pixels: Integers
    thresholds: Floats
    leaves: Floats
    anchors: Integers
    deltas: Floats

    def find(self, grey: Grey, box: Box) -> Floats:
        """Return the landmarks, float32 (5, 2) as x and y in pixels of ``grey``, not rounded.

        Args:
            grey: The whole picture, (rows, columns).
            box: The position of the face.
        """
        shape = self.initial
        for stage in range(len(self.pixels)):
            values = self._sample(grey, box, shape, stage)
            steps = self.leaves[stage][self._reached(values, stage)]
            shape = shape + (np.ones(len(steps), dtype=np.float32) @ steps).reshape(PARTS, 2)
        return box.scaled_up(shape).astype(np.float32)

    def steady(self, grey: Grey, box: Box) -> Floats:
        """Return the landmarks as `find` does, steadier from frame to frame at twice the cost.

        A detector's box has one of a few sizes. So the cascade runs again from the box around the
        landmarks themselves, and the result is the mean of both.
        """
        first = self.find(grey, box)
        second = self.find(grey, self._around(first))
        return np.asarray((first + second) / 2, dtype=np.float32)

    def _around(self, points: Floats) -> Box:
        """Return the box in which the mean face is nearest to the landmarks."""
        placed = Similarity.between(self.initial, points)
        middle = placed.turn * (0.5 + 0.5j) + placed.shift
        half = abs(placed.turn) / 2
        return Box(middle.real - half, middle.imag - half, middle.real + half, middle.imag + half)

    def _sample(self, grey: Grey, box: Box, shape: Floats, stage: int) -> Floats:
        """Return the gray values at this stage's pixels, float32 (p,); 0 outside the picture."""
        turn = Similarity.between(self.initial, shape).linear().astype(np.float32)
        relative = self.deltas[stage] @ turn.T + shape[self.anchors[stage]]
        across, down = np.floor(box.scaled_up(relative) + 0.5).astype(np.int64).T
        rows, columns = grey.shape
        inside = (across >= 0) & (down >= 0) & (across < columns) & (down < rows)
        values = grey[np.where(inside, down, 0), np.where(inside, across, 0)]
        return np.asarray(values * inside, dtype=np.float32)

    def _reached(self, values: Floats, stage: int) -> tuple[Integers, Integers]:
        """Evaluate all trees of a stage at once; return the index of each tree and of its leaf."""
        pixels = self.pixels[stage]
        thresholds = self.thresholds[stage]
        trees, splits = thresholds.shape
        left = (values[pixels[..., 0]] - values[pixels[..., 1]] > thresholds).ravel()
        roots = np.arange(trees) * splits
        node = np.zeros(trees, dtype=np.int64)
        while node[0] < splits:
            node = 2 * node + 2 - left[roots + node]
        return np.arange(trees), node - splits

    def pack(self) -> bytes:
        """Encode the arrays as an ``.npz`` archive without pickles."""
        archive = io.BytesIO()
        np.savez(
            archive, allow_pickle=False, **{f.name: getattr(self, f.name) for f in fields(self)}
        )
        return archive.getvalue()

    @classmethod
    def unpack(cls, archive: bytes) -> "Predictor":
        """Decode a predictor that ``pack`` encoded."""
        with np.load(io.BytesIO(archive), allow_pickle=False) as arrays:
            return cls(**{f.name: arrays[f.name] for f in fields(cls)})
