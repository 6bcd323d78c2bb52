"""Tell a head from a flat picture: only tracked points of a plane follow one homography.

Two views of a plane are always related by a homography (Hartley and Zisserman, "Multiple View
Geometry", section 13.1), however the plane is tilted and the camera held. So points are tracked
through the aligned crops of a turn, and the residual of a fitted homography measures depth.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from biometrics.face.align import SIDE
from biometrics.face.images import Picture

FLAT: Final = 1.3
"""Pixels of a crop (52 between the eyes): flat photographs reach 0.9 at most, heads 2.0 or more."""
_POINTS: Final = 100
_FEWEST: Final = 20
_STAYS: Final = 0.5
_APART: Final = 5
_AGREE: Final = 1.0
_KEPT: Final = 0.9
_WINDOW: Final = (15, 15)
_LEVELS: Final = 2
_FACE: Final = ((75, 78), (52, 62))

Places = npt.NDArray[np.float32]


def depth(cuts: Sequence[Picture]) -> float:
    """Return the residual depth that no plane explains between the first and last crop, in pixels.

    Args:
        cuts: Gray crops of one turn, uint8 (150, 150), in order of time.

    Returns:
        Root mean square residual of the best homography, without the worst tenth; 0 if too few
        points could be tracked.
    """
    first = _corners(cuts[0])
    if first is None or len(cuts) < 2:  # noqa: PLR2004 - at least two views
        return 0.0
    last = first
    kept = np.ones(len(first), dtype=bool)
    for before, after in pairwise(cuts):
        last, good = _track(before, after, last)
        # Most points are still found a moment later, unless the picture was replaced.
        if good.mean() < _STAYS:
            return 0.0
        kept &= good
    if kept.sum() < _FEWEST:
        return 0.0
    return _left_over(first[kept, 0], last[kept, 0])


def _corners(cut: Picture) -> Places | None:
    mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
    cv2.ellipse(mask, *_FACE, 0, 0, 360, 255, -1)
    found = cv2.goodFeaturesToTrack(cut, _POINTS, 0.01, _APART, mask=mask)
    # A uniform crop has no corners, and then the result is None despite the declared type.
    return np.asarray(found, dtype=np.float32) if np.ndim(found) else None


def _track(before: Picture, after: Picture, places: Places) -> tuple[Places, npt.NDArray[np.bool_]]:
    """Track points to the next crop; good are those that also track back to their origin."""
    there, seen = _flow(before, after, places)
    back, seen_back = _flow(after, before, there)
    agree = np.abs(back - places).max(axis=(1, 2)) < _AGREE
    return there, np.asarray(seen & seen_back & agree, dtype=bool)


def _flow(before: Picture, after: Picture, places: Places) -> tuple[Places, npt.NDArray[np.bool_]]:
    there, seen, _ = cv2.calcOpticalFlowPyrLK(  # type: ignore[call-overload]  # None is documented
        before, after, places, None, winSize=_WINDOW, maxLevel=_LEVELS
    )
    return np.asarray(there, dtype=np.float32), np.asarray(seen[:, 0] == 1, dtype=bool)


def _left_over(source: Places, target: Places) -> float:
    plane, _ = cv2.findHomography(source, target, 0)
    if not np.ndim(plane):
        return 0.0
    explained = cv2.perspectiveTransform(source[:, None], plane)[:, 0]
    errors = np.sort(np.hypot(*(explained - target).T))
    kept = errors[: int(_KEPT * len(errors))]
    return float(np.sqrt(np.mean(kept**2)))
