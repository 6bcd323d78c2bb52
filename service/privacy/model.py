"""What the lines of the ledger mean: how far the log had come, and which lines are still needed."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from service.audit.model import Checkpoint, Point
from service.domain.clock import rfc3339

Line = dict[str, Any]
BEGUN: Final = "begun"
CHECKPOINT: Final = "checkpoint"
RESTORED: Final = "restored"
ACCEPTED: Final = "accepted"
TOMBSTONE: Final = "tombstone"
_STEPS: Final = (
    (timedelta(minutes=5), timedelta(0)),
    (timedelta(hours=1), timedelta(minutes=1)),
    (timedelta(days=7), timedelta(hours=1)),
)
_RARELY: Final = timedelta(days=1)


def begun(lines: Iterable[Line]) -> bool:
    """Tell whether the ledger was begun for this database, or accepted by an operator."""
    return any(line["kind"] in {BEGUN, ACCEPTED} for line in lines)


def remembered(lines: Sequence[Line]) -> list[Point]:
    """Return how far the log had come at each time, since an operator last accepted it."""
    return [_point(line) for line in _since(lines, {ACCEPTED}) if "position" in line]


def ahead(lines: Sequence[Line]) -> list[Point]:
    """Return the same since a restored database was last put right."""
    return [_point(line) for line in _since(lines, {ACCEPTED, RESTORED}) if "position" in line]


def checkpoint_line(here: Point, noted: Checkpoint | None, now: datetime) -> Line:
    """Return the line that says how far the log has come.

    Args:
        here: The end of the chain.
        noted: The newest checkpoint of the database, whose signature goes along where it is of
            this place.
        now: The time.
    """
    line: Line = {
        "kind": CHECKPOINT, "position": here.position, "head": here.head.hex(), "at": rfc3339(now),
    }  # fmt: skip
    if noted is None:
        return line
    same = noted.head == here.head
    return line | {"number": noted.number} | ({"signature": noted.signature} if same else {})


def folded(lines: Sequence[Line], now: datetime) -> list[Line]:
    """Return the lines that are still needed: fewer checkpoints the older they are.

    The newest of everything stays, and nothing that a restored backup could undo is dropped.
    """
    kept, last = [], None
    for at, line in enumerate(lines):
        if line["kind"] != CHECKPOINT or at == len(lines) - 1:
            kept.append(line)
            continue
        moment = _time(line)
        if last is None or not timedelta(0) <= moment - last < _step(now - moment):
            kept.append(line)
            last = moment
    return kept


def _since(lines: Sequence[Line], kinds: set[str]) -> Iterator[Line]:
    starts = [at for at, line in enumerate(lines) if line["kind"] in kinds]
    return iter(lines[starts[-1] if starts else 0 :])


def _point(line: Line) -> Point:
    return Point(line["position"], bytes.fromhex(line["head"]), "number" in line)


def _time(line: Line) -> datetime:
    # Lines of an earlier version tell no time.
    return datetime.fromisoformat(line.get("at", "1970-01-01T00:00:00Z"))


def _step(age: timedelta) -> timedelta:
    return next((step for limit, step in _STEPS if age < limit), _RARELY)
