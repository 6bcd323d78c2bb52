"""Align a face to the crop that the embedder was trained on: 150x150, padding 0.25, as in dlib."""

from typing import Final

import numpy as np
import numpy.typing as npt

from biometrics.face.arrays import Floats
from biometrics.face.geometry import Points, Similarity
from biometrics.face.images import Picture, shrink, warp

SIDE: Final = 150
_PADDING: Final = 0.25
# The five landmarks on the mean face (dlib, image_transforms/interpolation.h).
_MEAN: Final = np.array(
    [
        [0.8595674595992, 0.2134981538014],
        [0.6460604764104, 0.2289674387677],
        [0.1205750620789, 0.2137274526848],
        [0.3340850613712, 0.2290642403242],
        [0.4901123135679, 0.6277975316475],
    ]
)
_TARGET: Final = (_MEAN + _PADDING) / (2 * _PADDING + 1) * SIDE


def chip(picture: Picture, points: Points) -> Picture:
    """Return the aligned face, uint8 (150, 150, 3).

    Args:
        picture: The whole picture, BGR.
        points: The five points, (5, 2), in the order of `landmarks`.
    """
    return cut(picture, points, _TARGET, SIDE)


def cut(picture: Picture, points: Points, target: Points, side: int) -> Picture:
    """Return the square crop that maps points onto target positions by least squares.

    Args:
        picture: The whole picture, BGR.
        points: Positions in the picture, (n, 2).
        target: Positions in the crop, (n, 2).
        side: Side of the crop in pixels.
    """
    scale = abs(Similarity.between(points, target).turn)
    if scale < 0.5:  # noqa: PLR2004 - below one half, linear interpolation skips pixels
        picture = shrink(picture, 2 * scale)
        points = points.astype(np.float64) * (2 * scale)
    transform = Similarity.between(points, target)
    shift = [[transform.shift.real], [transform.shift.imag]]
    return warp(picture, np.hstack([transform.linear(), np.array(shift)]), side)


def eyes(points: Points) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the centers of the right-hand and left-hand eye in the picture."""
    exact = points.astype(np.float64)
    return exact[:2].mean(axis=0), exact[2:4].mean(axis=0)


def interocular(points: Points) -> float:
    """Return the interocular distance in pixels."""
    right, left = eyes(points)
    return float(np.hypot(*(right - left)))


def pose(points: Points) -> tuple[float, float]:
    """Return the offset of the nose base beside and below the midpoint between the eyes.

    Both are in interocular distances; a frontal face has about (0, 0.77).
    """
    right, left = eyes(points)
    along = (right - left) / max(interocular(points), 1e-9)
    nose = points[4].astype(np.float64) - (right + left) / 2
    across = np.array([-along[1], along[0]])
    distance = max(interocular(points), 1e-9)
    return float(nose @ along / distance), float(nose @ across / distance)


def unit(vector: npt.NDArray[np.float64]) -> Floats:
    """Return the vector scaled to unit length, float32."""
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)
