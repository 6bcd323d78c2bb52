"""Load the published data sets; errors name the line and column.

CMU: Killourhy and Maxion, DSN 2009, `subject,sessionIndex,rep,H.…,DD.…,UD.…` in seconds.
MEU-Mobile: one file a person. Hold and Tap (Buriro et al. 2021): statistics, the person last.
MOBIKEY (Antal and Nemes 2016): one row per key. Compass columns are not read: they identify the
room.
"""

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from biometrics.behavior.layout import (
    FEWEST_KEYS,
    HOLDING,
    MOST_KEYS,
    SHAKING,
    TURNING,
    Floats,
    Layout,
)
from biometrics.behavior.motion import USUAL_ACC, USUAL_ROT, angles, spreads

People = dict[str, Floats]
_LONGEST: Final = 600.0
_MEU_COLUMNS: Final = 71
_MEU_KEYS: Final = 14
_HOLD_AND_TAP: Final = 113
_MOTION: Final = (
    *range(4, 12),
    *range(20, 23),
    *range(24, 27),
    *range(35, 43),
    *range(51, 59),
    *range(67, 75),
)
"""Means and spreads of acceleration, gravity, rotation and their changes, by axis; from 0.

Left out: 80 to 111, which know the azimuth; 79, a time; third and fourth moments, which are noise
in a second of movement; 23, the spread of the length of gravity, a constant: its rounding error
(1e-7) names the telephone, not the person.
"""
_ACC: Final = (*range(5, 8), *range(8, 12))
"""Acceleration: means of x, y, z; spreads of the length, x, y, z."""
_ROT: Final = (*range(39, 43), 35)
"""Rotation rate, rad/s: spreads of the length and each axis; the mean length."""
_HELD: Final = Layout.movement({HOLDING: 2, SHAKING: 4, TURNING: 5})
_LATE: Final = "Sitting"
_LATE_FROM: Final = 10
"""In files of this posture the labels are one row late, from this person on.

Compass, length of gravity and taps all show that the first row of each person belongs to the
person with the number before (in 34 of the 38 in the set; the other four come before the tenth).
"""
_TAPS: Final = 8
_TAP_COLUMNS: Final = 31


class BadData(ValueError):
    """A file that cannot be used; the text names line and column."""


def read_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV file with their line numbers; raises BadData."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            yield from enumerate(csv.reader(file), 1)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadData(f"{path.name}: cannot be read as CSV: {error}") from None


def read_number(path: Path, line: int, column: str, text: str, *, blank: bool = False) -> float:
    """Return the number in a cell, NaN for an allowed blank cell; raises BadData."""
    if blank and text.strip() in {"", "NA"}:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        raise BadData(f"{path.name}: line {line}, column {column}: not a number") from None
    if not math.isfinite(value) or abs(value) > 1e9:  # noqa: PLR2004 - beyond any sensor
        raise BadData(f"{path.name}: line {line}, column {column}: not a finite number")
    return value


def load_cmu(path: Path) -> tuple[Layout, People]:
    """Return the layout and the people of a file in CMU format, all columns, in order of time.

    Blank cells are filled with the person's median over the first half of the rows, as in the
    paper's table for an incomplete set.

    Raises:
        BadData: The file is malformed; the text names line and column.
    """
    rows = read_rows(path)
    first = next(rows, (1, []))[1]
    layout, order = _cmu_header(path, first)
    found: dict[str, list[list[float]]] = {}
    for line, row in rows:
        if len(row) != len(first):
            raise BadData(f"{path.name}: line {line}: {len(row)} columns, not {len(first)}")
        values = [read_number(path, line, first[at], row[at], blank=True) for at in order]
        for at, value in zip(order, values, strict=True):
            low = -_LONGEST if first[at].startswith("UD.") else 0.0
            if value < low or value > _LONGEST:
                raise BadData(f"{path.name}: line {line}, column {first[at]}: not a duration")
        if not row[0]:
            raise BadData(f"{path.name}: line {line}, column {first[0]}: no subject")
        found.setdefault(row[0], []).append(values)
    if not found:
        raise BadData(f"{path.name}: no rows")
    return layout, {name: _filled(np.array(found[name])) for name in sorted(found)}


