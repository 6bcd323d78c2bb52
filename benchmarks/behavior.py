"""What the scoring of behavior reaches on published sets, beside its goals.

    python -m benchmarks.behavior --data DIR [--quick] [--out FILE] [--plot DIR]

DIR has `cmu/`, `meu_touch/`, `hold_and_tap/`, `sapientia_touch/` and `balabit_mouse/` with its
`training_files/` (docs/research/behavior.md names their sources); a missing set is reported and
left out. Models are trained on the people of the other folds; impostors are people of the same
fold, so that no model has seen a person who is measured.
Tables are Markdown, error rates as novice / practised impostors, `±` the 95 % half-width over
people.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import behavior_parts as parts
from benchmarks import behavior_pointer
from benchmarks.behavior_motion import motion
from benchmarks.behavior_parts import Part, People
from benchmarks.behavior_report import Cells, Report
from biometrics.behavior.layout import Layout
from biometrics.behavior.model import DEFAULT, SignalModel, load
from lab.behavior import loaders, protocols
from lab.behavior.datasets import LAYOUTS, gather_beside, timing_only
from lab.behavior.loaders import BadData
from lab.behavior.protocols import NOVICE, Run
from lab.behavior.training import keystroke_plan
from lab.evaluation import summarize

FOLDS = 5
CMU = "cmu/DSL-StrongPasswordData-31.csv"
MOBIKEY = "sapientia_touch/keystrokes.csv"
BALABIT = "balabit_mouse/training_files"
BESIDE = (
    ("meu", "meu_touch"),
    ("mobikey", MOBIKEY),
    ("mobikey-1", MOBIKEY),
    ("mobikey-2", MOBIKEY),
    *(
        ("taps", f"hold_and_tap/{posture}_Touch_with_label.csv")
        for posture in ("Sitting", "Standing", "Walking")
    ),
)
"""Sets of whose people heads for the keystroke set learn as well, and how each is read."""
SHIPPED_CLIP = (-2.0, 2.0)
STEPS = (0.0, 0.002, 0.005, 0.0167, 0.1)
GOALS: dict[tuple[str, int], tuple[float, float]] = {
    ("settled", 5): (0.035, 0.055),
    ("settled", 10): (0.028, 0.042),
    ("settled", 20): (0.022, 0.035),
    ("km", 200): (0.017, 0.030),
    ("live", 200): (0.010, 0.017),
}
TOUCH_GOALS = {10: 0.050, 20: 0.038, 34: 0.028}
PUBLISHED = (
    ("nearest neighbor Mahalanobis (2009)", 0.0996),
    ("one-class SVM (2009)", 0.1025),
    ("scaled Manhattan (2009)", 0.0962),
    ("Zhong 2012", 0.084),
    ("GMM-UBM", 0.055),
    ("DBN with background users", 0.035),
)


@dataclass(frozen=True)
class Typing:
    """The keystroke set with a model for each fold, and one that learned of other sets too."""

    layout: Layout
    people: People
    parts: list[Part]
    beside: list[Part]


def typing(report: Report) -> Typing:
    """Read the keystroke set and train on it; in the quick form twenty people and three folds."""
    layout, people = loaders.load_cmu(report.data / CMU)
    names = sorted(people)[: 20 if report.quick else None]
    people = {name: people[name] for name in names}
    folds = 3 if report.quick else FOLDS
    alone = parts.learn(layout, people=people, folds=folds, enroll=(), title="keystroke models")
    return Typing(layout, people, alone, _beside(report, layout, people, folds))


def _beside(report: Report, layout: Layout, people: People, folds: int) -> list[Part]:
    """Return models whose heads learned of the people of every other set; none without a set."""
    sets = BESIDE[: 1 if report.quick else None]
    if not report.there(*(name for _, name in sets)):
        return []
    others = tuple(
        gather_beside(layout, *LAYOUTS[kind](report.data / name))
        for kind, name in parts.follow(sets, "people of other sets")
    )
    return parts.learn(
        layout,
        people=people,
        folds=folds,
        enroll=(),
        title="keystroke models, others beside",
        make=lambda known: replace(keystroke_plan(min(map(len, known.values()))), beside=others),
    )


def paper(report: Report) -> None:
    """Reproduce the paper's best detector, on everybody."""
    layout, people = loaders.load_cmu(report.data / CMU)
    found = protocols.trials(
        layout, people=people, run=Run("km", 200), scorer="scaled_manhattan", model=None
    )
    eer = summarize(found[NOVICE])["eer"]
    held = abs(eer - 0.092) <= 0.003  # noqa: PLR2004 - what the design measured
    report.keep("paper", "scaled Manhattan", eer)
    rows = [
        {
            "": f"scaled Manhattan, these {len(people)} people",
            "EER": f"{eer:.4f}",
            "goal": "0.092 ± 0.003",
            "reached": "yes" if held else "no",
        }
    ]
    rows += [
        {"": f"published, 51 people: {name}", "EER": f"{value:.4f}", "goal": "—", "reached": "—"}
        for name, value in PUBLISHED
    ]
    report.table("The paper's table: 200 enrolled, novice", rows)


