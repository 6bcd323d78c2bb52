"""Embed an aligned face as a vector, with dlib's network or one that an operator supplies."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import onnxruntime

from biometrics.face import align
from biometrics.face.arrays import Floats
from biometrics.face.errors import EngineUnavailable
from biometrics.face.geometry import Points
from biometrics.face.images import Picture
from biometrics.face.model import DLIB, FaceModel

Opened = Callable[[bytes], onnxruntime.InferenceSession]
_BATCH: Final = 4
_SIDE: Final = 112
# Eyes of the template that ArcFace and SFace are trained on, and the base of the nose, as far
# below them as on dlib's mean face.
_TEMPLATE: Final = np.array([[73.53, 51.50], [38.29, 51.70], [56.03, 78.90]])
_TEXTS: Final = ("file", "sha256", "name", "license", "origin")
_BARS: Final = ("match", "frame", "agreement", "same_person")
_FARTHEST: Final = 2.0
_TAG: Final = 8


class Embedder(Protocol):
    """The network that embeds faces."""

    model: FaceModel

    def face(self, picture: Picture, points: Points, chip: Picture) -> Picture:
        """Return the crop that the network takes.

        Args:
            picture: The whole picture, BGR.
            points: The five points, (5, 2), in the order of `landmarks`.
            chip: The crop of `align.chip`.
        """

    def raw(self, faces: Sequence[Picture]) -> Floats:
        """Return the unnormalized vectors of such crops, float32 (n, d)."""


class Dlib:
    """dlib's residual network on its own crop."""

    model = DLIB

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session

    def face(self, picture: Picture, points: Points, chip: Picture) -> Picture:  # noqa: ARG002 - the protocol's signature
        """Return `chip`, which is the crop of this network."""
        return chip

    def raw(self, faces: Sequence[Picture]) -> Floats:
        """Return the embeddings as defined by dlib."""
        parts = [
            self._session.run(None, {"chips": np.stack(faces[at : at + _BATCH])})[0]
            for at in range(0, len(faces), _BATCH)
        ]
        return np.concatenate(parts).astype(np.float32)


class Generic:
    """A network in the form of ArcFace (Deng et al., CVPR 2019) or SFace, described by JSON.

    Args:
        description: The JSON file; the network is in the same directory, and its hash is pinned.
        opened: Opens a session from the bytes of a network.

    Raises:
        EngineUnavailable: The description or the network is not usable; says what to correct.
    """

    def __init__(self, description: Path, opened: Opened) -> None:
        spec = _described(description)
        data = _network(description, spec)
        self._session = opened(data)
        self._input, size = _shape(self._session)
        self._mean = spec["mean"]
        self._scale = spec["scale"]
        self._rgb = spec["color"] == "rgb"
        bars = {bar: spec["thresholds"][bar] for bar in _BARS}
        tag = hashlib.sha256(data).digest()[:_TAG]
        self.model = FaceModel(name=spec["name"], size=size, tag=tag, **bars)

    def face(self, picture: Picture, points: Points, chip: Picture) -> Picture:  # noqa: ARG002 - the protocol's signature
        """Return the crop of 112x112 with the eyes where the network expects them."""
        right, left = align.eyes(points)
        return align.cut(picture, np.array([right, left, points[4]]), _TEMPLATE, _SIDE)

    def raw(self, faces: Sequence[Picture]) -> Floats:
        """Return the vectors of the network."""
        return np.concatenate([self._one(face) for face in faces]).astype(np.float32)

    def _one(self, face: Picture) -> Floats:
        ordered = face[..., ::-1] if self._rgb else face
        numbers = (ordered.astype(np.float32).transpose(2, 0, 1) - self._mean) / self._scale
        found: Floats = self._session.run(None, {self._input: numbers[None]})[0]
        return found


def described(description: Path) -> dict[str, str]:
    """Return name, SHA-256, license and origin of a described network; raises EngineUnavailable."""
    spec = _described(description)
    named = {key: spec[key] for key in ("sha256", "license", "origin")}
    return {"name": f"embedder {spec['name']}", **named}


def _described(description: Path) -> dict[str, Any]:
    try:
        spec = json.loads(description.read_text("utf-8"))
    except OSError as error:
        raise EngineUnavailable(f"{description.name} cannot be read: {error.strerror}") from error
    except ValueError:
        raise EngineUnavailable(f"{description.name} is not JSON") from None
    faults = list(_faults(spec if isinstance(spec, dict) else {}))
    if faults:
        raise EngineUnavailable(f"{description.name}: " + "; ".join(faults))
    found: dict[str, Any] = spec
    return found


def _faults(spec: Mapping[str, Any]) -> list[str]:
    bars = spec.get("thresholds")
    bars = bars if isinstance(bars, dict) else {}
    return [
        *(f"{key} must be a text" for key in _TEXTS if not isinstance(spec.get(key), str)),
        *(["color must be rgb or bgr"] if spec.get("color") not in {"rgb", "bgr"} else []),
        *([] if _number(spec.get("mean"), 0, 255) else ["mean must be between 0 and 255"]),
        *([] if _number(spec.get("scale"), 1e-6, 255) else ["scale must be above 0, at most 255"]),
        *(
            f"thresholds.{bar} must be a distance above 0 and below 2"
            for bar in _BARS
            if not _number(bars.get(bar), 1e-6, _FARTHEST - 1e-6)
        ),
    ]


def _number(value: object, least: float, most: float) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return least <= value <= most


def _network(description: Path, spec: Mapping[str, Any]) -> bytes:
    file = description.parent / Path(spec["file"]).name
    try:
        data = file.read_bytes()
    except OSError as error:
        raise EngineUnavailable(f"{file.name} cannot be read: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != spec["sha256"]:
        raise EngineUnavailable(f"{file.name} is not the file that {description.name} describes")
    return data


def _shape(session: onnxruntime.InferenceSession) -> tuple[str, int]:
    """Return the name of the only input and the length of the output vector."""
    inputs = session.get_inputs()
    outputs = session.get_outputs()
    if len(inputs) != 1 or list(inputs[0].shape[1:]) != [3, _SIDE, _SIDE]:
        raise EngineUnavailable(f"the network must take (n, 3, {_SIDE}, {_SIDE}) and nothing else")
    blank = np.zeros((1, 3, _SIDE, _SIDE), dtype=np.float32)
    found = session.run([outputs[0].name], {inputs[0].name: blank})[0]
    if np.ndim(found) != 2:  # noqa: PLR2004 - a row per face
        raise EngineUnavailable("the network must answer with a row of numbers for each face")
    return inputs[0].name, int(found.shape[1])
