"""`lamina behavior`: train population models, and evaluate them by published protocols."""

from pathlib import Path

import click

from service.cli.base import command, json_option, lab, show, show_rows
from service.cli.behavior_profiles import reset
from service.cli.choices import LAYOUTS
from service.domain.errors import SetupError


@click.group()
def behavior() -> None:
    """Train and measure behavioral models."""


@behavior.command("train")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--motion",
    "moved",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Movement of your own users, one JSON object per line.",
)
@click.option(
    "--pointer",
    "pointed",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Pointer data of your own users, one JSON object per line.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Output file of the model (.npz).")
@click.option("--default", "make_default", is_flag=True, help="Rebuild the shipped model.")
@json_option
@command
def train_command(
    files: tuple[Path, ...],
    moved: tuple[Path, ...],
    pointed: tuple[Path, ...],
    out: Path | None,
    *,
    make_default: bool,
    as_json: bool,
) -> None:
    """Train a free-text model on your own users (CMU layout), for LAMINA_BEHAVIOR_MODEL.

    Example: lamina behavior train typed.csv --out population.npz

    Example: lamina behavior train --motion moved.jsonl --pointer pointed.jsonl
    """
    with lab():
        from lab.behavior.commands import train_own

    if make_default == bool(files or moved or pointed):
        raise SetupError("bad_usage", "give training files, or --default without files")
    found = train_own(files, moved, pointed, out, make_default=make_default)
    text = f"{found['file']}: {found['bytes']} bytes, {' '.join(found['signals'])}"
    show(found, as_json=as_json, text=text)


@behavior.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--train", "train_file", type=click.Path(path_type=Path), help="Training data.")
@click.option(
    "--folds", type=click.IntRange(2, 50), help="Cross-validate with this many folds of people."
)
@click.option(
    "--beside",
    multiple=True,
    metavar="LAYOUT:PATH",
    help="Additional training data of another text; may be repeated.",
)
@click.option(
    "--layout",
    "kind",
    type=click.Choice(LAYOUTS),
    default="cmu",
    help="Layout of the data; meu and balabit are a directory.",
)
@click.option(
    "--protocol",
    help="km, settled, live, short; several separated by commas. "
    "Default: km, or short for sets of few samples.",
)
@click.option("--enroll", help="Enrollment samples, several separated by commas (200; short 20).")
@click.option("--seed", default=0, help="Random seed of the folds.")
@click.option("--plot", "plots", type=click.Path(path_type=Path), help="Directory for PNG plots.")
@json_option
@command
def evaluate(  # noqa: PLR0913 - one argument per option
    file: Path,
    *,
    train_file: Path | None,
    folds: int | None,
    beside: tuple[str, ...],
    kind: str,
    protocol: str | None,
    enroll: str | None,
    seed: int,
    plots: Path | None,
    as_json: bool,
) -> None:
    """Measure error rates on people who are not in the training data.

    Example: lamina behavior evaluate cmu.csv --folds 5 --protocol km,live --enroll 200 --json

    Example: lamina behavior evaluate cmu.csv --folds 5 --enroll 200 --beside meu:meu_touch/

    Example: lamina behavior evaluate meu_touch/ --layout meu --folds 5 --enroll 10,20,34
    """
    with lab():
        from lab.behavior.commands import EvaluationOptions, beside_rivals, evaluated

    rows = evaluated(
        EvaluationOptions(
            file=file,
            train_file=train_file,
            folds=folds,
            beside=beside,
            kind=kind,
            protocol=protocol,
            enroll=enroll,
            seed=seed,
            plots=plots,
        )
    )
    if as_json:
        show({"results": rows}, as_json=True)
        return
    show_rows(beside_rivals(rows, kind), as_json=False, empty="nothing measured")


behavior.add_command(reset)