def keystroke(report: Report, typed: Typing) -> None:
    """Compare the head with scorers that know no population."""
    title = "keystroke"
    sizes = ("settled", 20), ("km", 200)
    runs = [Run(*size) for size in (sizes if report.quick else GOALS)]
    rows = []
    for run in parts.follow(runs, "keystroke"):
        name = f"{run.enroll} {run.protocol}"
        goal = GOALS[run.protocol, run.enroll]
        for what, learned in (("head", typed.parts), ("head, others beside", typed.beside)):
            if learned:
                found = parts.run_head(typed.layout, learned, run)
                rows.append(report.errors(title, name=f"{name}: {what}", trials=found, goal=goal))
        rivals = ("own",) if run.protocol == "live" else ("own", "scaled_manhattan")
        for scorer in rivals:
            found = parts.run_plain(typed.layout, typed.parts, run, scorer)
            rows.append(
                report.errors(title, name=f"{name}: {RIVALS[scorer]}", trials=found, clip=None)
            )
        if run.protocol == "km":
            found = parts.run_mahalanobis(typed.parts)
            rows.append(
                report.errors(title, name=f"{name}: {RIVALS['nearest']}", trials=found, clip=None)
            )
    report.table(
        "Keystroke (CMU); goals too: Cllr ≤ 0.12, Cllr less Cllr_min ≤ 0.02, worst ≤ 0.10", rows
    )


RIVALS = {
    "own": "own samples only",
    "scaled_manhattan": "scaled Manhattan",
    "nearest": "nearest neighbor Mahalanobis",
}


def touch(report: Report) -> None:
    """Measure touches with and without pressure and contact size, and those of a second set."""
    rows = []
    sizes = (20,) if report.quick else (10, 20, 34)
    if report.there("meu_touch"):
        layout, people = loaders.load_meu(report.data / "meu_touch")
        bare = timing_only(layout, people)
        for name, these in (("", (layout, people)), (" without pressure and size", bare)):
            rows += _short(
                report, title="touch", name=f"MEU{name}", found=these, sizes=sizes, goals=not name
            )
        default, folds = load(DEFAULT)["touch"], 3 if report.quick else FOLDS
        general = [Part(tested, default) for tested, _ in parts.split(people, folds)]
        found = parts.run_head(layout, general, Run("short", 20))
        rows.append(
            report.errors(
                "touch", name="MEU, n = 20, shipped model", trials=found, clip=SHIPPED_CLIP
            )
        )
    if not report.quick and report.there(MOBIKEY):
        keys = loaders.load_mobikey(report.data / MOBIKEY)
        rows += _short(
            report,
            title="touch",
            name="MOBIKEY, first password",
            found=keys,
            sizes=(20, 40),
            goals=False,
        )
    if rows:
        report.table("Touch: first samples enroll, the last third is genuine", rows)


def _short(
    report: Report,
    *,
    title: str,
    name: str,
    found: tuple[Layout, People],
    sizes: Sequence[int],
    goals: bool,
) -> list[Cells]:
    layout, people = found
    folds = 3 if report.quick else FOLDS
    learned = parts.learn(layout, people=people, folds=folds, enroll=sizes, title=name)
    return [
        report.errors(
            title,
            name=f"{name}, n = {n}",
            trials=parts.run_head(layout, learned, Run("short", n)),
            goal=(TOUCH_GOALS[n],) if goals else (),
        )
        for n in sizes
    ]


def shipped(report: Report, typed: Typing) -> None:
    """Measure what the model of generated people loses against one of real people."""
    default = load(DEFAULT)["keystroke"]
    models: dict[str, list[Part]] = {
        "shipped, of generated people": parts.with_model(typed.parts, default),
        "real people, this text": typed.parts,
    }
    if not report.quick:
        models["real people, any text"] = parts.learn(
            typed.layout,
            people=typed.people,
            folds=FOLDS,
            enroll=(),
            title="models of any text",
            make=lambda others: keystroke_plan(min(map(len, others.values())), fixed=False),
        )
    rows = []
    for run in (Run("settled", 20), Run("km", 200)):
        for name, learned in models.items():
            found = parts.run_head(typed.layout, learned, run)
            label = f"{run.enroll} {run.protocol}: {name}"
            rows.append(report.errors("shipped", name=label, trials=found, clip=SHIPPED_CLIP))
    report.table("The shipped model against one of real people (Cllr within ±2 nats)", rows)


