"""What `lamina behavior` does: train models, and measure them as the papers do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypedDict

from rich.console import Console
from rich.progress import Progress

from biometrics.behavior.layout import Layout
from biometrics.behavior.model import DEFAULT, BadModel, SignalModel, load, save
from lab.behavior import protocols, shipped
from lab.behavior.datasets import FEWEST, LAYOUTS, LONG, Loader, gather_beside, origin, plan_of
from lab.behavior.jsonl import load_motion, load_pointer
from lab.behavior.loaders import BadData, People
from lab.behavior.protocols import PROTOCOLS, Run
from lab.behavior.training import CLIP, Gathered, Step, keystroke_plan, train
from lab.evaluation import Trial, plot
from service.domain.errors import SetupError

_FEWEST: Final = 8
_VERSION: Final = "trained/1"
_MOVED: Final = (-2.0, 3.0)
"""Nats that movement of one's own people may say: a posture nobody took yet is no theft."""
_POINTED: Final = (-1.0, 1.0)
"""Nats that a pointer may say, whoever it was learned of: seconds of movement are weak evidence."""
RIVALS: Final = (
    {"protocol": "km", "enroll": 200, "scorer": "scaled Manhattan (Killourhy 2009)", "eer": 0.0962},
    {
        "protocol": "km",
        "enroll": 200,
        "scorer": "nearest neighbor Mahalanobis (2009)",
        "eer": 0.0996,
    },
    {"protocol": "km", "enroll": 200, "scorer": "one-class SVM (2009)", "eer": 0.1025},
    {"protocol": "km", "enroll": 200, "scorer": "Zhong 2012", "eer": 0.084},
    {"protocol": "km", "enroll": 200, "scorer": "GMM-UBM", "eer": 0.055},
    {"protocol": "km", "enroll": 200, "scorer": "DBN with background users", "eer": 0.035},
)
"""Published, novice impostors, all 51 people."""


class TrainedModel(TypedDict):
    """A trained model as written: its file, size in bytes, and signals."""

    file: str
    bytes: int
    signals: list[str]


def train_own(
    files: tuple[Path, ...],
    moved: tuple[Path, ...],
    pointed: tuple[Path, ...],
    out: Path | None,
    *,
    make_default: bool,
) -> TrainedModel:
    """Train what the files say something of, write the model, and return what was written."""
    target = out or (DEFAULT if make_default else Path("population.npz"))
    with _progress("training") as step:
        if make_default:
            models = shipped.make(step=step)
        else:
            # Signals that the files say nothing of stay as they ship.
            models = load(DEFAULT)
            if files:
                models["keystroke"] = _train_on(files, step, fixed=False)
            if moved:
                models["motion"] = _train_lines(moved, load_motion, _MOVED, step)
            if pointed:
                models["pointer"] = _train_lines(pointed, load_pointer, _POINTED, step)
    save(models, target)
    return {"file": str(target), "bytes": target.stat().st_size, "signals": sorted(models)}


@dataclass(kw_only=True, frozen=True, slots=True)
class EvaluationOptions:
    """The options of `lamina behavior evaluate`."""

    file: Path
    train_file: Path | None
    folds: int | None
    beside: tuple[str, ...]
    kind: str
    protocol: str | None
    enroll: str | None
    seed: int
    plots: Path | None


def evaluated(asked: EvaluationOptions) -> list[dict[str, object]]:
    """Measure error rates of unseen people; raises SetupError."""
    kind = asked.kind
    protocol = asked.protocol or ("km" if asked.kind == "cmu" else "short")
    runs = _runs(protocol, asked.enroll or ("20" if protocol == "short" else "200"))
    if asked.train_file and asked.folds:
        raise SetupError("bad_usage", "take --train or --folds, not both")
    if asked.beside and not (asked.train_file or asked.folds):
        raise SetupError("bad_usage", "--beside stands beside people of --train or --folds")
    layout, people = _read(asked.file, kind)
    trained = _read(asked.train_file, kind) if asked.train_file else None
    everybody = people | (trained[1] if trained else {})
    with _progress("evaluating") as step:
        others = _gather(asked.beside, layout=layout, kind=kind, known=everybody, step=step)
        try:
            models = _Models(trained, asked.folds, asked.seed, others)
            found = measure(layout, people=people, runs=runs, models=models, step=step)
        except ValueError as error:
            raise SetupError("bad_data", f"{asked.file.name}: {error}") from None
    if asked.plots:
        _draw(found, asked.plots)
    return [row for key, part in found.items() for row in _told(key, part)]


