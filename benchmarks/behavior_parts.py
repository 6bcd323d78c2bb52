"""What `benchmarks.behavior` measures: each part is a function of people, so tests can run it."""

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from rich.console import Console
from rich.progress import track

from biometrics.behavior import head
from biometrics.behavior.layout import Floats, Layout
from biometrics.behavior.model import LIVE, SignalModel
from biometrics.behavior.profile import Profile
from biometrics.behavior.scorer import llrs, ready, score
from lab.behavior import protocols
from lab.behavior.datasets import plan_of
from lab.behavior.protocols import NOVICE, PRACTISED, Run
from lab.behavior.training import CLIP, Plan, train
from lab.evaluation import Trial, cllr, rates, summarize

People = Mapping[str, Floats]
Trials = dict[str, list[Trial]]
Figures = dict[str, dict[str, float]]
T = TypeVar("T")
_VERSION = "benchmark"
LOGINS = 60
"""Logins of an attacker who knows the password."""
_AFTER = 20
"""Samples that the attacker types afterwards."""
_LIVED = 200
_PASSES = 0.01
"""Share of novices' samples above the threshold of the poisoning."""


@dataclass(frozen=True)
class Part:
    """People of one fold, and the model that was made of all others."""

    tested: People
    model: SignalModel


def follow(items: Sequence[T], title: str) -> Iterable[T]:
    """Return the items, with a bar on stderr."""
    return track(items, title, console=Console(stderr=True), transient=True)


def split(people: People, folds: int, seed: int = 0) -> Iterator[tuple[People, People]]:
    """Return the people of each fold, and all others."""
    for group in protocols.folds(sorted(people), folds, seed):
        tested = {name: people[name] for name in group}
        yield tested, {name: rows for name, rows in people.items() if name not in tested}


def learn(
    layout: Layout,
    *,
    people: People,
    folds: int,
    enroll: Sequence[int],
    title: str,
    make: Callable[[People], Plan] | None = None,
) -> list[Part]:
    """Return a model for each fold, trained on people of the other folds."""
    parts = []
    for tested, others in follow(list(split(people, folds)), title):
        plan = make(others) if make else plan_of(others, enroll)
        parts.append(
            Part(tested, train(layout, people=list(others.values()), plan=plan, version=_VERSION))
        )
    return parts


def run_head(layout: Layout, parts: Sequence[Part], run: Run) -> Trials:
    """Return the trials of every fold."""
    return _joined(
        protocols.trials(layout, people=p.tested, run=run, scorer="head", model=p.model)
        for p in parts
    )


def run_plain(layout: Layout, parts: Sequence[Part], run: Run, scorer: str) -> Trials:
    """Return the trials of a scorer that knows no population, against the same impostors."""
    return _joined(
        protocols.trials(layout, people=p.tested, run=run, scorer=scorer, model=None) for p in parts
    )


def run_mahalanobis(parts: Sequence[Part], enroll: int = 200) -> Trials:
    """Return the trials of the nearest neighbor under Mahalanobis' distance (km protocol)."""
    found: Trials = {NOVICE: [], PRACTISED: []}
    for part in parts:
        for name, rows in part.tested.items():
            known = rows[:enroll]
            genuine = _nearest(known, rows[enroll:])
            for kind, trials in found.items():
                sham = protocols.attackers(part.tested, name, kind)
                trials.append(Trial(name, genuine, _nearest(known, sham)))
    return found


def _nearest(known: Floats, rows: Floats) -> Floats:
    inverse = np.linalg.pinv(np.cov(known.T), hermitian=True)
    apart = rows[:, None] - known[None]
    return np.asarray(-np.einsum("nmi,ij,nmj->nm", apart, inverse, apart).min(axis=1))


def _joined(several: Iterable[Trials]) -> Trials:
    found: Trials = {}
    for trials in several:
        for kind, part in trials.items():
            found.setdefault(kind, []).extend(part)
    return found


def figures(trials: Trials, clip: tuple[float, float] | None = CLIP) -> Figures:
    """Return the error rates by kind of impostor."""
    return {kind: summarize(part, clip) for kind, part in trials.items()}


def _score(against: Any, rows: Floats) -> Floats:  # noqa: ANN401 - ready, or None while learning
    return np.zeros(len(rows)) if against is None else llrs(against, rows)


def with_model(parts: Sequence[Part], model: SignalModel) -> list[Part]:
    """Return the same folds with one model for all: it must know none of them."""
    return [Part(part.tested, model) for part in parts]


def stepped(layout: Layout, people: People, step: float, seed: int = 0) -> People:
    """Return what a clock with steps of that many seconds would have told."""
    if not step:
        return people
    random = np.random.default_rng(seed)
    keys = layout.kinds.count("hold")
    found = {}
    for name, rows in people.items():
        start = random.uniform(0, step, (len(rows), 1))
        down = start + np.cumsum(np.pad(rows[:, keys : 2 * keys - 1], ((0, 0), (1, 0))), axis=1)
        up = down + rows[:, :keys]
        down, up = (np.floor(times / step) * step for times in (down, up))
        kept = np.concatenate([up - down, np.diff(down, axis=1)], axis=1)
        found[name] = layout.expand(kept)
    return found


