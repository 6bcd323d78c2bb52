"""Read samples of movement of one's own people: one JSON object a line, as a client sends them.

`{"subject": "a name", "motion": {"hz": 60, "acc": [[x, y, z], …], "rot": [[a, b, g], …]}}`, in
order of time for each person; further members are passed over. What a login would not score is
left out of the training.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from biometrics.behavior.features import NotScored
from biometrics.behavior.layout import Floats, Layout
from biometrics.behavior.loaders import BadData, People
from biometrics.behavior.motion import Series, motion

_MOST_HZ: Final = 400.0
_MOST_VALUES: Final = 400
_LARGEST: Final = 1e6
_AXES: Final = 3


def load_motion(path: Path) -> tuple[Layout, People]:
    """Return layout and people of a file of movement.

    Raises:
        BadData: A line is none of movement, or nobody's can be scored; the text names the line.
    """
    found: dict[str, list[Floats]] = {}
    for subject, series in _samples(path):
        try:
            found.setdefault(subject, []).append(motion(series).row)
        except NotScored:
            continue
    people = {name: np.array(rows) for name, rows in found.items() if rows}
    if not people:
        raise BadData(f"{path.name}: no movement that can be scored")
    return Layout.motion(), people


def _samples(path: Path) -> Iterator[tuple[str, Series]]:
    try:
        with path.open(encoding="utf-8") as file:
            for line, content in enumerate(file, 1):
                if content.strip():
                    yield _sample(f"{path.name}: line {line}", content)
    except (OSError, UnicodeDecodeError) as error:
        raise BadData(f"{path.name}: cannot be read: {error}") from None


def _sample(where: str, content: str) -> tuple[str, Series]:
    try:
        told = json.loads(content)
        subject, moved = told["subject"], told["motion"]
        hz, acc, rot = moved["hz"], moved["acc"], moved["rot"]
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError):
        raise BadData(f"{where}: must have subject and motion with hz, acc, rot") from None
    if not isinstance(subject, str) or not subject:
        raise BadData(f"{where}: subject must be a name")
    if not _number(hz) or not 0 < hz <= _MOST_HZ:
        raise BadData(f"{where}: hz must be a rate up to 400")
    for name, values in (("acc", acc), ("rot", rot)):
        if not _triples(values):
            raise BadData(f"{where}: {name} must be up to 400 triples of numbers")
    return subject, Series(float(hz), acc, rot)


def _triples(values: Any) -> bool:  # noqa: ANN401 - whatever JSON has
    if not isinstance(values, list) or len(values) > _MOST_VALUES:
        return False
    return all(
        isinstance(one, list) and len(one) == _AXES and all(map(_number, one)) for one in values
    )


def _number(value: Any) -> bool:  # noqa: ANN401 - whatever JSON has
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -_LARGEST <= value <= _LARGEST
