"""Quality checks of a picture; each refusal has a code and advice for the person."""

from dataclasses import dataclass
from typing import Final

from biometrics.face.align import interocular, pose
from biometrics.face.detect import RIVAL_WIDTH, Detection
from biometrics.face.errors import FrameRefused
from biometrics.face.geometry import Points
from biometrics.face.images import Picture, grey, sharpness

_SHARP: Final = 400.0
_NOSE_BELOW: Final = (0.45, 1.15)
_LIGHT: Final = (35.0, 225.0)
_CONTRAST: Final = 14.0


@dataclass(kw_only=True, frozen=True, slots=True)
class QualityPolicy:
    """The quality requirements of a picture.

    Args:
        least_share: Minimum width of the face, as a share of the width of the picture.
        least_interocular: Minimum interocular distance in pixels.
        least_sharpness: Minimum variance of the Laplacian of the aligned face.
        most_turned: Maximum offset of the nose beside the midpoint, in interocular distances.
        smallest: Width in pixels of the smallest face to search for.
    """

    least_share: float
    least_interocular: float
    least_sharpness: float
    most_turned: float
    smallest: float = 64.0


ENROLLMENT: Final = QualityPolicy(
    least_share=0.25, least_interocular=60, least_sharpness=25, most_turned=0.18
)
PROBE: Final = QualityPolicy(
    least_share=0.15, least_interocular=36, least_sharpness=12, most_turned=0.25
)
SMALL_FACES: Final = QualityPolicy(
    least_share=0.10, least_interocular=18, least_sharpness=2, most_turned=0.60, smallest=48
)
GESTURE: Final = QualityPolicy(
    least_share=0.15, least_interocular=30, least_sharpness=6, most_turned=0.80
)
"""For frames of a capture that need not be frontal."""


def only_face(found: list[Detection], picture_width: int, policy: QualityPolicy) -> Detection:
    """Return the one face that is large enough.

    Raises:
        FrameRefused: No face, several faces, or a face that is too far away.
    """
    if not found:
        raise FrameRefused(
            "no_face", "No face was found: come close and look into the camera, in good light."
        )
    largest = max(found, key=lambda item: item.box.area)
    rival = RIVAL_WIDTH * largest.box.width
    if any(item is not largest and item.box.width >= rival for item in found):
        raise FrameRefused("several_faces", "Only one person may be in the picture.")
    if largest.box.width < policy.least_share * picture_width:
        raise too_small()
    return largest


def too_small() -> FrameRefused:
    """Return the error for a face that is too far away."""
    return FrameRefused("face_too_small", "Come closer to the camera.")


def judge(points: Points, chip: Picture, policy: QualityPolicy) -> float:
    """Return the quality of an aligned face, 0 (barely acceptable) to 1.

    Raises:
        FrameRefused: The face is too small, not frontal, blurred or badly lit.
    """
    between = interocular(points)
    if between < policy.least_interocular:
        raise too_small()
    turned, below = pose(points)
    if abs(turned) > policy.most_turned or not _NOSE_BELOW[0] <= below <= _NOSE_BELOW[1]:
        raise FrameRefused("not_frontal", "Look straight into the camera.")
    light = grey(chip)
    mean = float(light.mean())
    spread = float(light.std())
    if not _LIGHT[0] <= mean <= _LIGHT[1] or spread < _CONTRAST:
        raise FrameRefused("badly_lit", "Find an even light that is neither dim nor behind you.")
    sharp = sharpness(light)
    if sharp < policy.least_sharpness:
        raise FrameRefused("blurred", "Hold the camera still and clean its lens.")
    parts = (between / 120, sharp / _SHARP, 1 - abs(turned) / policy.most_turned, spread / 60)
    return float(min(1.0, max(0.0, min(parts))))
