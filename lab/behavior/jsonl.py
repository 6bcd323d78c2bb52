"""Read samples of an operator's own people: one JSON object per line, as a client sends them.

Grip and motion: `{"subject": "a name", "motion": {"hz": 60, "acc": [[x, y, z], …], "rot":
[[a, b, g], …]}}`. A pointer: `{"subject": "a name", "pointer": [[t, x, y, "move"], …]}`. Lines are
in order of time for each person; other members are ignored. Samples that a login would not score
are left out of the training.
"""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from biometrics.behavior.features import NotScored, Vector
from biometrics.behavior.layout import Floats, Layout
from biometrics.behavior.motion import Series, motion
from biometrics.behavior.pointer import pointer
from lab.behavior.loaders import BadData, People

_MOST_HZ: Final = 400.0
_MOST_VALUES: Final = 400
_LARGEST: Final = 1e6
_AXES: Final = 3
_MOST_EVENTS: Final = 500
_LONGEST_MS: Final = 600_000
_KINDS: Final = ("move", "down", "up")
_Sample = Callable[[], Vector]
_Reader = Callable[[str, object], _Sample]


def load_motion(path: Path) -> tuple[Layout, People]:
    """Return the layout and the people of a motion file.

    Raises:
        BadData: A line is malformed, or no sample can be scored; the text names the line.
    """
    return Layout.motion(), _people(path, "motion", _series)


def load_pointer(path: Path) -> tuple[Layout, People]:
    """Return the layout and the people of a pointer file; raises BadData as `load_motion` does."""
    return Layout.pointer(), _people(path, "pointer", _events)


def _people(path: Path, member: str, read: _Reader) -> People:
    found: dict[str, list[Floats]] = {}
    for subject, sample in _samples(path, member, read):
        try:
            found.setdefault(subject, []).append(sample().row)
        except NotScored:
            continue
    people = {name: np.array(rows) for name, rows in found.items() if rows}
    if not people:
        raise BadData(f"{path.name}: no {member} that can be scored")
    return people


def _samples(path: Path, member: str, read: _Reader) -> Iterator[tuple[str, _Sample]]:
    try:
        with path.open(encoding="utf-8") as file:
            for line, content in enumerate(file, 1):
                if content.strip():
                    where = f"{path.name}: line {line}"
                    subject, entry = _parse(where, content, member)
                    yield subject, read(where, entry)
    except (OSError, UnicodeDecodeError) as error:
        raise BadData(f"{path.name}: cannot be read: {error}") from None


def _parse(where: str, content: str, member: str) -> tuple[str, object]:
    try:
        entry = json.loads(content)
        subject = entry["subject"]
        sample = entry[member]
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError):
        raise BadData(f"{where}: must have subject and {member}") from None
    if not isinstance(subject, str) or not subject:
        raise BadData(f"{where}: subject must be a name")
    return subject, sample


def _series(where: str, moved: object) -> _Sample:
    if not isinstance(moved, dict) or not moved.keys() >= {"hz", "acc", "rot"}:
        raise BadData(f"{where}: must have subject and motion with hz, acc, rot")
    hz = moved["hz"]
    acc = moved["acc"]
    rot = moved["rot"]
    if not _number(hz) or not 0 < hz <= _MOST_HZ:
        raise BadData(f"{where}: hz must be a rate up to 400")
    for name, values in (("acc", acc), ("rot", rot)):
        if not _triples(values):
            raise BadData(f"{where}: {name} must be up to 400 triples of numbers")
    return partial(motion, Series(float(hz), acc, rot))


def _events(where: str, entry: object) -> _Sample:
    if not isinstance(entry, list) or len(entry) > _MOST_EVENTS or not all(map(_event, entry)):
        raise BadData(f"{where}: pointer must be up to 500 of [ms, x, y, move, down or up]")
    return partial(pointer, entry)


def _event(value: object) -> bool:
    if not isinstance(value, list) or len(value) != _AXES + 1 or value[_AXES] not in _KINDS:
        return False
    return all(map(_number, value[:_AXES])) and 0 <= value[0] <= _LONGEST_MS


def _triples(values: object) -> bool:
    if not isinstance(values, list) or len(values) > _MOST_VALUES:
        return False
    return all(
        isinstance(one, list) and len(one) == _AXES and all(map(_number, one)) for one in values
    )


def _number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -_LARGEST <= value <= _LARGEST