def beside_rivals(rows: Sequence[Mapping[str, object]], kind: str) -> list[dict[str, object]]:
    """Return the columns that fit a screen, with what others published of the same people."""
    names = (
        "protocol",
        "enroll",
        "impostors",
        "scorer",
        "eer",
        "pooled_eer",
        "zero_miss_far",
        "frr_at_far_1pct",
        "cllr",
        "cllr_min",
        "worst_person",
    )
    published = [{"impostors": "novice", **row} for row in RIVALS if kind == "cmu"]
    return [{name: row.get(name) for name in names} for row in (*rows, *published)]


Key = tuple[Run, str]
Found = dict[Key, dict[str, list[Trial]]]


class _Models:
    """Where models come from: another file, the other folds, or nowhere."""

    def __init__(
        self,
        trained: tuple[Layout, People] | None,
        folds: int | None,
        seed: int,
        beside: tuple[Gathered, ...],
    ) -> None:
        self.trained = trained
        self.folds = folds
        self.seed = seed
        self.beside = beside

    def parts(self, layout: Layout, people: People) -> list[tuple[People, People]]:
        """Return each test group with its training data; empty if no model is trained."""
        if self.trained is not None:
            if self.trained[0] != layout:
                raise ValueError("the two files have other columns than each other")
            twice = sorted(set(self.trained[1]) & set(people))
            if twice:
                raise ValueError(f"{twice[0]} stands in both files: people must be disjoint")
            return [(people, self.trained[1])]
        if self.folds is None:
            return []
        groups = protocols.folds(sorted(people), self.folds, self.seed)
        if min(len(group) for group in groups) < 2:  # noqa: PLR2004 - one is the impostor
            raise ValueError("folds of fewer than two people")
        return [
            (
                {name: people[name] for name in group},
                {name: rows for name, rows in people.items() if name not in group},
            )
            for group in groups
        ]


def measure(
    layout: Layout,
    *,
    people: People,
    runs: Sequence[Run],
    models: _Models,
    step: Step,
) -> Found:
    """Return the trials of every run and scorer."""
    found: Found = {}
    parts = models.parts(layout, people)
    total = len(runs) * (2 + len(parts)) + len(parts)
    done = 0
    for run in runs:
        for scorer in ("scaled_manhattan", "own"):
            if run.protocol != "live" or scorer == "own":
                found[run, scorer] = protocols.trials(
                    layout, people=people, run=run, scorer=scorer, model=None
                )
            done += 1
            step(done, total)
    for tested, learned in parts:
        lives = any(run.protocol == "live" for run in runs)
        plan = plan_of(learned, [run.enroll for run in runs], live=lives)
        plan = replace(plan, beside=models.beside)
        model = train(layout, people=list(learned.values()), plan=plan, version=_VERSION)
        for run in runs:
            for kind, trials in protocols.trials(
                layout, people=tested, run=run, scorer="head", model=model
            ).items():
                found.setdefault((run, "head"), {}).setdefault(kind, []).extend(trials)
            done += 1
            step(done, total)
    return found


def _shortest(people: People) -> int:
    least = min(len(rows) for rows in people.values())
    if least < LONG:
        raise ValueError(f"training needs at least {LONG} samples of each person")
    return least


def _told(key: Key, found: Mapping[str, Sequence[Trial]]) -> list[dict[str, object]]:
    run, scorer = key
    return protocols.results(found, run, scorer, CLIP if scorer == "head" else None)


def _runs(protocol: str, enroll: str) -> list[Run]:
    wanted = [name.strip() for name in protocol.split(",")]
    unknown = [name for name in wanted if name not in PROTOCOLS]
    if unknown:
        raise SetupError("bad_usage", f"--protocol {unknown[0]}: known: {' '.join(PROTOCOLS)}")
    sizes = [size.strip() for size in enroll.split(",")]
    if not all(size.isdigit() and 5 <= int(size) <= 200 for size in sizes):  # noqa: PLR2004 - the protocols' own bounds
        raise SetupError("bad_usage", "--enroll takes numbers from 5 to 200 with commas")
    runs = [Run(name, int(size)) for name in wanted for size in sizes]
    runs = [run for run in runs if run.protocol != "settled" or run.enroll <= 50]  # noqa: PLR2004 - its genuine samples begin there
    if not runs:
        raise SetupError("bad_usage", "settled enrolls with at most 50")
    return runs


