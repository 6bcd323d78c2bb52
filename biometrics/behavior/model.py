"""The model file: what is known of everybody and the heads that weigh it, as numbers only.

An `.npz` (no pickle) with one entry `header` of JSON in bytes and float32 arrays named
`signal/part/name`. Version 2. A head is there for each way a profile came about (`enrolled`: all
at once and perhaps long ago; `live`: growing with each login) and each bucket of samples.
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
"""Fewest samples of each bucket."""
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
"""What reading a damaged file raises."""


class BadModel(ValueError):
    """The file is no model; the text says what is wrong."""


@dataclass(frozen=True)
class FixedText:
    """What is known of everybody about one text."""

    known: Population
    even: Floats

    def population(self, layout: Layout) -> Population:
        """Return the statistics; raises LookupError for another layout."""
        if layout != self.known.layout:
            raise LookupError("this model knows another text only")
        return self.known

    def even_spread(self, _layout: Layout) -> Floats:
        """Return the typical deviation of each column in `Layout.even`."""
        return self.even


@dataclass(frozen=True)
class SignalModel:
    """What one signal is scored with.

    Args:
        known: The population, of one text or of any.
        heads: By way (`enrolled`, `live`) and bucket.
        clip: Least and most nats that it may say.
        version: Names the training, in every score.
    """

    known: FixedText | AnyText
    heads: Mapping[tuple[str, int], Head]
    clip: tuple[float, float]
    version: str

    def head(self, samples: int, way: str) -> Head | None:
        """Return the head for a number of samples; None below the first bucket."""
        bucket = bucket_of(samples)
        if bucket is None:
            return None
        return self.heads.get((way, bucket)) or self.heads.get((ENROLLED, bucket))


def bucket_of(samples: int) -> int | None:
    """Return the bucket of a number of samples, None below the first."""
    return max((bucket for bucket in BUCKETS if bucket <= samples), default=None)


def save(models: Mapping[str, SignalModel], path: Path) -> None:
    """Write a model file; only models of any text can be written."""
    header: dict[str, Any] = {"version": VERSION, "signals": {}}
    arrays: dict[str, Floats] = {}
    for signal, model in models.items():
        if not isinstance(model.known, AnyText):
            raise BadModel("only a model of any text is kept in a file")
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
    told = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    small = {name: array.astype(np.float32) for name, array in arrays.items()}
    np.savez_compressed(buffer, allow_pickle=False, header=told, **small)
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
        return {name: _signal(name, told, arrays) for name, told in header["signals"].items()}
    except _BROKEN as error:
        if isinstance(error, BadModel):
            raise
        why = error.strerror if isinstance(error, OSError) else None
        raise BadModel(f"{path}: not a model ({why or type(error).__name__})") from None


def _signal(name: str, told: Mapping[str, Any], arrays: Mapping[str, Floats]) -> SignalModel:
    prefix = f"{name}/known/"
    known = {key.removeprefix(prefix): value for key, value in arrays.items() if prefix in key}
    heads = {}
    for number, head in enumerate(told["heads"]):
        center, scale, weights, turn, curve = (
            arrays[f"{name}/{number}/{part}"].astype(float) for part in _HEAD
        )
        offset, slope, shift = (float(head[key]) for key in ("offset", "slope", "shift"))
        found = Head(center, scale, weights, turn, curve, offset, slope, shift)
        if not found.finite():
            raise BadModel("a weight is not a number")
        heads[str(head["way"]), int(head["bucket"])] = found
    low, high = told["clip"]
    text = from_arrays(tuple(told["kinds"]), known)
    return SignalModel(text, heads, (float(low), float(high)), str(told["version"]))
