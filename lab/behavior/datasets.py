"""The published data sets by name, with the loader and the training plan of each."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from biometrics.behavior.layout import HOLD, PRESSURE, SIZE, Floats, Layout
from biometrics.behavior.model import BUCKETS, ENROLLED, LIVE, bucket_of
from biometrics.behavior.statistics import names
from lab.behavior.balabit import load_balabit
from lab.behavior.loaders import (
    People,
    load_cmu,
    load_hold_and_tap,
    load_meu,
    load_mobikey,
    load_taps,
)
from lab.behavior.training import (
    EnrollmentPlan,
    Gathered,
    Plan,
    Step,
    gather,
    keystroke_plan,
)

Loader = Callable[[Path], tuple[Layout, People]]
LAYOUTS: Final[Mapping[str, Loader]] = {
    "cmu": load_cmu,
    "meu": load_meu,
    "hold-and-tap": load_hold_and_tap,
    "taps": load_taps,
    "mobikey": load_mobikey,
    "mobikey-1": partial(load_mobikey, text="1"),
    "mobikey-2": partial(load_mobikey, text="2"),
    "balabit": load_balabit,
}
"""CMU, Hold and Tap (motion or taps of one posture) and MOBIKEY (its three passwords) are one file
each, the others a folder."""
_ORIGIN: Final = {"taps": "hold-and-tap", "mobikey-1": "mobikey", "mobikey-2": "mobikey"}
LONG: Final = 120
"""Number of samples per person from which sessions and live profiles can be trained."""
FEWEST: Final = 15
_SESSION: Final = 10
_NEXT: Final = 5
"""Number of samples scored against a live profile before it absorbs them."""


def plan_of(people: Mapping[str, Floats], enroll: Iterable[int], *, live: bool = False) -> Plan:
    """Return the training plan of a set: by sessions if everyone gave many samples, else short.

    Args:
        people: The people a model is trained on.
        enroll: The numbers of samples that profiles will be enrolled with.
        live: Whether short profiles absorb each further sample.

    Raises:
        ValueError: A person gave too few samples.
    """
    least = min((len(rows) for rows in people.values()), default=0)
    if least >= LONG:
        return keystroke_plan(least)
    if least < FEWEST:
        raise ValueError(f"training needs at least {FEWEST} samples of each person")
    return short_plan(least, enroll, live=live)


def short_plan(samples: int, enroll: Iterable[int], *, live: bool = False) -> Plan:
    """Return the plan for people with few samples; their first ones enroll them.

    A live profile grows into the higher buckets and is tested with the samples right after it.
    """
    wanted = {bucket_of(count) or 0 for count in enroll}
    most = samples * 3 // 4
    if live:
        wanted = wanted | {each for each in BUCKETS if each > min(wanted)}
        most = samples - 1
    buckets = sorted(bucket for bucket in wanted if 0 < bucket <= most)
    if not buckets:
        raise ValueError(f"{samples} samples of a person are too few to enroll that many")
    ways = [
        EnrollmentPlan(way=ENROLLED, bucket=n, start=0, end=n, genuine=slice(n, None))
        for n in buckets
    ]
    if live:
        ages = [(n, min(n + n // 4, samples - 1)) for n in buckets]
        ways += [
            EnrollmentPlan(way=LIVE, bucket=n, start=0, end=age, genuine=slice(age, age + _NEXT))
            for n, age in ages
        ]
    return Plan(session=_SESSION, settled=0, enrollments=tuple(ways))


def origin(kind: str) -> str:
    """Return the set that the people of a layout come from; a name there is one person."""
    return _ORIGIN.get(kind, kind)


def timing_only(layout: Layout, people: Mapping[str, Floats]) -> tuple[Layout, People]:
    """Return touch samples without pressure and contact size."""
    at = np.flatnonzero(~np.isin(np.array(layout.kinds), (PRESSURE, SIZE)))
    keys = layout.kinds.count(HOLD)
    return Layout.keystroke(keys), {name: rows[:, at] for name, rows in people.items()}


def gather_beside(
    of: Layout, layout: Layout, people: Mapping[str, Floats], step: Step | None = None
) -> Gathered:
    """Gather training data from the people of another set for heads of one text.

    From touch samples, heads for keystrokes use the times only.

    Args:
        of: A layout of the heads' signal.
        layout: The layout of the other set.
        people: Everyone in it.
        step: Called with progress.

    Raises:
        ValueError: Too few people or samples, or the set is of another signal.
    """
    if layout.timed and not of.of(PRESSURE).size:
        layout, people = timing_only(layout, people)
    if names(layout) != names(of):
        raise ValueError(f"{layout.signal} is another signal than {of.signal}")
    plan = plan_of(people, BUCKETS[:-1], live=True)
    return gather(layout, list(people.values()), plan, step)
