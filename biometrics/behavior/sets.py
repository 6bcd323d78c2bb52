"""The published sets by name: how each is read, and how a model of it is trained."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from biometrics.behavior.layout import Floats, Layout
from biometrics.behavior.loaders import (
    People,
    load_cmu,
    load_hold_and_tap,
    load_meu,
    load_mobikey,
)
from biometrics.behavior.model import ENROLLED, bucket_of
from biometrics.behavior.training import Enrollment, Plan, keystroke_plan

Loader = Callable[[Path], tuple[Layout, People]]
LAYOUTS: Final[Mapping[str, Loader]] = {
    "cmu": load_cmu,
    "meu": load_meu,
    "hold-and-tap": load_hold_and_tap,
    "mobikey": load_mobikey,
}
"""CMU, Hold and Tap (motion of one posture) and MOBIKEY are a file each; MEU is a folder."""
LONG: Final = 120
"""Samples of each person from which sessions and live profiles can be trained."""
FEWEST: Final = 15
_SESSION: Final = 10


def plan_of(people: Mapping[str, Floats], enroll: Iterable[int]) -> Plan:
    """Return the plan for a set: by sessions where everybody gave many samples, else a short one.

    Args:
        people: Whom a model is trained of.
        enroll: With how many samples profiles will be made.

    Raises:
        ValueError: Somebody gave too few samples.
    """
    least = min((len(rows) for rows in people.values()), default=0)
    if least >= LONG:
        return keystroke_plan(least)
    if least < FEWEST:
        raise ValueError(f"training needs at least {FEWEST} samples of each person")
    return short_plan(least, enroll)


def short_plan(samples: int, enroll: Iterable[int]) -> Plan:
    """Return the plan for people with few samples, whose first ones enroll them."""
    wanted = {bucket_of(count) or 0 for count in enroll}
    buckets = sorted(bucket for bucket in wanted if 0 < bucket <= samples * 3 // 4)
    if not buckets:
        raise ValueError(f"{samples} samples of a person are too few to enroll that many")
    ways = tuple(Enrollment(ENROLLED, n, 0, n, slice(n, None)) for n in buckets)
    return Plan(session=_SESSION, settled=0, enrollments=ways)