def poisoning(report: Report, typed: Typing) -> None:
    """Measure what an attacker reaches who knows the password."""
    found = parts.poisoned(typed.layout, typed.parts, 2 if report.quick else 6)
    report.keep("poisoning", "shares", found)
    held = "yes" if found["aal2"] <= 0.01 else "no"  # noqa: PLR2004 - the bar
    names = {
        "every": "learns from every login with the password",
        "accepted": "learns from what it accepts itself",
        "aal2": "learns after AAL2 only",
    }
    rows = [
        {
            "the profile": text,
            "accepted afterwards": f"{found[rule]:.1%}",
            "goal": "≤ 1 %" if rule == "aal2" else "—",
            "reached": held if rule == "aal2" else "—",
        }
        for rule, text in names.items()
    ]
    report.table("Poisoning: an attacker's samples after 60 logins (1 % of novices pass)", rows)
    print(
        f"\nProfiles taken over that the anchor tells from every person's own: "
        f"{found['parted']:.0%}."
    )


def clock(report: Report, typed: Typing) -> None:
    """Measure what a coarse clock costs."""
    rows = []
    for step in parts.follow(STEPS, "clock"):
        coarse = [
            Part(parts.stepped(typed.layout, part.tested, step), part.model) for part in typed.parts
        ]
        name = f"{step * 1000:g} ms" if step else "as recorded"
        found = parts.run_head(typed.layout, coarse, Run("km", 200))
        rows.append(report.errors("clock", name=name, trials=found))
    report.table("Steps of the clock, 200 km", rows)


def speed(report: Report, *, layout: Layout, rows: Any, model: SignalModel, name: str) -> None:  # noqa: ANN401 - an array
    """Measure what scoring costs."""
    found = parts.speed(layout, rows, model, 20 if report.quick else 100)
    report.keep("speed", name, found)
    bars = {"score": 150.0, "absorb_and_pack": 2000.0}
    rows_told = [
        {
            "": step.replace("_", " "),
            "µs CPU, median": f"{value:.1f}",
            "goal": f"≤ {bars[step]:g}" if step in bars else "—",
            "reached": ("yes" if value <= bars[step] else "no") if step in bars else "—",
        }
        for step, value in found.items()
        if step != "score_ratio"
    ]
    report.table(f"Cost, {name}", rows_told)
    print(f"\nA score costs {found['score_ratio']:.0f} times a scaled Manhattan.")


def measured(report: Report) -> None:
    """Run every part whose files are there."""
    if report.there(CMU):
        paper(report)
        typed = typing(report)
        keystroke(report, typed)
        clock(report, typed)
        poisoning(report, typed)
        shipped(report, typed)
        first = typed.parts[0]
        rows = next(iter(first.tested.values()))
        speed(
            report,
            layout=typed.layout,
            rows=rows,
            model=first.model,
            name=f"{typed.layout.kinds.count('hold')} keys, 100 samples, a model of this text",
        )
        speed(
            report,
            layout=typed.layout,
            rows=rows,
            model=load(DEFAULT)["keystroke"],
            name="the shipped model",
        )
    touch(report)
    motion(report)
    if report.there(BALABIT):
        behavior_pointer.tables(report, report.data / BALABIT)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a directory with the sets")
    parser.add_argument("--quick", action="store_true", help="few people, folds and sizes")
    parser.add_argument("--out", type=Path, help="write JSON here")
    parser.add_argument("--plot", type=Path, help="directory of DET and reliability plots")
    options = parser.parse_args(arguments)
    if not options.data.is_dir():
        parser.error(f"--data: {options.data} is no directory")
    if options.plot:
        options.plot.mkdir(parents=True, exist_ok=True)
    report, begun = Report(options.data, options.quick, options.plot), time.monotonic()
    try:
        measured(report)
    except BadData as error:
        parser.error(str(error))
    if not report.figures:
        parser.error(f"--data: {options.data} has none of the sets")
    spent = time.monotonic() - begun
    print(f"\n{spent:.0f} s")
    told_all = {
        "quick": options.quick,
        "seconds": round(spent, 1),
        "machine": platform.platform(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "tables": report.figures,
    }
    if options.out:
        options.out.write_text(json.dumps(told_all, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
