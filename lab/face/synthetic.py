"""A synthetic head: a portrait mapped onto an ellipsoid with a nose, in any attitude.

It produces honest captures and attacks for the demo, the tests and the benchmarks, from the two
public-domain portraits. It is not a model of a person: skin does not move and shading is fixed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from biometrics.face.active import ORDERS, Gesture
from biometrics.face.frames import Frame
from biometrics.face.geometry import Points
from biometrics.face.images import Picture, decode
from lab.face import portraits

EVERY: Final = 150.0
_GRID: Final = 12
_ROUNDS: Final = 8
# All lengths in interocular distances: the half axes of the head, and its nose.
_AXES: Final = (1.3, 1.8, 1.05)
_NOSE: Final = (0.45, 0.22, 0.30)
_AXLE: Final = -0.9
"""Distance of the rotation axis behind the eyes."""
_AWAY: Final = 8.0
_STEP: Final = 13.0

Numbers = npt.NDArray[np.float64]


@dataclass(kw_only=True, frozen=True, slots=True)
class Attitude:
    """The attitude of a head: angles in degrees, shifts in interocular distances.

    Args:
        yaw: Positive to the person's left, which is the right of the picture.
        pitch: Positive upwards.
        roll: Positive clockwise in the picture.
        size: Size relative to the portrait.
        across: Shift to the right.
        down: Shift downwards.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    size: float = 1.0
    across: float = 0.0
    down: float = 0.0


TARGETS: Final = {
    Gesture.LEFT: Attitude(yaw=35),
    Gesture.RIGHT: Attitude(yaw=-35),
    Gesture.UP: Attitude(pitch=17),
    Gesture.DOWN: Attitude(pitch=-12),
    Gesture.CLOSER: Attitude(size=1.38),
    Gesture.CENTER: Attitude(),
}


_COLLINS: Final = (
    (290.8, 208.1),
    (255.3, 209.7),
    (170.3, 202.1),
    (204.4, 206.8),
    (228.9, 269.5),
)
_HOPPER: Final = (
    (323.1, 190.2),
    (291.4, 191.6),
    (207.7, 195.7),
    (240.1, 194.6),
    (269.6, 252.9),
)
"""The five landmarks in the portraits."""


