"""Train heads with cross-validation: each person is scored by a population of other people.

Within each split every held-out person enrolls as in the service, and is then attacked by the
other held-out people: as novices (their first samples) and after practice (later ones). Each
person has the same weight. Calibration uses scores of people on whom the head was not fitted.

Statistics do not depend on the text, so people who typed other texts can be added: each set with
its own population, all of them together weighing as much as the people of the text.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

import numpy as np

from biometrics.behavior.anytext import AnyText, average
from biometrics.behavior.head import Head, calibrate, fit
from biometrics.behavior.layout import Floats, Layout
from biometrics.behavior.model import ENROLLED, LIVE, FixedText, SignalModel
from biometrics.behavior.population import learn_population
from biometrics.behavior.profile import Profile
from biometrics.behavior.statistics import names, prepare, statistics

CLIP: Final = (-6.0, 5.0)
_NOVICE: Final = slice(0, 10, 2)
_MOST: Final = 40
"""Maximum number of samples of a kind that are scored against one profile."""
_FEWEST: Final = 10
"""Minimum number of genuine samples for a profile."""
Step = Callable[[int, int], None]


@dataclass(frozen=True)
class Fitting:
    """Regularization of a head.

    Args:
        ridge: Penalty on squared weights.
        components: Number of principal components that form products.
    """

    ridge: float
    components: int


CAREFUL: Final[Mapping[str, Fitting]] = {ENROLLED: Fitting(1e-2, 14), LIVE: Fitting(3e-3, 0)}
"""For few samples, or a text that no one typed in training. For live profiles, products only fit
the noise."""
CLOSE: Final[Mapping[str, Fitting]] = {ENROLLED: Fitting(3e-3, 14), LIVE: Fitting(1e-4, 0)}
"""For people who all typed one text many times."""


@dataclass(kw_only=True, frozen=True)
class EnrollmentPlan:
    """One way to enroll a profile.

    Args:
        way: `enrolled` or `live`.
        bucket: Bucket of the head that it trains.
        start: Index of the first sample of the profile.
        end: Index after its last sample.
        genuine: The person's own samples that are scored against it.
    """

    way: str
    bucket: int
    start: int
    end: int
    genuine: slice


@dataclass
class Pile:
    """The training rows of one head, with the person of each row."""

    found: list[Floats] = field(default_factory=list)
    genuine: list[Floats] = field(default_factory=list)
    weights: list[Floats] = field(default_factory=list)
    person: list[Floats] = field(default_factory=list)

    def add(self, found: Floats, person: int, *, genuine: bool, share: float) -> None:
        """Add rows of statistics with a total weight of `share`."""
        count = len(found)
        self.found.append(found)
        self.genuine.append(np.full(count, float(genuine)))
        self.weights.append(np.full(count, share / max(count, 1)))
        self.person.append(np.full(count, float(person)))

    def rows(self, share: float = 1.0) -> tuple[Floats, Floats, Floats]:
        """Return statistics (n, k), 1 for a genuine sample (n,), and weights times a share (n,)."""
        found, genuine, weights = (
            np.concatenate(part) for part in (self.found, self.genuine, self.weights)
        )
        return found, genuine, weights * share

    def weighs(self) -> float:
        """Return the total weight of the genuine samples."""
        return float(sum(np.dot(*both) for both in zip(self.genuine, self.weights, strict=True)))


@dataclass(frozen=True)
class Gathered:
    """The training data from the people of one text.

    Args:
        layout: The layout of the text.
        piles: Training rows by origin of the profile and bucket.
    """

    layout: Layout
    piles: Mapping[tuple[str, int], Pile]


@dataclass(kw_only=True, frozen=True)
class Plan:
    """The plan of a training.

    Args:
        repeats: Number of random splits.
        groups: Number of groups per split.
        session: Samples per session.
        settled: Samples after which a person is used to the text.
        fixed: Whether everyone typed the same text, and will.
        seed: Seed of the splits and of the background samples.
        enrollments: The profiles made of each person.
        fitting: Regularization of the heads, by origin.
        beside: Training data of other texts, with the same total weight.
    """

    repeats: int = 2
    groups: int = 4
    session: int = 50
    settled: int = 100
    fixed: bool = True
    seed: int = 0
    enrollments: tuple[EnrollmentPlan, ...] = field(default=())
    fitting: Mapping[str, Fitting] = field(default_factory=lambda: CAREFUL)
    beside: tuple[Gathered, ...] = ()


def even_spread(layout: Layout, people: Sequence[Floats]) -> Floats:
    """Return the typical deviation of a person's samples from their median, in `Layout.even`."""
    each = []
    for rows in people:
        even = layout.even(rows)
        each.append(np.abs(even - np.median(even, axis=0)).mean(axis=0))
    return np.asarray(np.maximum(np.median(each, axis=0), 1e-4))


def know(layout: Layout, people: Sequence[Floats], plan: Plan) -> FixedText | AnyText:
    """Return the population statistics, of one text or of any text."""
    population = learn_population(
        layout, people, session=plan.session, settled=plan.settled, seed=plan.seed
    )
    even = even_spread(layout, people)
    return FixedText(population, even) if plan.fixed else average(population, even)


def train(
    layout: Layout,
    *,
    people: Sequence[Floats],
    plan: Plan,
    version: str,
    clip: tuple[float, float] = CLIP,
    step: Step | None = None,
) -> SignalModel:
    """Train the model of one signal on people (n, d) in order of time.

    Raises:
        ValueError: Too few people or samples, or the other texts are of another signal.
    """
    if any(names(other.layout) != names(layout) for other in plan.beside):
        raise ValueError("the other texts are of another signal")
    gathered = gather(layout, people, plan, step)
    heads = {}
    for (way, bucket), pile in gathered.piles.items():
        others = [other.piles[way, bucket] for other in plan.beside if (way, bucket) in other.piles]
        heads[way, bucket] = _fit(pile, others, plan.seed, plan.fitting[way])
    return SignalModel(know(layout, people, plan), heads, clip, version)


