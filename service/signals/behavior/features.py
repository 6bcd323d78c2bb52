"""From the wire to columns: what each part of a sample gives, or why it cannot be scored."""

from collections.abc import Mapping
from typing import Final

from biometrics.behavior.features import InputFlags, Key, NotScored, Touch, Vector, keystroke, touch
from biometrics.behavior.motion import Series, motion
from biometrics.behavior.pointer import pointer
from service.signals.behavior.schema import Behavior, Motion

FIELD: Final = "password"
"""The one text that is the same each time."""
KEYSTROKE: Final = "keystroke"
TOUCH: Final = "touch"
MOTION: Final = "motion"
POINTER: Final = "pointer"
EXPECTED: Final = (KEYSTROKE, TOUCH, MOTION)
"""Signals that say something by staying away; a keyboard does without a pointer any time."""
MARKED: Final = (KEYSTROKE, MOTION, POINTER)
"""Signals by which a sample is found when it comes again, on any device."""
ANOTHER_TEXT: Final = ("another_text", "only the password is the same text each time")
NO_KEYS: Final = ("touch_without_keys", "a touch is scored with the times of its keys")
Read = Mapping[str, Vector | NotScored]


def read(sample: Behavior) -> Read:
    """Return what each part of a sample gives; a part that was not sent is not in it."""
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
        return keystroke(_keys(sample), _told(sample))
    except NotScored as why:
        return why


def _touch(sample: Behavior) -> Vector | NotScored:
    if sample.keystroke is None:
        return NotScored(*NO_KEYS)
    if sample.keystroke.field != FIELD:
        return NotScored(*ANOTHER_TEXT)
    contacts = [Touch(key, *rest[:3]) for key, *rest in sample.touch or ()]
    try:
        return touch(_keys(sample), _told(sample), contacts)
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


def _told(sample: Behavior) -> InputFlags:
    flags = sample.flags
    return InputFlags(sample.clock_step_ms or 0.0, flags.paste, flags.autofill, flags.edited)
