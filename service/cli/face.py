"""`lamina face`: weights, evaluation and template renewal of the face engine."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from service.cli.base import (
    command,
    counted,
    json_option,
    lab,
    settings,
    show,
    show_rows,
    subject_of,
)
from service.domain.errors import NotFound, SetupError

if TYPE_CHECKING:
    from biometrics.face import FaceEngine
    from biometrics.face.arrays import Floats
    from lab.face import evaluation
    from service.app import Container

_AT_ONCE: Final = 100


@click.group()
def face() -> None:
    """Manage and evaluate the face engine."""


@face.command()
@json_option
@command
def info(*, as_json: bool) -> None:
    """Show the model, thresholds, and hash, license and origin of each weight file.

    Example: lamina face info --json
    """
    from biometrics.face import EngineUnavailable, FaceEngine
    from biometrics.face.model import DLIB
    from service.factors.face.engine_pool import open_engine

    chosen = settings()
    try:
        # An operator's own network is loaded, so that a broken one is not listed as usable.
        own = chosen.face_embedder or chosen.face_detector
        model = open_engine(chosen).model if own else DLIB
        weights = FaceEngine.info(chosen.face_detector, chosen.face_embedder)
    except EngineUnavailable as error:
        raise SetupError("face_engine_unavailable", str(error)) from None
    bars = {"match": model.match, "frame": model.frame, "enrollment": model.agreement}
    if as_json:
        show({"model": model.name, "thresholds": bars, "weights": weights}, as_json=True)
        return
    named = ", ".join(f"{name} {value}" for name, value in bars.items())
    click.echo(f"model {model.name}; distances: {named}")
    show_rows(weights, as_json=False, empty="no weights")


@face.command()
@click.option(
    "--to", type=click.Path(path_type=Path), help="Directory; default: LAMINA_FACE_MODELS."
)
@json_option
@command
def prepare(to: Path | None, *, as_json: bool) -> None:
    """Convert the weights before the first start, as for an image with a read-only root.

    Example: lamina face prepare --to models
    """
    from biometrics.face import EngineUnavailable, FaceEngine
    from service.factors.face.engine_pool import default_cache

    place = to or settings().face_models or default_cache()
    try:
        FaceEngine.open(place)
    except EngineUnavailable as error:
        raise SetupError("face_engine_unavailable", str(error)) from None
    files = sorted(place.glob("*.face"))
    if not files:
        raise SetupError("not_writable", f"{place} is not writable")
    size = sum(file.stat().st_size for file in files)
    found = {"directory": str(place), "files": [file.name for file in files], "bytes": size}
    show(found, as_json=as_json, text=f"{len(files)} files, {size // 2**20} MiB, in {place}")


@face.command()
@click.argument("pairs", type=click.Path(path_type=Path))
@click.option("--images", type=click.Path(path_type=Path), required=True, help="Their directory.")
@click.option("--enroll", type=click.IntRange(1, 50), help="Images per template.")
@click.option("--probe", type=click.IntRange(1, 50), default=1, help="Images per probe.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw FNMR over FMR to this file.")
@json_option
@command
def evaluate(
    pairs: Path, *, images: Path, enroll: int | None, probe: int, plot: Path | None, as_json: bool
) -> None:
    """Measure the accuracy of face comparison on your own images.

    PAIRS is a CSV with the columns path_a, path_b, same (0 or 1) and set. With --enroll, the
    identity is an image's directory, and the first images by name enroll.

    Example: lamina face evaluate pairs.csv --images faces --enroll 3 --probe 2 --json
    """
    from rich.console import Console
    from rich.progress import Progress

    from biometrics.face import EngineUnavailable

    with lab():
        from lab.face import evaluation
    from service.factors.face.engine_pool import open_engine

    try:
        listed = evaluation.read_pairs(pairs)
        engine = open_engine(settings())
    except EngineUnavailable as error:
        raise SetupError("face_engine_unavailable", str(error)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError("bad_pairs", f"{pairs}: {type(error).__name__}") from None
    except evaluation.BadPairs as error:
        raise SetupError("bad_pairs", f"{pairs}: {error}") from None
    if not listed:
        raise SetupError("bad_pairs", f"{pairs}: contains no pairs")
    count = len({name for pair in listed for name in (pair.one, pair.other)})
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Reading faces", total=count)

        def read(name: str) -> "Floats | None":
            progress.advance(task)
            return _vector(engine, images / name)

        found, compared = evaluation.evaluate(
            listed, read=read, enroll=enroll or 0, probe=probe, threshold=engine.model.match
        )
    if plot is not None:
        _draw(compared, plot)
    rows = "\n".join(f"{name:18} {value}" for name, value in found.items() if name != "by_set")
    show(found, as_json=as_json, text=rows)


def _vector(engine: "FaceEngine", file: Path) -> "Floats | None":
    from biometrics.face import SMALL_FACES, FrameRefused
    from biometrics.face.images import load

    picture = load(file)
    if picture is None:
        raise SetupError("bad_picture", f"{file} cannot be read as an image")
    try:
        return engine.measure(picture, SMALL_FACES).vector
    except FrameRefused:
        return None


def _draw(compared: "evaluation.Compared", file: Path) -> None:
    from lab.face import evaluation

    try:
        from matplotlib.figure import Figure  # of the extra `train` only
    except ImportError:
        raise SetupError(
            "no_matplotlib", "a plot needs matplotlib: install lamina[train]"
        ) from None
    figure = Figure()
    axes = figure.subplots()
    axes.loglog(*evaluation.curve(compared))
    axes.set(xlabel="FMR", ylabel="FNMR")
    figure.savefig(file)


@face.command()
@click.option("--subject", help="Only this subject, by id or identifier; else all stored faces.")
@json_option
@command
def renew(subject: str | None, *, as_json: bool) -> None:
    """Re-encrypt stored templates under new secrets, without the people.

    Example: lamina face renew --json
    """
    from service.app import open_container

    container = open_container(settings())
    with container.store.transaction() as tx:
        container.operators.break_glass.alarm(tx, "face renew")
    try:
        count = _renew_one(container, subject) if subject else _renew_all(container)
    finally:
        container.store.engine.dispose()
    show(
        {"renewed": count},
        as_json=as_json,
        text=f"{counted(count, 'template')} moved to new secrets",
    )


def _renew_one(container: "Container", subject: str) -> int:
    with container.store.transaction() as tx:
        if not container.face.renew(tx, subject_of(container.accounts, tx, subject)):
            raise NotFound("no_face", "This subject has no enrolled face.")
    return 1


def _renew_all(container: "Container") -> int:
    """Renew the templates of a hundred subjects per transaction, with a progress bar."""
    from rich.console import Console
    from rich.progress import Progress

    done = 0
    after = None
    with container.store.transaction(read=True) as tx:
        total = container.face.stored(tx)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Renewing templates", total=total)
        while True:
            with container.store.transaction() as tx:
                subjects = container.face.subjects(tx, after, _AT_ONCE)
                done += sum(container.face.renew(tx, item) for item in subjects)
            if not subjects:
                return done
            after = subjects[-1]
            progress.advance(task, len(subjects))