def _read(path: Path, how: str | Loader = "cmu") -> tuple[Layout, People]:
    try:
        return LAYOUTS[how](path) if isinstance(how, str) else how(path)
    except BadData as error:
        raise SetupError("bad_data", str(error)) from None


def _gather(
    beside: Sequence[str],
    *,
    layout: Layout,
    kind: str,
    known: People,
    step: Step,
) -> tuple[Gathered, ...]:
    """Return what heads learn of the sets beside; who is measured or learned of is not in them."""
    found = []
    for told in beside:
        other, _, path = told.partition(":")
        if other not in LAYOUTS or not path:
            detail = f"--beside {told}: takes LAYOUT:PATH, with one of {' '.join(LAYOUTS)}"
            raise SetupError("bad_usage", detail)
        columns, people = _read(Path(path), other)
        twice = sorted(set(known) & set(people)) if origin(other) == origin(kind) else []
        if twice:
            detail = f"--beside {told}: {twice[0]} stands in two files: people must be disjoint"
            raise SetupError("bad_data", detail)
        try:
            found.append(gather_beside(layout, columns, people, step=step))
        except ValueError as error:
            raise SetupError("bad_data", f"--beside {told}: {error}") from None
    return tuple(found)


def _train_on(files: Sequence[Path], step: Step, *, fixed: bool) -> SignalModel:
    people: People = {}
    layout: Layout | None = None
    for path in files:
        found, more = _read(path)
        if layout not in {None, found}:
            raise SetupError("bad_data", f"{path.name}: another number of keys than the first file")
        layout = found
        people = people | more
    if layout is None or len(people) < _FEWEST:
        raise SetupError("bad_data", f"training needs at least {_FEWEST} people")
    try:
        plan = keystroke_plan(_shortest(people), fixed=fixed)
        return train(layout, people=list(people.values()), plan=plan, version=_VERSION, step=step)
    except (BadModel, ValueError) as error:
        raise SetupError("bad_data", str(error)) from None


def _train_lines(
    files: Sequence[Path],
    loader: Loader,
    clip: tuple[float, float],
    step: Step,
) -> SignalModel:
    people: People = {}
    found = [_read(path, loader) for path in files]
    for path, (_, more) in zip(files, found, strict=True):
        if twice := sorted(set(people) & set(more)):
            raise SetupError("bad_data", f"{path.name}: {twice[0]} stands in two files")
        people |= more
    whole = [rows for rows in people.values() if len(rows) >= FEWEST]
    if len(whole) < _FEWEST:
        detail = (
            f"training needs at least {_FEWEST} people with {FEWEST} samples that can be scored"
        )
        raise SetupError("bad_data", detail)
    layout = found[0][0]
    plan = shipped.held_plan if layout == Layout.motion() else shipped.statistics_plan
    return train(
        layout,
        people=whole,
        plan=plan(min(map(len, whole))),
        version=_VERSION,
        clip=clip,
        step=step,
    )


def _draw(found: Found, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for (run, scorer), kinds in found.items():
        if scorer == "head":
            for kind, trials in kinds.items():
                title = f"{run.protocol}, {run.enroll} enrolled, {kind}"
                stem = directory / f"{run.protocol}-{run.enroll}-{kind}"
                try:
                    plot(trials, title, stem)
                except ImportError:
                    detail = "plots need matplotlib: pip install lamina[train]"
                    raise SetupError("no_plots", detail) from None


class _progress:  # noqa: N801 - used as a function
    """A bar on stderr that is called with what is done and how much there is."""

    def __init__(self, title: str) -> None:
        self._bar = Progress(console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task(title, total=None)

    def __enter__(self) -> Callable[[int, int], None]:
        self._bar.start()
        return lambda done, total: self._bar.update(self._task, completed=done, total=total)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
