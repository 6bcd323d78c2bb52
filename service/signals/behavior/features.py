"""Convert the parts of a sample to feature columns, or say why they cannot be scored."""

from collections.abc import Mapping
from typing import Final

from biometrics.behavior.features import InputFlags, Key, NotScored, Touch, Vector, keystroke, touch
from biometrics.behavior.motion import Series, motion
from biometrics.behavior.pointer import pointer
from service.signals.behavior.schema import Behavior, Motion

FIELD: Final = "password"
"""The only field with the same text each time."""
KEYSTROKE: Final = "keystroke"
TOUCH: Final = "touch"
MOTION: Final = "motion"
POINTER: Final = "pointer"
EXPECTED: Final = (KEYSTROKE, TOUCH, MOTION)
"""Signals with absence as evidence; a keyboard user may never move a pointer."""
MARKED: Final = (KEYSTROKE, MOTION, POINTER)
"""Signals that detect a repeated sample, on any device."""
ANOTHER_TEXT: Final = ("another_text", "only the password is the same text each time")
NO_KEYS: Final = ("touch_without_keys", "a touch is scored with the times of its keys")
Read = Mapping[str, Vector | NotScored]


def read(sample: Behavior) -> Read:
    """Return the features of each part of a sample; parts that were not sent are left out."""
    found: dict[str, Vector | NotScored] = {}
    if sample.keystroke is not None:
        found[KEYSTROKE] = _text(sample)
    if sample.touch is not None:
        found[TOUCH] = _touch(sample)
    if sample.motion is not None:
        found[MOTION] = _motion(sample.motion)
    if sample.pointer is not None:
        found[POINTER] = _pointer(sample)
    return found


def _text(sample: Behavior) -> Vector | NotScored:
    if sample.keystroke is None or sample.keystroke.field != FIELD:
        return NotScored(*ANOTHER_TEXT)
    try:
        return keystroke(_keys(sample), _input_flags(sample))
    except NotScored as why:
        return why


def _touch(sample: Behavior) -> Vector | NotScored:
    if sample.keystroke is None:
        return NotScored(*NO_KEYS)
    if sample.keystroke.field != FIELD:
        return NotScored(*ANOTHER_TEXT)
    contacts = [Touch(key, *rest[:3]) for key, *rest in sample.touch or ()]
    try:
        return touch(_keys(sample), _input_flags(sample), contacts)
    except NotScored as why:
        return why


def _motion(given: Motion) -> Vector | NotScored:
    try:
        return motion(Series(given.hz, given.acc, given.rot))
    except NotScored as why:
        return why


def _pointer(sample: Behavior) -> Vector | NotScored:
    try:
        return pointer(sample.pointer or (), sample.clock_step_ms or 0.0)
    except NotScored as why:
        return why


def _keys(sample: Behavior) -> list[Key]:
    return [Key(*key) for key in sample.keystroke.keys] if sample.keystroke else []


def _input_flags(sample: Behavior) -> InputFlags:
    flags = sample.flags
    return InputFlags(sample.clock_step_ms or 0.0, flags.paste, flags.autofill, flags.edited)
