"""Active liveness: commanded gestures, measured as the parallax of the nose on five landmarks.

The base of the nose lies in front of the eyes. When a head turns, it moves along the line of the
eyes by more than any flat picture allows, however that is tilted. So a turn is always among the
commanded gestures, at a random position. Left and right are the person's own, in pictures as a
camera takes them (not mirrored). All functions here are pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise, permutations
from typing import Final

from biometrics.face.errors import LivenessFailed

LEAST_FRAMES: Final = 8
MOST_FRAMES: Final = 28
LEAST_SPAN: Final = 1200.0
"""Milliseconds below which no one can make three gestures."""
LONGEST_GAP: Final = 1500.0
"""Milliseconds between two frames; more would allow a switch to another face."""
TURN: Final = 0.15
"""Movement of the nose along the eyes, in interocular distances (a plane reaches at most 0.13)."""
_UP: Final = -0.12
_DOWN: Final = 0.10
_DROP: Final = 0.13
"""Drop of the eyes in a forward nod, even if the predictor keeps the nose up."""
_SAME_SIZE: Final = (0.85, 1.15)
_CLOSER: Final = 1.20
_BASE_FRAMES: Final = 2
_STRAIGHT: Final = 0.07
_BASE_TURN: Final = 0.16
# A gesture that was not commanded must be unmistakable before it counts against the person.
_WRONG_TURN: Final = 0.22
_WRONG_UP: Final = -0.28
_WRONG_DOWN: Final = 0.26
_WRONG_CLOSER: Final = 1.45
# A return to the center: within the noise of the first frames, and held, not only passed.
_MIDDLE_TURN: Final = 0.09
_MIDDLE_NOD: Final = 0.10
_HOLD: Final = 350.0
_HELD_TURN: Final = 0.07
# The greatest step between two frames: larger ones mean that the picture was replaced.
_STEP: Final = 0.30
_GROWTH: Final = 1.40
_APPROACH: Final = 0.2
_ON_THE_WAY: Final = 0.02
"""Movement from frame to frame within a turn; landmarks of a still face move by less."""


class Gesture(StrEnum):
    """A commanded gesture; left and right are the person's own."""

    LEFT = "left"
    RIGHT = "right"
    UP = "up"
    DOWN = "down"
    CLOSER = "closer"
    CENTER = "center"


_TURNS: Final = frozenset({Gesture.LEFT, Gesture.RIGHT})
ORDERS: Final = tuple(order for order in permutations(Gesture, 3) if _TURNS.intersection(order))
"""All 96 commands: ordered triples of different gestures that include a turn."""


@dataclass(kw_only=True, frozen=True, slots=True)
class Pose:
    """The pose of the head in a frame.

    Args:
        t: Time in milliseconds.
        beside: Offset of the nose base to the right of the midpoint between the eyes, in
            interocular distances.
        below: Offset of the nose base below that midpoint, in interocular distances.
        between: Interocular distance in pixels.
        height: Vertical position of the midpoint between the eyes, in pixels from the top.
    """

    t: float
    beside: float = field(repr=False)
    below: float = field(repr=False)
    between: float = field(repr=False)
    height: float = field(repr=False)


@dataclass(kw_only=True, frozen=True, slots=True)
class _Change:
    """A pose relative to the first, frontal ones; lengths in their interocular distances."""

    t: float
    turn: float
    nod: float
    drop: float
    size: float

    def shows(self, gesture: Gesture) -> bool:
        """Return whether the threshold of a gesture is reached."""
        return {
            Gesture.LEFT: self.turn >= TURN,
            Gesture.RIGHT: self.turn <= -TURN,
            Gesture.UP: self.nod <= _UP,
            Gesture.DOWN: self.sunk or (self.nod >= _DOWN and abs(self.turn) < _MIDDLE_TURN),
            Gesture.CLOSER: self.size >= _CLOSER,
            Gesture.CENTER: self.middle,
        }[gesture]

    @property
    def sunk(self) -> bool:
        """Whether the eyes are lower, at the same distance and without a raised chin."""
        same = _SAME_SIZE[0] <= self.size <= _SAME_SIZE[1]
        return same and self.drop >= _DROP and self.nod > _UP

    @property
    def middle(self) -> bool:
        """Whether the head is back in its first pose."""
        level = abs(self.turn) <= _MIDDLE_TURN and abs(self.nod) <= _MIDDLE_NOD
        return level and _SAME_SIZE[0] <= self.size <= _SAME_SIZE[1]

    def clearly(self) -> frozenset[Gesture]:
        """Return the gestures that are unmistakably made."""
        seen = {
            Gesture.LEFT: self.turn >= _WRONG_TURN,
            Gesture.RIGHT: self.turn <= -_WRONG_TURN,
            Gesture.UP: self.nod <= _WRONG_UP,
            # The nose of a turned head seems lower, as the distance between the eyes shrinks.
            Gesture.DOWN: self.nod >= _WRONG_DOWN and abs(self.turn) < TURN,
            Gesture.CLOSER: self.size >= _WRONG_CLOSER,
        }
        return frozenset(gesture for gesture, made in seen.items() if made)


