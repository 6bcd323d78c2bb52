"""What a pointer at a form is worth: of people in the Balabit set, and of programs.

Ten people are measured two at a time, by a model of the eight others, in several partitions; the
first two thirds of a person's sessions enroll, the rest is genuine, and all pieces of the other are
impostors. The shipped model is measured as a login takes it, of those whose devices tell often
enough. What programs do is made by `benchmarks.pointer_bots`.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmarks import pointer_bots as bots
from benchmarks.behavior_parts import follow, split
from biometrics.behavior.features import NotScored, Vector
from biometrics.behavior.layout import Floats, Layout
from biometrics.behavior.model import DEFAULT, ENROLLED, LIVE, SignalModel, load
from biometrics.behavior.pointer import SELDOM_MS, pointer
from biometrics.behavior.profile import Profile
from biometrics.behavior.scorer import llrs, ready
from biometrics.behavior.strokes import Event
from lab.behavior.balabit import Sessions, columns, load_sessions, spread
from lab.behavior.training import EnrollmentPlan, Plan, train
from lab.evaluation import Trial, summarize
from service.signals.behavior.profile import Kept

SIZES = (5, 10, 20, 50)
LAYOUT = Layout.pointer()
PIECES = 100
"""Pieces of a person, from all sessions alike."""
_ENROLLED = 2 * PIECES // 3
_FEWEST = 75
_SCRIPTS = 300
_COPIES = 100
OWN_CLIP = (-1.0, 1.0)
"""What a model of one's own people may say."""
Rows = Mapping[str, Floats]


@dataclass(frozen=True)
class Named:
    """What became of pieces.

    Args:
        pieces: How many there are.
        scored: How many are scored.
        scripted: How many are said to be a program's, and `by`: by reason.
        slow: How many of the rest are unfit because the device tells seldom.
    """

    pieces: int
    scored: int
    scripted: int
    slow: int
    by: Mapping[str, int]


def pieces_of(sessions: Sequence[Sequence[list[Event]]]) -> list[list[Event]]:
    """Return the pieces of all sessions, one after another."""
    return [piece for session in sessions for piece in session]


def code(events: Sequence[Event]) -> str:
    """Return what a login names a sample, `scored` where it is scored."""
    try:
        pointer(events)
    except NotScored as why:
        return why.code
    return "scored"


def named(pieces: Sequence[Sequence[Event]]) -> Named:
    """Return what becomes of pieces at a login."""
    found = Counter(code(piece) for piece in pieces)
    by = {name: count for name, count in found.items() if name.startswith("scripted")}
    return Named(len(pieces), found["scored"], sum(by.values()), found["seldom"], by)


