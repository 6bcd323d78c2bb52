"""`lamina face`: the engine."""

from pathlib import Path

import click

from biometrics.face import EngineUnavailable, FaceEngine
from service.cli.base import command, json_option, settings, show, show_rows
from service.domain.errors import SetupError
from service.factors.face.reader import default_cache


@click.group()
def face() -> None:
    """Look after the face engine."""


@face.command()
@json_option
@command
def info(*, as_json: bool) -> None:
    """List the weights that the engine runs on: hash, license, origin.

    Example: lamina face info --json
    """
    show_rows(FaceEngine.info(), as_json=as_json, empty="no weights")


@face.command()
@click.option("--to", type=click.Path(path_type=Path), help="Directory; else LAMINA_FACE_MODELS.")
@json_option
@command
def prepare(to: Path | None, *, as_json: bool) -> None:
    """Convert the weights ahead of the first start, as for an image with a read-only root.

    Example: lamina face prepare --to models
    """
    place = to or settings().face_models or default_cache()
    try:
        FaceEngine.open(place)
    except EngineUnavailable as error:
        raise SetupError("face_engine_unavailable", str(error)) from None
    files = sorted(place.glob("*.face"))
    if not files:
        raise SetupError("not_writable", f"nothing could be written to {place}")
    size = sum(file.stat().st_size for file in files)
    found = {"directory": str(place), "files": [file.name for file in files], "bytes": size}
    show(found, as_json=as_json, text=f"{len(files)} files, {size // 2**20} MiB, in {place}")
