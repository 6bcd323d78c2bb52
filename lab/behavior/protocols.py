"""The evaluation protocols of the published tables, run on people unknown to the model.

`km` and `settled` are for the CMU set, with 400 samples per person. `short` is for sets with few:
the first samples enroll, the last third is genuine, whatever the number enrolled. In `live` each
later sample is scored, then absorbed, as at a login.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from biometrics.behavior.layout import Floats, Layout
from biometrics.behavior.model import ENROLLED, LIVE, SignalModel
from biometrics.behavior.profile import Profile
from biometrics.behavior.scorer import llrs, own_scores, ready
from lab.evaluation import Trial, summarize

MOST_ENROLLED: Final = {"km": 200, "settled": 50, "live": 200, "short": 200}
"""Maximum by protocol, so that no sample is both enrolled and scored."""
PROTOCOLS: Final = tuple(MOST_ENROLLED)
NOVICE: Final = "novice"
PRACTISED: Final = "practised"
SHAM: Final = 5
"""Number of samples of each impostor."""
_LIVES: Final = 19
"""Minimum number of samples scored against a live profile."""
_LOOKS: Final = 20
"""Number of times that impostors attack a live profile."""
People = Mapping[str, Floats]


@dataclass(frozen=True)
class Run:
    """A protocol with a number of enrollment samples."""

    protocol: str
    enroll: int

    def needs(self) -> int:
        """Return the number of samples each person must have."""
        counts = {"km": 201, "settled": 301, "live": self.enroll + _LIVES}
        return counts.get(self.protocol) or self.enroll + -(-self.enroll * 9 // 20)

    def check(self, people: People) -> None:
        """Raise ValueError if the run is impossible or would score enrolled samples."""
        most = MOST_ENROLLED[self.protocol]
        if self.enroll > most:
            raise ValueError(f"{self.protocol} enrolls at most {most} samples, not {self.enroll}")
        short = [name for name, rows in people.items() if len(rows) < self.needs()]
        if short or len(people) < 2:  # noqa: PLR2004 - someone must be the impostor
            who = f"{short[0]} has too few samples" if short else "there are fewer than two people"
            raise ValueError(f"{who}: {self.protocol} needs {self.needs()} of at least two people")


def practised(count: int, sham: int = SHAM) -> list[int]:
    """Return the indices of an impostor's samples after practice: spread over the second half."""
    half = count // 2
    return [half + int((at + 0.5) * (count - half) / sham) for at in range(sham)]


def attackers(people: People, person: str, kind: str) -> Floats:
    """Return the attack samples of all other people against one person."""
    parts = []
    for name, rows in people.items():
        if name != person:
            parts.append(rows[:SHAM] if kind == NOVICE else rows[practised(len(rows))])
    return np.concatenate(parts)


def trials(
    layout: Layout, *, people: People, run: Run, scorer: str, model: SignalModel | None
) -> dict[str, list[Trial]]:
    """Return the trials of all people, by kind of impostor.

    Raises:
        ValueError: A person gave too few samples, or there are too few people.
    """
    run.check(people)
    found: dict[str, list[Trial]] = {NOVICE: [], PRACTISED: []}
    for person, rows in people.items():
        shams = {kind: attackers(people, person, kind) for kind in found}
        if run.protocol == "live":
            genuine, against = living(
                layout, rows=rows, enroll=run.enroll, model=model, shams=shams
            )
        else:
            genuine, against = _batch(layout, rows=rows, run=run, how=(scorer, model), shams=shams)
        for kind, impostor in against.items():
            found[kind].append(Trial(person, genuine, impostor))
    return found


def _batch(
    layout: Layout,
    *,
    rows: Floats,
    run: Run,
    how: tuple[str, SignalModel | None],
    shams: Mapping[str, Floats],
) -> tuple[Floats, dict[str, Floats]]:
    start = 200 if run.protocol == "settled" else 0
    enrolled = rows[start : start + run.enroll]
    third = max(2 * len(rows) // 3, run.enroll)
    genuine = rows[{"km": 200, "settled": 250, "short": third}[run.protocol] :]
    score = _against(layout, enrolled, *how)
    return score(genuine), {kind: score(sham) for kind, sham in shams.items()}


def _against(
    layout: Layout, enrolled: Floats, scorer: str, model: SignalModel | None
) -> Callable[[Floats], Floats]:
    if scorer == "scaled_manhattan":
        return lambda rows: scaled_manhattan(enrolled, rows)
    profile = replace(Profile.empty(layout).absorb(enrolled), total=len(enrolled))
    if model is None:
        return lambda rows: own_scores(profile, rows)
    against = ready(profile, model, ENROLLED)
    if against is None:
        return lambda rows: np.zeros(len(rows))
    return lambda rows: llrs(against, rows)


def living(
    layout: Layout,
    *,
    rows: Floats,
    enroll: int,
    model: SignalModel | None,
    shams: Mapping[str, Floats],
) -> tuple[Floats, dict[str, Floats]]:
    """Score each later sample, then absorb it; impostor attacks are spread evenly over time."""
    profile = Profile.empty(layout).absorb(rows[:enroll])
    later = rows[enroll:]
    genuine = np.zeros(len(later))
    sham: dict[str, list[Floats]] = {kind: [] for kind in shams}
    every = max(1, len(later) // _LOOKS)
    for at, row in enumerate(later):
        score = _now(profile, model)
        genuine[at] = score(row[None])[0]
        if at % every == every // 2:
            for kind, attack in shams.items():
                sham[kind].append(score(attack))
        profile = profile.absorb(row[None])
    return genuine, {kind: np.concatenate(parts) for kind, parts in sham.items()}


def _now(profile: Profile, model: SignalModel | None) -> Callable[[Floats], Floats]:
    if model is None:
        return lambda rows: own_scores(profile, rows)
    against = ready(profile, model, LIVE)
    if against is None:
        return lambda rows: np.zeros(len(rows))
    return lambda rows: llrs(against, rows)


def scaled_manhattan(enrolled: Floats, rows: Floats) -> Floats:
    """Return the negated score of the paper's best detector: mean center, mean deviations."""
    center = enrolled.mean(axis=0)
    scale = np.maximum(np.abs(enrolled - center).mean(axis=0), 1e-6)
    return np.asarray(-(np.abs(rows - center) / scale).sum(axis=1))


def results(
    found: Mapping[str, Sequence[Trial]], run: Run, scorer: str, clip: tuple[float, float] | None
) -> list[dict[str, object]]:
    """Return the result rows in the published format."""
    return [
        {"protocol": run.protocol, "enroll": run.enroll, "impostors": kind, "scorer": scorer}
        | {name: round(value, 5) for name, value in summarize(part, clip).items()}
        for kind, part in found.items()
    ]


def folds(names: Sequence[str], count: int, seed: int = 0) -> list[list[str]]:
    """Split people into groups, deterministically for the same names and seed."""
    order = np.random.default_rng(seed).permutation(len(names))
    return [[names[at] for at in sorted(part)] for part in np.array_split(order, count)]