def poisoned(layout: Layout, parts: Sequence[Part], attackers: int) -> dict[str, float]:
    """Let attackers who know the password log in again and again, then type once more.

    Returns:
        Shares of their later samples accepted when the profile learns from every login with the
        password, from what it accepts itself, and only after AAL2 (so never from them); and the
        share of the profiles taken over that the frozen anchor tells from the person's own.
    """
    passed: dict[str, list[float]] = {"every": [], "accepted": [], "aal2": []}
    own, taken = [], []
    for part in follow(parts, "poisoning"):
        threshold = _threshold(layout, part)
        for name, rows in part.tested.items():
            begun = Profile.empty(layout).absorb(rows[:_LIVED])
            own.append(begun.absorb(rows[_LIVED : _LIVED + LOGINS]).parted())
            for other in [one for one in part.tested if one != name][:attackers]:
                typed = part.tested[other]
                attack, after = typed[:LOGINS], typed[LOGINS : LOGINS + _AFTER]
                every = begun.absorb(attack)
                taken.append(every.parted())
                profiles = {
                    "every": every,
                    "aal2": begun,
                    "accepted": _fooled(begun, attack, part.model, threshold),
                }
                for rule, profile in profiles.items():
                    scores = _score(ready(profile, part.model, LIVE), after)
                    passed[rule].append(float((scores >= threshold).mean()))
    found = {rule: statistics.mean(shares) for rule, shares in passed.items()}
    return found | {"parted": float((np.array(taken) > max(own)).mean())}


def _fooled(profile: Profile, attack: Floats, model: SignalModel, threshold: float) -> Profile:
    """Return a profile that learned each sample that it accepted, three logins at a time."""
    for at in range(0, len(attack), 3):
        group = attack[at : at + 3]
        good = group[_score(ready(profile, model, LIVE), group) >= threshold]
        profile = profile.absorb(good) if len(good) else profile
    return profile


def _threshold(layout: Layout, part: Part) -> float:
    """Return where 1 % of the novices of a fold pass."""
    found = [
        _score(
            ready(Profile.empty(layout).absorb(rows[:_LIVED]), part.model, LIVE),
            protocols.attackers(part.tested, name, NOVICE),
        )
        for name, rows in part.tested.items()
    ]
    novices = np.concatenate(found)
    thresholds, _, accepted = rates(novices, novices)
    return float(thresholds[np.argmax(accepted <= _PASSES)])


def fused(left: Sequence[Trials], right: Sequence[Trials]) -> dict[str, float]:
    """Compare a sum of calibrated ratios with a joint fusion learned on the other folds.

    Args:
        left: Trials of one signal, one entry a fold.
        right: Those of another, of the same samples.
    """
    pairs = [_pairs(one, two) for one, two in zip(left, right, strict=True)]
    added, joint = [], []
    for at, (rows, genuine) in enumerate(pairs):
        others = [pair for number, pair in enumerate(pairs) if number != at]
        known, labels = (np.concatenate(part) for part in zip(*others, strict=True))
        fitted = head.fit(known, labels, np.ones(len(labels)), ridge=1e-6, components=0)
        added.append((rows.sum(axis=1), genuine))
        joint.append((fitted.llr(rows), genuine))
    found = {name: _cost(scores) for name, scores in (("sum", added), ("joint", joint))}
    for name, side in (("first", 0), ("second", 1)):
        found[name] = _cost([(rows[:, side], genuine) for rows, genuine in pairs])
    return found | {"loss": found["sum"] - found["joint"]}


def _pairs(left: Trials, right: Trials) -> tuple[Floats, Floats]:
    """Return clipped ratios of both signals (n, 2), and 1 for genuine samples (n,)."""
    rows: list[Floats] = []
    labels: list[Floats] = []
    for one, two in zip(left[NOVICE], right[NOVICE], strict=True):
        for label, side in ((1.0, "genuine"), (0.0, "impostor")):
            both = np.stack([getattr(one, side), getattr(two, side)], axis=1)
            rows.append(np.clip(both, *CLIP))
            labels.append(np.full(len(both), label))
    return np.concatenate(rows), np.concatenate(labels)


def _cost(scores: Sequence[tuple[Floats, Floats]]) -> float:
    every, genuine = (np.concatenate(part) for part in zip(*scores, strict=True))
    return cllr(every[genuine > 0], every[genuine == 0])


def speed(layout: Layout, rows: Floats, model: SignalModel, rounds: int) -> dict[str, float]:
    """Return median CPU microseconds of each step, taken in turns, and ratios to a plain scorer."""
    profile = Profile.empty(layout).absorb(rows[:100])
    against = ready(profile, model, LIVE)
    if against is None:
        raise ValueError("a hundred samples make a profile ready")
    center = rows[:100].mean(axis=0)
    scale = np.maximum(np.abs(rows[:100] - center).mean(axis=0), 1e-6)
    row, packed = rows[100], profile.pack()
    works: dict[str, Callable[[], object]] = {
        "scaled_manhattan": lambda: -(np.abs(row - center) / scale).sum(),
        "score": lambda: score(against, row),
        "llr": lambda: llrs(against, row[None]),
        "ready": lambda: ready(profile, model, LIVE),
        "absorb": lambda: profile.absorb(row[None]),
        "absorb_and_pack": lambda: profile.absorb(row[None]).pack(),
        "unpack": lambda: Profile.unpack(packed),
    }
    spent: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            begun = time.process_time_ns()
            for _ in range(10):
                work()
            if number:
                spent[name].append((time.process_time_ns() - begun) / 10_000)
    found = {name: statistics.median(values) for name, values in spent.items()}
    return found | {"score_ratio": found["score"] / found["scaled_manhattan"]}