def _cmu_header(path: Path, header: Sequence[str]) -> tuple[Layout, list[int]]:
    if list(header[:3]) != ["subject", "sessionIndex", "rep"]:
        raise BadData(f"{path.name}: line 1: must begin subject,sessionIndex,rep")
    at = {kind: [i for i, name in enumerate(header) if name.startswith(kind)] for kind in _CMU}
    keys = len(at["H."])
    counts = [len(at[kind]) for kind in _CMU]
    if counts != [keys, keys - 1, keys - 1] or sum(counts) + 3 != len(header):
        raise BadData(f"{path.name}: line 1: must have n H., n-1 DD. and n-1 UD. columns")
    if not FEWEST_KEYS <= keys <= MOST_KEYS:
        raise BadData(f"{path.name}: line 1: {keys} keys, not {FEWEST_KEYS} to {MOST_KEYS}")
    return Layout.keystroke(keys), [*at["H."], *at["DD."], *at["UD."]]


_CMU: Final = ("H.", "DD.", "UD.")


def _filled(rows: Floats) -> Floats:
    known = rows[: max(1, len(rows) // 2)]
    if np.isnan(rows).any():
        with np.errstate(all="ignore"):
            middle = np.nan_to_num(np.nanmedian(known, axis=0))
        rows = np.where(np.isnan(rows), middle, rows)
    return rows


def load_meu(folder: Path) -> tuple[Layout, People]:
    """Return the layout and the people of MEU-Mobile: 14 touches with pressure and contact size."""
    people = {}
    for path in sorted(folder.glob("*.csv")):
        rows = []
        for line, row in read_rows(path):
            if len(row) != _MEU_COLUMNS:
                raise BadData(f"{path.name}: line {line}: {len(row)} columns, not {_MEU_COLUMNS}")
            rows.append([read_number(path, line, str(at + 1), cell) for at, cell in enumerate(row)])
        values = np.array(rows)
        n = _MEU_KEYS
        hold = values[:, :n] / 1000
        press = values[:, n : 2 * n - 1] / 1000
        touch = values[:, 3 * n - 2 : 5 * n - 2]
        people[path.stem] = np.concatenate([hold, press, press - hold[:, :-1], touch], axis=1)
    if not people:
        raise BadData(f"{folder}: no CSV files")
    return Layout.touch(_MEU_KEYS), people


def load_hold_and_tap(path: Path) -> tuple[Layout, People]:
    """Return the layout and the people of one posture's motion statistics, without compass."""
    return Layout.statistics("motion", len(_MOTION)), _sensors(path, _MOTION)


def load_held(path: Path) -> tuple[Layout, People]:
    """Return one posture of Hold and Tap in the motion features of a login, as far as it has them.

    Its spreads are of raw sensor values instead of means over 100 ms; the spreads of changes are
    missing.
    """
    people = {}
    for name, rows in _sensors(path, (*_ACC, *_ROT)).items():
        held = np.array([angles(gravity) for gravity in rows[:, :3]])
        turned = np.degrees(rows[:, len(_ACC) :])
        moved = [spreads(rows[:, 3 : len(_ACC)], USUAL_ACC), spreads(turned, USUAL_ROT)]
        people[name] = np.concatenate([held, *moved], axis=1)
    return _HELD, people


def _sensors(path: Path, columns: Sequence[int]) -> People:
    """Return some columns of one posture, by person."""
    found: dict[str, list[list[float]]] = {}
    for line, row in read_rows(path):
        if len(row) != _HOLD_AND_TAP:
            raise BadData(f"{path.name}: line {line}: {len(row)} columns, not {_HOLD_AND_TAP}")
        cells = [row[at] for at in columns]
        values = [
            math.nan
            if cell.strip().lower() == "nan"
            else read_number(path, line, str(at + 1), cell)
            for at, cell in zip(columns, cells, strict=True)
        ]
        found.setdefault(_person(path, line, row[-1]), []).append(values)
    if not found:
        raise BadData(f"{path.name}: no rows")
    return _relabeled(path, {name: _filled(np.array(rows)) for name, rows in found.items()})


def _relabeled(path: Path, people: People) -> People:
    """Assign late-labeled rows to the right people; some people then have 29 of 30 rows."""
    if not path.name.startswith(_LATE):
        return people
    late = {name for name in people if name.isdecimal() and int(name) >= _LATE_FROM}
    own = {name: rows[1:] if name in late else rows for name, rows in people.items()}
    for name in late:
        before = str(int(name) - 1)
        if before in own:
            own[before] = np.concatenate([own[before], people[name][:1]])
    return own


def _person(path: Path, line: int, cell: str) -> str:
    """Return the name of a person; one file writes 7 and another 7.0."""
    if not cell.strip():
        raise BadData(f"{path.name}: line {line}: no person in the last column")
    return cell.strip().removesuffix(".0")


def load_taps(path: Path) -> tuple[Layout, People]:
    """Return the layout and the people of one posture's taps: the same samples as the motion.

    After the eight hold times, each pair of taps has the times from release to press, from release
    to release and from press to press, in ms.
    """
    found: dict[str, list[list[float]]] = {}
    for line, row in read_rows(path):
        if len(row) != _TAP_COLUMNS:
            raise BadData(f"{path.name}: line {line}: {len(row)} columns, not {_TAP_COLUMNS}")
        values = [
            read_number(path, line, str(at + 1), cell) / 1000 for at, cell in enumerate(row[:-1])
        ]
        found.setdefault(_person(path, line, row[-1]), []).append(values)
    if not found:
        raise BadData(f"{path.name}: no rows")
    layout = Layout.keystroke(_TAPS)
    people = {}
    for name, rows in found.items():
        every = np.array(rows)
        hold = every[:, :_TAPS]
        press = every[:, _TAPS + 2 : _TAP_COLUMNS - 2 : 3]
        people[name] = layout.expand(np.concatenate([hold, press], axis=1))
    return layout, _relabeled(path, people)


def load_mobikey(path: Path, text: str = "0") -> tuple[Layout, People]:
    """Return the layout and the people of one MOBIKEY password, in order of sessions."""
    rows = read_rows(path)
    header = next(rows, (1, []))[1]
    need = (
        "person",
        "SessionId",
        "PasswordType",
        "Repetition",
        "DownTime",
        "UpTime",
        "Pressure",
        "FingerArea",
    )
    missing = [name for name in need if name not in header]
    if missing:
        raise BadData(f"{path.name}: line 1: no column {missing[0]}")
    at = {name: header.index(name) for name in need}
    typed: dict[tuple[str, str, str], list[list[float]]] = {}
    for line, row in rows:
        if len(row) != len(header):
            raise BadData(f"{path.name}: line {line}: {len(row)} columns, not {len(header)}")
        if row[at["PasswordType"]] == text:
            key = (row[at["person"]], row[at["SessionId"]], row[at["Repetition"]])
            values = [read_number(path, line, name, row[at[name]]) for name in need[4:]]
            typed.setdefault(key, []).append(values)
    lengths = [len(keys) for keys in typed.values()]
    if not lengths:
        raise BadData(f"{path.name}: no rows of password {text}")
    usual = max(set(lengths), key=lengths.count)
    people: dict[str, list[Floats]] = {}
    for (person, _, _), keys in typed.items():
        if len(keys) == usual:
            people.setdefault(person, []).append(_touches(np.array(keys)))
    return Layout.touch(usual), {name: np.array(rows) for name, rows in people.items()}


def _touches(keys: Floats) -> Floats:
    down = keys[:, 0] / 1000
    up = keys[:, 1] / 1000
    hold = np.maximum(up - down, 0)
    press = np.maximum(np.diff(down), 0)
    return np.concatenate([hold, press, press - hold[:-1], keys[:, 2], keys[:, 3]])
