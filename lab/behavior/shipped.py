"""Train the default model on synthetic people only, with tight score bounds for that reason."""

from dataclasses import replace
from pathlib import Path
from typing import Final

from biometrics.behavior.layout import Floats, Layout
from biometrics.behavior.model import BUCKETS, ENROLLED, LIVE, SignalModel, save
from lab.behavior import synthetic_motion, synthetic_pointer
from lab.behavior.synthetic_typing import people, touches
from lab.behavior.training import EnrollmentPlan, Plan, Step, keystroke_plan, train

CLIP: Final = (-2.0, 2.0)
WEAK: Final = (-0.5, 0.25)
"""Bounds of a pointer: with ±1 these ratios were worse than none on the three real people with
devices that report often enough, so synthetic ones must count for less."""
KEYS: Final = 12
KIND: Final = (-1.0, 2.0)
"""Bounds of grip and motion: a person's first walk looks like another person, so the lower bound
is small."""
_PEOPLE: Final = 60
_SAMPLES: Final = 240
_HOLDERS: Final = 100
_HELD: Final = 120
_SOON: Final = 20
"""Number of samples that test a live profile of grip and motion in training: two sessions."""
_HANDS: Final = 100
_POINTED: Final = 120
_VERSION: Final = "generator/4"


def make(people_count: int = _PEOPLE, step: Step | None = None) -> dict[str, SignalModel]:
    """Train the models of all signals, for any text; `step` is called with progress."""
    typed = people(people_count, KEYS, samples=_SAMPLES, session=30, seed=11)
    plan = replace(keystroke_plan(_SAMPLES, fixed=False), repeats=1)
    stroke = Layout.keystroke(KEYS)
    touch = Layout.touch(KEYS)
    touched = [touches(rows, KEYS, seed) for seed, rows in enumerate(typed)]
    return {
        "keystroke": train(
            stroke, people=_whole(stroke, typed), plan=plan, version=_VERSION, clip=CLIP, step=step
        ),
        "touch": train(
            touch, people=_whole(touch, touched), plan=plan, version=_VERSION, clip=CLIP, step=step
        ),
        "motion": motion(step=step),
        "pointer": pointer(step=step),
    }


def _whole(layout: Layout, rows: list[Floats]) -> list[Floats]:
    return [layout.expand(part) for part in rows]


def motion(count: int = _HOLDERS, step: Step | None = None) -> SignalModel:
    """Train the model of grip and motion on synthetic people who hold telephones."""
    rows = synthetic_motion.people(count, samples=_HELD, seed=17)
    return train(
        Layout.motion(), people=rows, plan=held_plan(_HELD), version=_VERSION, clip=KIND, step=step
    )


def pointer(count: int = _HANDS, step: Step | None = None) -> SignalModel:
    """Train the pointer model on synthetic people who use a login form."""
    rows = synthetic_pointer.people(count, samples=_POINTED, seed=19)
    return train(
        Layout.pointer(),
        people=rows,
        plan=statistics_plan(_POINTED),
        version=_VERSION,
        clip=WEAK,
        step=step,
    )


def statistics_plan(samples: int, *, fixed: bool = False) -> Plan:
    """Return the plan for short rows of statistics: pointer, or touches of one day."""
    few = _buckets(samples)
    ways = [
        EnrollmentPlan(way=way, bucket=bucket, start=0, end=bucket, genuine=slice(bucket, None))
        for bucket in few
        for way in (ENROLLED, LIVE)
    ]
    return Plan(session=10, settled=0, fixed=fixed, enrollments=tuple(ways))


def held_plan(samples: int) -> Plan:
    """Return the plan for grip and motion.

    A live profile is tested with the samples right after it, as at a login: heads trained on all
    later samples accepted more impostors.
    """
    few = _buckets(samples)
    ways = [
        EnrollmentPlan(
            way=ENROLLED, bucket=bucket, start=0, end=bucket, genuine=slice(bucket, None)
        )
        for bucket in few
    ]
    ways += [
        EnrollmentPlan(way=LIVE, bucket=bucket, start=0, end=age, genuine=slice(age, age + _SOON))
        for bucket in few
        for age in (bucket, bucket * 3 // 2)
        if age < samples
    ]
    return Plan(session=10, settled=0, fixed=False, enrollments=tuple(ways))


def _buckets(samples: int) -> list[int]:
    return [bucket for bucket in BUCKETS if bucket < samples * 3 // 4]


def write(path: Path, step: Step | None = None) -> None:
    """Train the default model and write it to a file."""
    save(make(step=step), path)
