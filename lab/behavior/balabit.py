"""Load the Balabit Mouse Dynamics Challenge (Fülöp et al. 2016), cut into login-like pieces.

Each of ten people has a folder of session files with `record timestamp, client timestamp, button,
state, x, y` in s and pixels. They were recorded in remote desktops: the client's clock has steps
of about 16 ms, and the clients of seven people report every 110 ms; 65535 is not a position; some
rows are duplicated; a header may occur inside. A piece is the six seconds of events before a
click is released. The sessions of a person are in order of name: the set has no dates.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from biometrics.behavior.features import NotScored
from biometrics.behavior.layout import Floats, Layout
from biometrics.behavior.pointer import SELDOM_MS, pointer
from biometrics.behavior.strokes import Event
from lab.behavior.loaders import BadData, People, read_number, read_rows

Sessions = dict[str, list[list[list[Event]]]]
"""Pieces, by person and session."""
PIECE_MS: Final = 6000.0
MOST_EVENTS: Final = 500
MOST: Final = 100
"""Number of pieces of a person used in the protocols, evenly from all sessions."""
_NOWHERE: Final = 65535.0
_HEADER: Final = "record timestamp"
_COLUMNS: Final = 6
_KINDS: Final = {"Move": "move", "Pressed": "down", "Released": "up"}
_Row = tuple[float, float, float, str, str]


def load_sessions(folder: Path) -> Sessions:
    """Return the pieces of all people; raises BadData, which names file, line and column."""
    within = folder / "training_files"
    people = sorted(path for path in (within if within.is_dir() else folder).glob("user*"))
    found = {
        person.name: [list(_pieces(list(_read(file)))) for file in sorted(person.glob("session_*"))]
        for person in people
        if person.is_dir()
    }
    if not any(any(sessions) for sessions in found.values()):
        raise BadData(f"{folder}: no folders user…/session_… with clicks in them")
    return found


def load_balabit(folder: Path, most: int = MOST) -> tuple[Layout, People]:
    """Return the layout and the people: pieces that can be scored, first sessions first.

    Unlike a login this accepts rarely reported pointers; otherwise only three people would be left.
    """
    people = {}
    for name, sessions in load_sessions(folder).items():
        scored = [found for session in sessions if len(found := columns(session, np.inf))]
        if scored:
            each = -(-most // len(scored))
            people[name] = np.concatenate([spread(part, each) for part in scored])[:most]
    if not people:
        raise BadData(f"{folder}: no piece that can be scored")
    return Layout.pointer(), people


def columns(pieces: list[list[Event]], seldom_ms: float = SELDOM_MS) -> Floats:
    """Return the columns of the pieces that can be scored, (n, d); see `pointer`."""
    found = []
    for piece in pieces:
        try:
            found.append(pointer(piece, seldom_ms=seldom_ms).row)
        except NotScored:
            continue
    return np.array(found)


def spread(part: Floats, most: int) -> Floats:
    """Return at most `most` rows, evenly spaced from begin to end."""
    at = np.linspace(0, len(part) - 1, min(most, len(part))).round().astype(int)
    return np.asarray(part[at])


def _read(path: Path) -> Iterator[_Row]:
    for line, row in read_rows(path):
        if row and row[0] == _HEADER:
            continue
        if len(row) != _COLUMNS:
            raise BadData(f"{path.name}: line {line}: {len(row)} columns, not {_COLUMNS}")
        when, x, y = (read_number(path, line, str(at + 1), row[at]) for at in (1, 4, 5))
        if x < _NOWHERE and y < _NOWHERE:
            yield 1000 * when, x, y, row[2], row[3]


def _pieces(session: list[_Row]) -> Iterator[list[Event]]:
    """Yield pieces that do not overlap; pieces with a drag are skipped, as forms have none."""
    end = -np.inf
    for at, (when, _, _, button, state) in enumerate(session):
        if button != "Left" or state != "Released" or when < end + PIECE_MS:
            continue
        begin = at
        while begin and session[begin - 1][0] >= when - PIECE_MS and at - begin < MOST_EVENTS - 1:
            begin -= 1
        end = when
        part = session[begin : at + 1]
        if not any(row[4] == "Drag" or row[3] in {"Right", "XButton"} for row in part):
            first = part[0][0]
            yield [
                (round(row[0] - first, 3), row[1], row[2], _KINDS[row[4]])
                for row in part
                if row[4] in _KINDS
            ]
