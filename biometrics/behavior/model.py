"""The model file: population statistics and the heads that weigh them, as numbers only.

An `.npz` file (no pickle) with one entry `header`, JSON as bytes, and float32 arrays named
`signal/part/name`. Version 2. There is one head for each origin of a profile (`enrolled`: all
samples at once, perhaps long ago; `live`: growing with each login) and each sample-count bucket.
"""

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from biometrics.behavior.anytext import AnyText, from_arrays, to_arrays
from biometrics.behavior.head import Head
from biometrics.behavior.layout import Floats, Layout
from biometrics.behavior.population import Population

VERSION: Final = 2
BUCKETS: Final = (5, 10, 20, 50)
"""Minimum number of samples of each bucket."""
ENROLLED: Final = "enrolled"
LIVE: Final = "live"
DEFAULT: Final = Path(__file__).with_name("default.npz")
MOST_BYTES: Final = 16 * 1024 * 1024
_HEAD: Final = ("center", "scale", "weights", "turn", "curve")
_BROKEN: Final = (
    OSError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
"""Exceptions that reading a damaged file can raise."""


class BadModel(ValueError):
    """The file is not a valid model; the text says why."""


@dataclass(frozen=True)
class FixedText:
    """Population statistics of one fixed text."""

    known: Population
    even: Floats

    def population(self, layout: Layout) -> Population:
        """Return the statistics; raises LookupError for any other layout."""
        if layout != self.known.layout:
            raise LookupError("this model knows another text only")
        return self.known

    def even_spread(self, _layout: Layout) -> Floats:
        """Return the typical deviation of each column in `Layout.even`."""
        return self.even


@dataclass(frozen=True)
class SignalModel:
    """The model of one signal.

    Args:
        known: Population statistics, of one text or of any text.
        heads: Heads by origin (`enrolled`, `live`) and bucket.
        clip: Lower and upper bound of the score in nats.
        version: Identifier of the training, recorded in every score.
    """

    known: FixedText | AnyText
    heads: Mapping[tuple[str, int], Head]
    clip: tuple[float, float]
    version: str

    def head(self, samples: int, way: str) -> Head | None:
        """Return the head for a number of samples, or None below the first bucket."""
        bucket = bucket_of(samples)
        if bucket is None:
            return None
        return self.heads.get((way, bucket)) or self.heads.get((ENROLLED, bucket))


def bucket_of(samples: int) -> int | None:
    """Return the bucket of a number of samples, or None below the first."""
    return max((bucket for bucket in BUCKETS if bucket <= samples), default=None)


def save(models: Mapping[str, SignalModel], path: Path) -> None:
    """Write a model file; raises BadModel for models of a fixed text."""
    header: dict[str, Any] = {"version": VERSION, "signals": {}}
    arrays: dict[str, Floats] = {}
    for signal, model in models.items():
        if not isinstance(model.known, AnyText):
            raise BadModel("only models of any text can be saved")
        header["signals"][signal] = {
            "kinds": model.known.kinds,
            "clip": model.clip,
            "version": model.version,
            "heads": [
                {
                    "way": way,
                    "bucket": bucket,
                    "offset": head.offset,
                    "slope": head.slope,
                    "shift": head.shift,
                }
                for (way, bucket), head in model.heads.items()
            ],
        }
        arrays |= {f"{signal}/known/{k}": v for k, v in to_arrays(model.known).items()}
        for number, head in enumerate(model.heads.values()):
            arrays |= {f"{signal}/{number}/{name}": getattr(head, name) for name in _HEAD}
    encoded = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    small = {name: array.astype(np.float32) for name, array in arrays.items()}
    np.savez_compressed(buffer, allow_pickle=False, header=encoded, **small)
    path.write_bytes(buffer.getvalue())


def load(path: Path) -> dict[str, SignalModel]:
    """Read a model file; raises BadModel."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadModel(f"{path}: larger than a model can be")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop("header").tobytes())
        if header["version"] != VERSION:
            raise BadModel(f"{path}: version {header['version']}, this program reads {VERSION}")
        return {name: _signal(name, entry, arrays) for name, entry in header["signals"].items()}
    except _BROKEN as error:
        if isinstance(error, BadModel):
            raise
        why = error.strerror if isinstance(error, OSError) else None
        raise BadModel(f"{path}: not a model ({why or type(error).__name__})") from None


def _signal(name: str, entry: Mapping[str, Any], arrays: Mapping[str, Floats]) -> SignalModel:
    prefix = f"{name}/known/"
    known = {key.removeprefix(prefix): value for key, value in arrays.items() if prefix in key}
    heads = {}
    for number, head in enumerate(entry["heads"]):
        center, scale, weights, turn, curve = (
            arrays[f"{name}/{number}/{part}"].astype(float) for part in _HEAD
        )
        offset, slope, shift = (float(head[key]) for key in ("offset", "slope", "shift"))
        found = Head(
            center=center,
            scale=scale,
            weights=weights,
            turn=turn,
            curve=curve,
            offset=offset,
            slope=slope,
            shift=shift,
        )
        if not found.finite():
            raise BadModel("a weight is not a number")
        heads[str(head["way"]), int(head["bucket"])] = found
    low, high = entry["clip"]
    text = from_arrays(tuple(entry["kinds"]), known)
    return SignalModel(text, heads, (float(low), float(high)), str(entry["version"]))
