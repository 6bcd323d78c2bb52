"""Tables and figures of the behavior benchmark, as it prints and stores them."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import behavior_parts as parts
from benchmarks.behavior_parts import Figures, Trials
from lab.behavior.protocols import NOVICE, PRACTISED
from lab.behavior.training import CLIP
from lab.evaluation import plot

Cells = dict[str, str]


@dataclass
class Report:
    """Tables that are printed as they are measured, and their figures for the JSON file."""

    data: Path
    quick: bool
    plots: Path | None
    figures: dict[str, Any] = field(default_factory=dict)

    def table(self, title: str, rows: Sequence[Cells]) -> None:
        """Print rows as a Markdown table; each row has the same columns."""
        head = list(rows[0])
        print(f"\n### {title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
        for row in rows:
            print(f"| {' | '.join(row.values())} |")
        sys.stdout.flush()

    def keep(self, title: str, name: str, found: object) -> None:
        """Keep figures for the JSON file."""
        self.figures.setdefault(title, {})[name] = found

    def there(self, *names: str) -> bool:
        """Say whether the files are there; tell what is left out when they are not."""
        missing = [name for name in names if not (self.data / name).exists()]
        if missing:
            print(f"\nleft out: {self.data / missing[0]} is not there")
        return not missing

    def errors(
        self,
        title: str,
        *,
        name: str,
        trials: Trials,
        goal: Sequence[float] = (),
        clip: tuple[float, float] | None = CLIP,
    ) -> Cells:
        """Return the cells of one row of error rates, and keep its figures."""
        found = parts.figures(trials, clip)
        self.keep(title, name, found)
        if self.plots and clip == CLIP:
            for kind, some in trials.items():
                stem = "".join(c if c.isalnum() else "-" for c in f"{title}-{name}-{kind}")
                plot(some, f"{name}, {kind}", self.plots / stem.lower())
        return {
            "": name,
            "EER": pair(found, "eer"),
            "goal": told(goal),
            "reached": reached(found, goal),
            "±": pair(found, "eer_half_width"),
            "Cllr": pair(found, "cllr", 2),
            "Cllr_min": pair(found, "cllr_min", 2),
            "worst person": pair(found, "worst_person", 2),
        }


def pair(found: Figures, name: str, digits: int = 3) -> str:
    """Return a figure for novices and for practised impostors."""
    values = [found[kind].get(name) for kind in (NOVICE, PRACTISED)]
    return " / ".join("—" if value is None else f"{value:.{digits}f}" for value in values)


def told(goal: Sequence[float]) -> str:
    """Return the goal as text: of both kinds of impostors, or one for novices alone."""
    return " / ".join(f"{value:.3f}" for value in goal) or "—"


def reached(found: Figures, goal: Sequence[float]) -> str:
    """Return whether each goal is met by the figure itself."""
    kinds = (NOVICE, PRACTISED)
    held = [found[kind]["eer"] <= bar for kind, bar in zip(kinds, goal, strict=False)]
    return " / ".join("yes" if good else "no" for good in held) or "—"