def judge_gestures(gestures: Sequence[Gesture], poses: Sequence[Pose]) -> list[tuple[int, int]]:
    """Check that a head made the commanded gestures in order, and no others.

    Args:
        gestures: The commanded gestures.
        poses: One per frame, in order of time; the first ones face the camera.

    Returns:
        For each turn, the index of the frame where it began and of the frame where it was widest;
        the frames between must show depth, see `planar`.

    Raises:
        LivenessFailed: The reason says what was missing; it is for the audit log only.
    """
    _check_times(poses)
    _check_steps(poses)
    base = _base(poses[:_BASE_FRAMES])
    changes = [_change(base, pose) for pose in poses[_BASE_FRAMES:]]
    at = 0
    before = None
    turns = []
    for gesture in gestures:
        done = _follow(gesture, before, changes, at)
        if gesture in _TURNS:
            start, end = _span(gesture, changes, at, done)
            turns.append((start + _BASE_FRAMES, end + _BASE_FRAMES))
        at = done
        before = gesture
    return turns


def frontal(poses: Sequence[Pose]) -> list[int]:
    """Return the indices of the frames with the same pose as the first, frontal ones."""
    base = _base(poses[:_BASE_FRAMES])
    changes = [_change(base, pose) for pose in poses]
    return [
        number
        for number, change in enumerate(changes)
        if abs(change.turn) <= _STRAIGHT
        and abs(change.nod) <= _STRAIGHT
        and abs(change.drop) <= _STRAIGHT
    ]


def _span(gesture: Gesture, changes: Sequence[_Change], begun: int, done: int) -> tuple[int, int]:
    """Return the index where a turn left the center and the index where it was widest."""
    start = min(range(begun, done), key=lambda number: abs(changes[number].turn))
    end = done - 1
    for number in range(done, len(changes)):
        if not changes[number].shows(gesture):
            break
        if abs(changes[number].turn) > abs(changes[end].turn):
            end = number
    return start, end


def _follow(gesture: Gesture, before: Gesture | None, changes: Sequence[_Change], at: int) -> int:
    """Return the index of the frame after the one that completes a gesture."""
    approached = gesture not in _TURNS
    for number in range(at, len(changes)):
        if _complete(gesture, changes[at : number + 1]):
            if not approached:
                raise LivenessFailed("no_motion")
            return number + 1
        approached = approached or _nearing(gesture, changes, number)
        # A single frame may be an error of the predictor; two are a gesture.
        made = changes[number].clearly() & changes[max(number - 1, 0)].clearly()
        if made - {gesture, before}:
            raise LivenessFailed("wrong_gesture")
    raise LivenessFailed("gesture_missing")


def _complete(gesture: Gesture, changes: Sequence[_Change]) -> bool:
    """Return whether the last frame completes a gesture; the center must be held."""
    if gesture is not Gesture.CENTER:
        return changes[-1].shows(gesture)
    held: list[_Change] = []
    for change in reversed(changes):
        turns = [item.turn for item in (*held, change)]
        if not change.middle or max(turns) - min(turns) > _HELD_TURN:
            return False
        held.append(change)
        if held[0].t - change.t >= _HOLD:
            return True
    return False


def _nearing(gesture: Gesture, changes: Sequence[_Change], number: int) -> bool:
    """Return whether a frame shows a turn in progress, past the one before and soon passed.

    Replaced photographs are each shown for a while: one that happens to be slightly turned does not
    move. Landmarks of a moving head may pause for one frame.
    """
    sign = 1 if gesture is Gesture.LEFT else -1
    around = [sign * change.turn for change in changes[max(number - 1, 0) : number + 3]]
    if len(around) < 3 or not _APPROACH * TURN <= around[1] < TURN:  # noqa: PLR2004 - previous, this, next
        return False
    return min(around[1] - around[0], max(around[2:]) - around[1]) >= _ON_THE_WAY


def _base(first: Sequence[Pose]) -> Pose:
    if max(abs(pose.beside) for pose in first) > _BASE_TURN:
        raise LivenessFailed("not_frontal_first")
    count = len(first)
    return Pose(
        t=first[0].t,
        beside=sum(pose.beside for pose in first) / count,
        below=sum(pose.below for pose in first) / count,
        between=sum(pose.between for pose in first) / count,
        height=sum(pose.height for pose in first) / count,
    )


def _change(base: Pose, pose: Pose) -> _Change:
    return _Change(
        t=pose.t,
        turn=pose.beside - base.beside,
        nod=pose.below - base.below,
        drop=(pose.height - base.height) / base.between,
        size=pose.between / base.between,
    )


def _check_times(poses: Sequence[Pose]) -> None:
    if not LEAST_FRAMES <= len(poses) <= MOST_FRAMES:
        raise LivenessFailed("frame_count")
    if poses[-1].t - poses[0].t < LEAST_SPAN:
        raise LivenessFailed("too_fast")
    gaps = [later.t - earlier.t for earlier, later in pairwise(poses)]
    if min(gaps) <= 0 or max(gaps) > LONGEST_GAP:
        raise LivenessFailed("times")


def _check_steps(poses: Sequence[Pose]) -> None:
    for earlier, later in pairwise(poses):
        moved = max(abs(later.beside - earlier.beside), abs(later.below - earlier.below))
        grown = max(later.between / earlier.between, earlier.between / later.between)
        if moved > _STEP or grown > _GROWTH:
            raise LivenessFailed("jump")
