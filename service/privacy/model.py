"""Rules of ledger lines: checkpoints of the log, and acts that a restore would undo. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from service.audit.model import Checkpoint, Point
from service.domain.clock import rfc3339

Line = dict[str, Any]
"""A line of the ledger, as JSON stores it."""
Identity = tuple[object, ...]
"""The kind of an act, and what it is about."""
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
ACT: Final = "act"
SESSION: Final = "session.ended"
REVOKED: Final = "token.revoked"
ABOUT: Final[dict[str, tuple[str, ...]]] = {
    "authenticator.revoked": ("authenticator", "id"),
    "recovery_code.used": ("code", "id"),
    "consent.withdrawn": ("consent", "subject", "purpose"),
    "consent.given": ("consent", "subject", "purpose"),
    "subject.suspended": ("suspension", "subject", "capability"),
    "subject.suspension_lifted": ("suspension", "subject", "capability"),
    "subject.held": ("hold", "subject"),
    "subject.changed": ("identifiers", "subject"),
    SESSION: ("session", "session"),
    REVOKED: ("token", "jti"),
    "client.revoked": ("client", "client"),
    "client.scopes_changed": ("scopes", "client"),
    "client.segments_changed": ("segments", "client"),
    "client.secret_rotated": ("secret", "client"),
    "client.jwks_replaced": ("keys", "client"),
    "operator.revoked": ("role", "subject", "role"),
    "operator.granted": ("role", "subject", "role"),
    "policy.activated": ("policy",),
    "policy.rolled_back": ("policy",),
    "policy.tightened": ("tighten",),
}
"""The identity of each kind of act: of several with the same identity, the last is in effect."""
GIVES: Final = frozenset({"consent.given", "subject.suspension_lifted", "operator.granted"})
"""Acts that reverse an earlier one; a restore need not repeat them."""
DOCUMENT: Final = "policy.document"
_OVERLAP: Final = timedelta(minutes=1)
_BRIEF: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class LedgerAct:
    """An act that restricts or removes something, as recorded in the ledger."""

    what: str
    at: datetime
    subject: UUID | None
    data: Line

    @classmethod
    def of(cls, line: Line) -> "LedgerAct":
        """Return the act of a ledger line."""
        subject = UUID(line["subject"]) if line["subject"] else None
        return cls(line["what"], datetime.fromisoformat(line["at"]), subject, line["data"])

    @property
    def policy(self) -> str:
        """Return the version of the policy that the act activated; empty for other acts."""
        return str(self.data.get("restored") or self.data.get("policy") or "")


def standing(lines: Iterable[Line]) -> list[LedgerAct]:
    """Return the acts in effect: the last of each identity, unless it reverses one."""
    last: dict[Identity, Line] = {}
    for line in lines:
        if line["kind"] == ACT and line["what"] in ABOUT:
            name = about(line)
            last.pop(name, None)
            last[name] = line
    return [LedgerAct.of(line) for line in last.values() if line["what"] not in GIVES]


def about(line: Line) -> Identity:
    """Return the identity of an act: its kind and the members that name its target."""
    kind, *members = ABOUT[line["what"]]
    values = line["data"] | {"subject": line["subject"]}
    return (kind, *(values.get(name) for name in members))


def since(lines: Sequence[Line], agreed: int) -> Sequence[Line]:
    """Return the lines that may be missing from a database.

    Args:
        lines: All lines.
        agreed: The index of the last line whose position matches the database; -1 if none. An act
            and the checkpoint that covers it may be written in either order, so acts shortly before
            it are included.
    """
    if agreed < 0:
        return lines
    moment = _time(lines[agreed]) - _OVERLAP
    early = next((at for at, line in enumerate(lines[:agreed]) if _time(line) >= moment), agreed)
    return lines[early:]


def unproven(lines: Sequence[Line], agreed: int) -> list[UUID]:
    """Return the leaf ids of acts after the last matching position.

    A repaired database has new leaves for repeated acts, never the original ones.
    """
    fixed = [at for at, line in enumerate(lines) if line["kind"] in {RESTORED, ACCEPTED}]
    first = max(fixed[-1] if fixed else 0, len(lines) - len(since(lines, agreed)))
    acts = [line for line in lines[first:] if line["kind"] == ACT and line["what"] != DOCUMENT]
    return [UUID(line["id"]) for line in acts]


def documents(lines: Iterable[Line]) -> dict[str, Line]:
    """Return the policies stored in the ledger, by version."""
    kept = [line["data"] for line in lines if line["kind"] == ACT and line["what"] == DOCUMENT]
    return {data["policy"]: data["document"] for data in kept}


def begun(lines: Iterable[Line]) -> bool:
    """Tell whether the ledger was started for this database, or accepted by an operator."""
    return any(line["kind"] in {BEGUN, ACCEPTED} for line in lines)


def remembered(lines: Sequence[Line]) -> list[Point]:
    """Return the recorded ends of the log since an operator last accepted it."""
    return [_point(line) for line in _since(lines, {ACCEPTED}) if "position" in line]


def ahead(lines: Sequence[Line]) -> list[Point]:
    """Return the same since a restored database was last repaired."""
    return [_point(line) for line in _since(lines, {ACCEPTED, RESTORED}) if "position" in line]


def checkpoint_line(here: Point, noted: Checkpoint | None, now: datetime) -> Line:
    """Return the line that records the end of the log.

    Args:
        here: The end of the chain.
        noted: The newest checkpoint of the database; its signature is included if it is for this
            position.
        now: The time.
    """
    line: Line = {
        "kind": CHECKPOINT,
        "position": here.position,
        "head": here.head.hex(),
        "at": rfc3339(now),
    }
    if noted is None:
        return line
    same = noted.head == here.head
    return line | {"number": noted.number} | ({"signature": noted.signature} if same else {})


def folded(lines: Sequence[Line], now: datetime, backups: timedelta) -> list[Line]:
    """Return the lines that are still needed.

    Checkpoints are thinned out with age. Of acts with the same identity, the last is retained until
    no backup is old enough to undo it; the end of a session only until a checkpoint covers it,
    because all sessions of a restored database end. The newest line is always retained.

    Args:
        lines: All lines.
        now: The time. If it is far from that of the newest line, nothing is dropped by age.
        backups: How long a backup of the database is retained.
    """
    steady = bool(lines) and abs(now - _time(lines[-1])) < _RARELY
    oldest = now - backups - _RARELY if steady else datetime.min.replace(tzinfo=now.tzinfo)
    thinned = _thinned(lines, now)
    covered = max((at for at, line in enumerate(lines) if line["kind"] == CHECKPOINT), default=-1)
    needed = _needed(lines, oldest, covered)
    return [line for at, line in enumerate(lines) if at in thinned and at in needed]


def _thinned(lines: Sequence[Line], now: datetime) -> set[int]:
    kept = set()
    last = None
    for at, line in enumerate(lines):
        moment = _time(line)
        if line["kind"] != CHECKPOINT or at == len(lines) - 1:
            kept.add(at)
        elif last is None or not timedelta(0) <= moment - last < _step(now - moment):
            kept.add(at)
            last = moment
    return kept


def _needed(lines: Sequence[Line], oldest: datetime, covered: int) -> set[int]:
    kept: set[int] = set()
    last: dict[Identity, int] = {}
    for at, line in enumerate(lines):
        if line["kind"] != ACT:
            kept.add(at)
        elif _time(line) < oldest or (at < covered and line["what"] in {SESSION, REVOKED}):
            continue
        elif line["what"] == DOCUMENT:
            last[DOCUMENT, line["data"]["policy"]] = at
        else:
            last[about(line)] = at
    return kept | set(last.values())


def _since(lines: Sequence[Line], kinds: set[str]) -> Iterator[Line]:
    starts = [at for at, line in enumerate(lines) if line["kind"] in kinds]
    return iter(lines[starts[-1] if starts else 0 :])


def _point(line: Line) -> Point:
    return Point(line["position"], bytes.fromhex(line["head"]), "number" in line)


def _time(line: Line) -> datetime:
    # Lines of an earlier version have no time.
    return datetime.fromisoformat(line.get("at", "1970-01-01T00:00:00Z"))


def _step(age: timedelta) -> timedelta:
    return next((step for limit, step in _STEPS if age < limit), _RARELY)