class SyntheticHead:
    """A portrait with depth.

    Args:
        portrait: uint8 (rows, columns, 3) BGR, a frontal face.
        points: Its five landmarks, (5, 2).
        bulge: 1 for a head, 0 for a flat photograph of one.
        away: Distance of the camera, in interocular distances.
    """

    def __init__(
        self, portrait: Picture, points: Points, bulge: float = 1.0, away: float = _AWAY
    ) -> None:
        exact = points.astype(np.float64)
        self._portrait = portrait
        self._points = exact
        self._eyes = exact[:4].mean(axis=0)
        self._unit = float(np.hypot(*(exact[:2].mean(axis=0) - exact[2:4].mean(axis=0))))
        self._nose = (exact[4] - self._eyes) / self._unit
        self._bulge = bulge
        self._away = away

    def flat(self, away: float = _AWAY) -> "SyntheticHead":
        """Return a flat photograph of this head."""
        return SyntheticHead(self._portrait, self._points, 0.0, away)

    def picture(self, held: Attitude, rng: np.random.Generator, noise: float = 2.0) -> Picture:
        """Render a camera picture, as large as the portrait, with noise in gray levels."""
        rows, columns = self._portrait.shape[:2]
        across, down = np.meshgrid(
            np.linspace(0, columns - 1, columns // _GRID), np.linspace(0, rows - 1, rows // _GRID)
        )
        wanted = (np.stack([across, down], axis=-1) - self._eyes) / self._unit
        place = wanted / held.size
        for _ in range(_ROUNDS):
            place = place + (wanted - self._project(place, held)) / held.size
        source = (place * self._unit + self._eyes).astype(np.float32)
        size = (columns, rows)
        border = cv2.BORDER_REPLICATE
        where = cv2.resize(source[..., 0], size), cv2.resize(source[..., 1], size)
        seen = np.asarray(
            cv2.remap(self._portrait, *where, cv2.INTER_LINEAR, borderMode=border), np.float32
        )
        grain = rng.normal(0, noise, seen.shape).astype(np.float32)
        return np.asarray(np.clip(seen + grain, 0, 255), dtype=np.uint8)

    def points(self, held: Attitude, rng: np.random.Generator, noise: float = 0.012) -> Numbers:
        """Return the five landmarks as a predictor would find them, with its noise."""
        exact = self._project((self._points - self._eyes) / self._unit, held)
        jitter = rng.normal(0, noise * held.size, exact.shape)
        return np.asarray((exact + jitter) * self._unit + self._eyes)

    def _project(self, place: Numbers, held: Attitude) -> Numbers:
        x = place[..., 0]
        y = place[..., 1]
        z = self._depth(place) - _AXLE
        yaw, pitch, roll = np.radians((held.yaw, held.pitch, held.roll))
        x, z = x * np.cos(yaw) + z * np.sin(yaw), z * np.cos(yaw) - x * np.sin(yaw)
        y, z = y * np.cos(pitch) - z * np.sin(pitch), z * np.cos(pitch) + y * np.sin(pitch)
        # The axis does not move, so that a turn shifts the face a little, as a neck does.
        near = self._away / (self._away - (z + _AXLE))
        x = x * near * held.size
        y = y * near * held.size
        turned = x * np.cos(roll) - y * np.sin(roll), x * np.sin(roll) + y * np.cos(roll)
        return np.stack([turned[0] + held.across, turned[1] + held.down], axis=-1)

    def _depth(self, place: Numbers) -> Numbers:
        """Return the distance of each place in front of the eyes."""
        x = place[..., 0]
        y = place[..., 1] - 0.35
        round_ = np.maximum(1 - (x / _AXES[0]) ** 2 - (y / _AXES[1]) ** 2, 0.12)
        head = _AXES[2] * (np.sqrt(round_) - 0.91)
        height, wide, tall = _NOSE
        nose = place - self._nose
        bump = height * np.exp(-((nose[..., 0] / wide) ** 2) - ((nose[..., 1] + 0.06) / tall) ** 2)
        return np.asarray(self._bulge * (head + bump))


def collins() -> SyntheticHead:
    """Return the head of Eileen Collins."""
    return SyntheticHead(decode(portraits.collins()), np.array(_COLLINS))


def hopper() -> SyntheticHead:
    """Return the head of Grace Hopper."""
    return SyntheticHead(decode(portraits.hopper()), np.array(_HOPPER))


def record(
    head: SyntheticHead, path: Sequence[Attitude], rng: np.random.Generator, every: float = EVERY
) -> list[Frame]:
    """Return the frames of a head in consecutive attitudes.

    Args:
        head: The head.
        path: The attitude in each frame.
        rng: Random generator of the camera noise.
        every: Milliseconds between two frames.
    """
    return [
        Frame(every * number, jpeg(head.picture(held, rng))) for number, held in enumerate(path)
    ]


def jpeg(picture: Picture, quality: int = 90) -> bytes:
    """Return a picture as a JPEG."""
    return bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


def honest(
    gestures: Sequence[Gesture],
    rng: np.random.Generator,
    swing: float = 0.04,
    step: float = _STEP,
) -> list[Attitude]:
    """Return the attitudes of a person who follows a command, frame by frame.

    Args:
        gestures: The commanded gestures.
        rng: Random generator of the extent of the gestures and of involuntary movements.
        swing: Spread of the extent, as a share.
        step: Degrees from one frame to the next.
    """
    path = [Attitude()] * 3
    now = Attitude()
    for gesture in gestures:
        reach = float(np.clip(rng.normal(1, swing), 0.94, 1.12))
        target = _scaled(TARGETS[gesture], reach)
        path += _way(now, target, step)
        # A commanded turn is held for a moment; the center must be held.
        path += [target] * (3 if gesture is Gesture.CENTER else 1)
        now = target
    return [_alive(item, rng) for item in path]


def photograph(gestures: Sequence[Gesture], rng: np.random.Generator) -> list[Attitude]:
    """Return the attitudes of a photograph tilted to look like following a command."""
    path = [Attitude()] * 3
    now = Attitude()
    for gesture in gestures:
        target = _scaled(TARGETS[gesture], float(rng.uniform(0.8, 1.2)))
        if gesture in {Gesture.LEFT, Gesture.RIGHT}:
            lean = Attitude(
                yaw=float(rng.choice([-1, 1]) * rng.uniform(15, 35)),
                pitch=float(rng.uniform(-25, 25)),
                roll=float(rng.uniform(-20, 20)),
            )
            target = lean
        path += [*_way(now, target), target]
        now = target
    return [_alive(item, rng) for item in path]


def stills(gestures: Sequence[Gesture], rng: np.random.Generator, each: int = 3) -> list[Attitude]:
    """Return a few photographs in the right attitudes, each shown for some frames."""
    path: list[Attitude] = []
    for target in (Attitude(), *(TARGETS[gesture] for gesture in gestures)):
        shown = _alive(target, rng)
        path += [
            replace(shown, across=shown.across + rng.normal(0, 0.02), size=shown.size * 1.002**n)
            for n in range(each)
        ]
    return path


def _scaled(target: Attitude, by: float) -> Attitude:
    return Attitude(
        yaw=target.yaw * by, pitch=target.pitch * by, roll=0.0, size=1 + (target.size - 1) * by
    )


def _way(start: Attitude, end: Attitude, step: float = _STEP) -> list[Attitude]:
    """Return the frames from one attitude to another, including the end."""
    far = max(abs(end.yaw - start.yaw), abs(end.pitch - start.pitch))
    far = max(far, 60 * abs(end.size - start.size), abs(end.roll - start.roll))
    count = max(1, int(np.ceil(far / step)))
    names = ("yaw", "pitch", "roll", "size")
    return [
        Attitude(
            **{
                name: getattr(start, name) + (getattr(end, name) - getattr(start, name)) * n / count
                for name in names
            }
        )
        for n in range(1, count + 1)
    ]


def _alive(held: Attitude, rng: np.random.Generator) -> Attitude:
    """Return the attitude with small involuntary movements."""
    turn, nod, lean, size, across, down = rng.normal(0, (1.0, 1.0, 0.8, 0.006, 0.02, 0.02))
    return Attitude(
        yaw=held.yaw + turn,
        pitch=held.pitch + nod,
        roll=held.roll + lean,
        size=held.size * (1 + size),
        across=held.across + across,
        down=held.down + down,
    )


def presentations(
    head: SyntheticHead, stranger: SyntheticHead, rng: np.random.Generator
) -> dict[str, tuple[list[Frame], tuple[Gesture, ...]]]:
    """Return one honest capture and one attack of each kind, each with its command.

    A replayed capture answers another command. If the command happens to be the same (one in 96),
    the service detects the replay by its memory of accepted frames.
    """
    order = _drawn(rng)
    capture = record(head, honest(order, rng), rng)
    swapped = [*capture]
    other = record(stranger, honest(order, rng), rng)
    shared = min(len(capture), len(other))
    first = int(rng.integers(2, shared - 2))
    for number in range(first, min(first + int(rng.integers(1, 6)), shared)):
        swapped[number] = other[number]
    flat = head.flat(float(rng.uniform(4, 10)))
    still = record(head, stills(order, rng), rng)
    frozen = [replace_image(item, capture[0]) for item in capture]
    mixed = tuple(Gesture(name) for name in rng.permutation(order))
    while mixed == order:
        mixed = tuple(Gesture(name) for name in rng.permutation(order))
    elsewhere = _drawn(rng)
    while elsewhere == order:
        elsewhere = _drawn(rng)
    return {
        "honest": (capture, order),
        "flat photograph, tilted": (record(flat, photograph(order, rng), rng), order),
        "stills of the right poses": (still, order),
        "one frame, over and over": (frozen, order),
        "replayed, for another command": (capture, elsewhere),
        "right gestures, wrong order": (capture, mixed),
        "another face in some frames": (swapped, order),
    }


def replace_image(frame: Frame, source: Frame) -> Frame:
    """Return a frame with the picture of another one, re-encoded."""
    quality = 70 + int(frame.t / EVERY) % 25
    return Frame(frame.t, jpeg(decode(source.image), quality))


def _drawn(rng: np.random.Generator) -> tuple[Gesture, ...]:
    return ORDERS[int(rng.integers(len(ORDERS)))]