def rows_of(sessions: Sessions, seldom_ms: float) -> Rows:
    """Return people's columns, as many of each session; those with too few are left out."""
    found = {}
    for name, parts in sessions.items():
        scored = [part for session in parts if len(part := columns(session, seldom_ms))]
        if scored:
            each = -(-PIECES // len(scored))
            found[name] = np.concatenate([spread(part, each) for part in scored])[:PIECES]
    return {name: rows for name, rows in found.items() if len(rows) >= _FEWEST}


def plan() -> Plan:
    """Return the plan of a model of eight people; what is scored comes after what enrolls."""
    ways = tuple(
        EnrollmentPlan(
            way=ENROLLED, bucket=size, start=start, end=start + size, genuine=slice(_ENROLLED, None)
        )
        for size in SIZES
        for start in (0, (_ENROLLED - size) // 2)
    )
    return Plan(session=PIECES // 6, settled=0, enrollments=ways)


def pairs(people: Rows, often: Collection[str], seeds: int) -> dict[bool, dict[int, list[Trial]]]:
    """Return the trials of people two at a time, by a model of all others.

    They are told apart by whether the devices of both are, or neither's is, among those who tell
    often: where only one's is, it is the devices that differ.
    """
    found: dict[bool, dict[int, list[Trial]]] = {
        alike: {size: [] for size in SIZES} for alike in (True, False)
    }
    parts = [part for seed in range(seeds) for part in split(people, len(people) // 2, seed)]
    for tested, others in follow(parts, "pointer models"):
        model = train(
            LAYOUT, people=list(others.values()), plan=plan(), version="benchmark", clip=OWN_CLIP
        )
        alike = len({name in often for name in tested}) == 1
        for size in SIZES:
            found[alike][size] += _against(tested, model, size, ENROLLED)
    return found


def shipped(people: Rows, model: SignalModel | None = None) -> dict[int, list[Trial]]:
    """Return the trials of people by the shipped model."""
    model = model or load(DEFAULT)["pointer"]
    return {size: _against(people, model, size, LIVE) for size in SIZES}


def _against(people: Rows, model: SignalModel, size: int, way: str) -> list[Trial]:
    trials = []
    for name, rows in people.items():
        enrolled = spread(rows[:_ENROLLED], size)
        against = ready(Profile.empty(LAYOUT).absorb(enrolled), model, way)
        others = np.concatenate([part for other, part in people.items() if other != name])
        if against is not None:
            trials.append(Trial(name, llrs(against, rows[_ENROLLED:]), llrs(against, others)))
    return trials


def caught(seed: int = 1) -> dict[str, float]:
    """Return which share of each kind of program is named, half of them on whole pixels."""
    random = np.random.default_rng(seed)
    found = {}
    for name, way in bots.WAYS.items():
        scripts = [bots.script(random, way, whole=bool(at % 2)) for at in range(_SCRIPTS)]
        found[name] = named(scripts).scripted / _SCRIPTS
    return found


def jumps(pieces: Sequence[list[Event]], seed: int = 2) -> float:
    """Return the share of clicks sent to elements, beside a person's moves, that is named."""
    random = np.random.default_rng(seed)
    return named([bots.jump(random, piece) for piece in pieces]).scripted / len(pieces)


def replays(pieces: Sequence[list[Event]]) -> dict[str, float]:
    """Return which share of recordings is found when it comes again, by what was done to it."""
    good = [piece for piece in pieces if code(piece) == "scored"][:_COPIES]
    kept = Kept.empty(LAYOUT)
    for piece in good:
        kept = kept.learn(pointer(piece))
    ways: dict[str, dict[str, Any]] = {
        "as it was": {},
        "shifted": {"by": 120 - 45j},
        "drawn larger by 30 %": {"scale": 1.3},
        "larger, on whole pixels": {"scale": 1.3, "whole": True},
    }
    found = {}
    for name, how in ways.items():
        copies = [vector(bots.moved(piece, **how)) for piece in good]
        found[name] = sum(copy is not None and kept.has(copy) for copy in copies) / len(good)
    return found


def vector(piece: Sequence[Event]) -> Vector | None:
    """Return the columns of a piece, None where it is not scored."""
    try:
        return pointer(piece)
    except NotScored:
        return None


def false_replays(sessions: Sessions) -> tuple[int, int]:
    """Return how many pieces are taken for one of the 200 before, and of how many."""
    taken = count = 0
    for parts in sessions.values():
        kept: Kept | None = None
        for piece in pieces_of(parts):
            found = vector(piece)
            if found is None:
                continue
            kept = kept or Kept.empty(LAYOUT)
            taken += kept.has(found)
            count += 1
            kept = kept.learn(found)
    return taken, count


class Reporting(Protocol):
    """What keeps figures and prints tables."""

    quick: bool

    def table(self, title: str, rows: Sequence[dict[str, str]]) -> None:
        """Print rows."""

    def keep(self, title: str, name: str, found: object) -> None:
        """Keep figures for a file."""


def tables(report: Reporting, folder: Path) -> None:
    """Measure and print everything about a pointer."""
    sessions = load_sessions(folder)
    names = sorted(sessions)
    halves = {"all": names, "looked at": names[::2], "not looked at": names[1::2]}
    _evidence(report, sessions, halves)
    _programs(report, sessions, halves)


def _evidence(report: Reporting, sessions: Sessions, halves: Mapping[str, Sequence[str]]) -> None:
    rows = []
    everybody = rows_of(sessions, np.inf)
    fit = rows_of(sessions, SELDOM_MS)
    own = pairs(everybody, fit, 1 if report.quick else 3)
    for half, names in halves.items():
        for size in SIZES:
            both = [trial for part in own.values() for trial in part[size]]
            some = [trial for trial in both if trial.person in names]
            rows.append(_errors(report, f"{half}, model of others, n = {size}", some, OWN_CLIP))
    for size, trials in own[True].items():
        name = f"devices alike, model of others, n = {size}"
        rows.append(_errors(report, name, trials, OWN_CLIP))
    model = load(DEFAULT)["pointer"]
    for title, people in (
        (f"shipped, {len(fit)} who tell often", fit),
        ("shipped, all", everybody),
    ):
        for size, trials in shipped(people, model).items():
            rows.append(_errors(report, f"{title}, n = {size}", trials, model.clip))
    report.table("Pointer (Balabit): one piece of six seconds", rows)


def _errors(
    report: Reporting, name: str, trials: Sequence[Trial], clip: tuple[float, float]
) -> dict[str, str]:
    found = summarize(trials, clip)
    report.keep("pointer", name, found)
    return {
        "": name,
        "EER": f"{found['eer']:.3f}",
        "±": f"{found['eer_half_width']:.3f}",
        "Cllr": f"{found['cllr']:.3f}",
        "Cllr_min": f"{found['cllr_min']:.3f}",
        "worst person": f"{found['worst_person']:.2f}",
    }


def _programs(report: Reporting, sessions: Sessions, halves: Mapping[str, Sequence[str]]) -> None:
    rows = []
    for half, names in halves.items():
        found = named([piece for name in names for piece in pieces_of(sessions[name])])
        report.keep("pointer programs", f"real, {half}", vars(found))
        rows.append(
            {
                "": f"real pieces, {half}: {found.pieces}",
                "named a program": _share(found.scripted, found),
                "told seldom": _share(found.slow, found),
                "scored": _share(found.scored, found),
            }
        )
    report.table("Pointer: what a login makes of real pieces", rows)
    real = [
        piece
        for name in sorted(rows_of(sessions, SELDOM_MS))
        for piece in pieces_of(sessions[name])[:_COPIES]
    ]
    shares = caught() | {"clicks with no way there": jumps(real)}
    shares |= {f"recording, {name}": share for name, share in replays(real).items()}
    report.keep("pointer programs", "caught", shares)
    report.table(
        "Pointer: programs that are named",
        [{"": name, "named": f"{share:.1%}"} for name, share in shares.items()],
    )
    taken, count = false_replays(sessions)
    report.keep("pointer programs", "false replays", {"taken": taken, "of": count})
    print(f"\nReal pieces taken for one of the 200 before: {taken} of {count}.")


def _share(count: int, found: Named) -> str:
    return f"{count / max(found.pieces, 1):.2%}"