def gather(
    layout: Layout, people: Sequence[Floats], plan: Plan, step: Step | None = None
) -> Gathered:
    """Return training data of people (n, d), each scored by a population of the others.

    Raises:
        ValueError: Too few people or samples.
    """
    if len(people) < 2 * plan.groups:
        raise ValueError(f"training needs at least {2 * plan.groups} people")
    piles: dict[tuple[str, int], Pile] = {}
    splits = list(_splits(len(people), plan))
    for number, held in enumerate(splits):
        rest = [people[at] for at in range(len(people)) if at not in held]
        known = know(layout, rest, replace(plan, seed=plan.seed + number))
        for enrollment in plan.enrollments:
            pile = piles.setdefault((enrollment.way, enrollment.bucket), Pile())
            _attack(layout, people=people, held=held, known=known, enrollment=enrollment, pile=pile)
        if step:
            step(number + 1, len(splits))
    return Gathered(layout, piles)


def _splits(people: int, plan: Plan) -> Iterator[list[int]]:
    random = np.random.default_rng(plan.seed)
    for _ in range(plan.repeats):
        for part in np.array_split(random.permutation(people), plan.groups):
            yield sorted(part.tolist())


def _attack(
    layout: Layout,
    *,
    people: Sequence[Floats],
    held: list[int],
    known: FixedText | AnyText,
    enrollment: EnrollmentPlan,
    pile: Pile,
) -> None:
    population = known.population(layout)
    spread = known.even_spread(layout)
    for person in held:
        rows = people[person]
        profile = Profile.empty(layout).absorb(rows[enrollment.start : enrollment.end])
        profile = replace(profile, total=enrollment.end - enrollment.start)
        prepared = prepare(profile, population, spread)
        genuine = _thinned(rows[enrollment.genuine])
        pile.add(statistics(prepared, population, genuine), person, genuine=True, share=1.0)
        others = [people[other] for other in held if other != person]
        for part in (_NOVICE, _practised(rows)):
            attack = _thinned(np.concatenate([other[part] for other in others]))
            pile.add(statistics(prepared, population, attack), person, genuine=False, share=0.5)


def _thinned(rows: Floats) -> Floats:
    """Return every n-th row, at most `_MOST`."""
    return rows[:: -(-len(rows) // _MOST) or 1]


def _practised(rows: Floats) -> slice:
    half = len(rows) // 2
    return slice(half, None, max(1, half // 6))


def _fit(pile: Pile, others: Sequence[Pile], seed: int, how: Fitting) -> Head:
    """Fit on all piles; calibrate on cross-validated scores of the pile's own people.

    All other piles together weigh as much as the pile.
    """
    make = partial(fit, ridge=how.ridge, components=how.components)
    own = pile.rows()
    person = np.concatenate(pile.person)
    beside = [other.rows(pile.weighs() / other.weighs() / len(others)) for other in others]
    found, genuine, weights = own
    scores = np.zeros(len(found))
    for part in np.array_split(np.random.default_rng(seed).permutation(np.unique(person)), 4):
        out = np.isin(person, part)
        rest = (found[~out], genuine[~out], weights[~out])
        scores[out] = make(*_stacked([rest, *beside])).llr(found[out])
    slope, shift = calibrate(scores, genuine, weights)
    return replace(make(*_stacked([own, *beside])), slope=slope, shift=shift)


def _stacked(parts: Sequence[tuple[Floats, Floats, Floats]]) -> tuple[Floats, Floats, Floats]:
    found, genuine, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
    return found, genuine, weights


def keystroke_plan(samples: int, *, fixed: bool = True, seed: int = 0) -> Plan:
    """Return the plan for people with that many typings each, 400 in the CMU set.

    Every bucket is enrolled at several points in time, so that a head sees many profiles of each
    person; no scored sample was enrolled.
    """
    eighth = samples // 8
    found = [
        EnrollmentPlan(
            way=ENROLLED,
            bucket=bucket,
            start=start,
            end=start + bucket,
            genuine=slice(start + max(eighth, bucket + 20), samples),
        )
        for bucket in (5, 10, 20)
        for start in (2 * eighth, 3 * eighth, 4 * eighth, samples * 7 // 12, samples * 2 // 3)
    ]
    found += [
        EnrollmentPlan(
            way=ENROLLED, bucket=50, start=start, end=end, genuine=slice(end, end + 4 * eighth)
        )
        for start, end in (
            (0, 4 * eighth),
            (0, 3 * eighth),
            (eighth, 5 * eighth),
            (2 * eighth, 4 * eighth),
        )
    ]
    found += [
        EnrollmentPlan(
            way=LIVE,
            bucket=bucket,
            start=at,
            end=at + bucket,
            genuine=slice(at + bucket, at + bucket + 10),
        )
        for bucket in (5, 10, 20)
        for at in range(0, 8 * eighth, eighth)
    ]
    found += [
        EnrollmentPlan(
            way=LIVE, bucket=50, start=max(0, at - 100), end=at, genuine=slice(at, at + 20)
        )
        for at in range(samples // 6, samples - 20, samples // 12)
    ]
    kept = [one for one in found if samples - one.genuine.start >= _FEWEST]
    fitting = CLOSE if fixed else CAREFUL
    return Plan(fixed=fixed, seed=seed, enrollments=tuple(kept), fitting=fitting)
