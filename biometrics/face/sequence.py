"""Read a capture and check that it shows one living person who follows the command."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from biometrics.face import align
from biometrics.face.active import Gesture, Pose, frontal, judge_gestures
from biometrics.face.errors import FrameRefused, LivenessFailed
from biometrics.face.frames import Frame
from biometrics.face.geometry import Box, Points
from biometrics.face.images import Picture, decode, grey, mark, thumbnail
from biometrics.face.model import FaceModel
from biometrics.face.passive import cues
from biometrics.face.planar import FLAT, depth
from biometrics.face.quality import GESTURE, QualityPolicy, judge

_STILL: Final = 0.15
"""Gray levels between two thumbnails; frames of a living person always differ by more."""
_BEST: Final = 3

Vectors = npt.NDArray[np.float64]


@dataclass(kw_only=True, frozen=True, slots=True)
class DetectedFrame:
    """One frame after detection; only the aligned crops and a thumbnail of it are retained."""

    box: Box = field(repr=False)
    points: Points = field(repr=False)
    chip: Picture = field(repr=False)
    face: Picture = field(repr=False)
    thumbnail: Picture = field(repr=False)
    mark: bytes = field(repr=False)


@dataclass(kw_only=True, frozen=True, slots=True)
class Frontal:
    """A frontal frame of a capture, ready to be compared with a template."""

    vector: npt.NDArray[np.float32] = field(repr=False)
    quality: float
    cues: Mapping[str, float] = field(repr=False)
    model: FaceModel
    marks: bytes = field(default=b"", repr=False)
    """The marks of the whole capture, or of the single still picture."""


class Eyes(Protocol):
    """The operations of the face engine that reading a capture needs."""

    @property
    def model(self) -> FaceModel:
        """The embedding model."""

    def look(
        self, picture: Picture, policy: QualityPolicy, near: Box | None, *, steady: bool
    ) -> tuple[Box, Points]:
        """Return the one face and its landmarks; raises FrameRefused."""

    def face(self, picture: Picture, points: Points, chip: Picture) -> Picture:
        """Return the crop that is embedded."""

    def vectors(self, faces: Sequence[Picture]) -> Vectors:
        """Return the unit-length embedding of each face, (n, d)."""

    def embed(self, face: Picture) -> npt.NDArray[np.float32]:
        """Return the unit-length mean embedding of a face and its mirror image."""


def read_capture(
    eyes: Eyes, frames: Sequence[Frame], gestures: Sequence[Gesture], policy: QualityPolicy
) -> list[Frontal]:
    """Return the best frontal frames of a living person who followed the command.

    Args:
        eyes: The engine.
        frames: The frames in order of time.
        gestures: The commanded gestures.
        policy: Required quality of the frontal frames; the others only need a detected face.

    Raises:
        FrameRefused: A frame is not usable; ``number`` is its index.
        LivenessFailed: Another person, a still or flat picture, or gestures not as commanded.
    """
    seen = _look(eyes, frames)
    _check_moving(seen)
    poses = [_pose(frame.t, item.points) for frame, item in zip(frames, seen, strict=True)]
    turns = judge_gestures(gestures, poses)
    cuts = [grey(item.chip) for item in seen]
    if any(depth(cuts[start : end + 1]) < FLAT for start, end in turns):
        raise LivenessFailed("flat")
    straight = frontal(poses)
    _check_same(eyes.vectors([item.face for item in seen]), straight, eyes.model)
    marks = b"".join(item.mark for item in seen)
    return _best(eyes, [seen[number] for number in straight], policy, marks)


def _look(eyes: Eyes, frames: Sequence[Frame]) -> list[DetectedFrame]:
    seen: list[DetectedFrame] = []
    for number, frame in enumerate(frames):
        try:
            picture = decode(frame.image)
            near = seen[-1].box if seen else None
            box, points = eyes.look(picture, GESTURE, near, steady=True)
            chip = align.chip(picture, points)
            judge(points, chip, GESTURE)
        except FrameRefused as refused:
            refused.number = number
            raise
        face = eyes.face(picture, points, chip)
        seen.append(
            DetectedFrame(
                box=box,
                points=points,
                chip=chip,
                face=face,
                thumbnail=thumbnail(picture),
                mark=mark(picture),
            )
        )
    return seen


def _pose(t: float, points: Points) -> Pose:
    beside, below = align.pose(points)
    right, left = align.eyes(points)
    return Pose(
        t=t,
        beside=beside,
        below=below,
        between=align.interocular(points),
        height=float(right[1] + left[1]) / 2,
    )


def _check_moving(seen: Sequence[DetectedFrame]) -> None:
    small = [item.thumbnail.astype(np.float32) for item in seen]
    for one, other in combinations(small, 2):
        if one.shape == other.shape and float(np.abs(one - other).mean()) < _STILL:
            raise LivenessFailed("still")


def _check_same(vectors: Vectors, numbers: Sequence[int], model: FaceModel) -> None:
    if not numbers:
        # The first two frames are frontal on average, but neither is by itself.
        raise LivenessFailed("not_frontal_first")
    straight = vectors[list(numbers)]
    # A mean of two people is near to both, so the frames in it must first agree with each other.
    apart = np.linalg.norm(straight[:, None] - straight[None], axis=2)
    mean = straight.mean(axis=0)
    mean /= np.linalg.norm(mean)
    far = np.linalg.norm(vectors - mean, axis=1)
    # The comparisons are written so that NaN fails them.
    if not float(apart.max()) <= model.agreement or not float(far.max()) <= model.same_person:
        raise LivenessFailed("another_face")


def _best(
    eyes: Eyes, straight: Sequence[DetectedFrame], policy: QualityPolicy, marks: bytes
) -> list[Frontal]:
    judged: list[tuple[float, DetectedFrame]] = []
    refusal: FrameRefused | None = None
    for item in straight:
        try:
            judged.append((judge(item.points, item.chip, policy), item))
        except FrameRefused as refused:
            refusal = refused
    if not judged:
        raise refusal or FrameRefused("not_frontal", "Look straight into the camera.")
    judged.sort(key=lambda pair: -pair[0])
    return [
        Frontal(
            vector=eyes.embed(item.face),
            quality=quality,
            cues=cues(item.chip),
            model=eyes.model,
            marks=marks,
        )
        for quality, item in judged[:_BEST]
    ]
