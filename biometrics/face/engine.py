"""The face engine, which turns a picture into a reading."""

import ctypes
import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as refusals

from biometrics.face import align, cache, weights, yunet
from biometrics.face.arrays import Floats
from biometrics.face.conversion import networks, quantized, shape_predictor
from biometrics.face.detect import Finder, Pyramid, Scores
from biometrics.face.embedder import Dlib, Embedder, Generic, described
from biometrics.face.errors import EngineUnavailable
from biometrics.face.geometry import Box, Points
from biometrics.face.images import Picture, decode, grey, mark
from biometrics.face.landmarks import Predictor
from biometrics.face.model import FaceModel
from biometrics.face.passive import cues
from biometrics.face.quality import ENROLLMENT, PROBE, QualityPolicy, judge, only_face
from biometrics.face.sequence import Vectors
from biometrics.face.yunet import YuNet

_MARGIN: Final = 0.8
"""The smallest face searched for, as a share of the smallest one accepted."""
_ERRORS_ONLY: Final = 3
_REFUSALS: Final = (
    refusals.Fail,
    refusals.InvalidArgument,
    refusals.InvalidGraph,
    refusals.InvalidProtobuf,
    refusals.NotImplemented,
)
"""Exceptions of onnxruntime for a network it does not accept; none is a RuntimeError."""
_EIGHT: Final = 800 + quantized.CONVERTER_VERSION
_SEVEN: Final = 700 + quantized.CONVERTER_VERSION
"""Parts of cache names that keep 8-bit and 7-bit conversions apart from 32-bit ones."""


@dataclass(kw_only=True, frozen=True, slots=True)
class FaceReading:
    """The measurements of one face in one picture; its repr hides them.

    Args:
        vector: Unit-length embedding, float32 (d,).
        quality: 0 to 1.
        box: Position of the face, in pixels of the decoded picture.
        interocular: Interocular distance in pixels.
        turned: Offset of the nose beside the midpoint, in interocular distances.
        points: The five landmarks, (5, 2).
        cues: Passive cues, see `passive`.
        mark: Mark that recognizes the picture if it is sent again (`marks`).
        model: The embedding model.
    """

    vector: Floats = field(repr=False)
    quality: float
    box: Box = field(repr=False)
    interocular: float
    turned: float
    points: Floats = field(repr=False)
    cues: Mapping[str, float] = field(repr=False)
    mark: bytes = field(repr=False)
    model: FaceModel


class FaceEngine:
    """Detector, landmarks and embedder, loaded once; thread-safe."""

    def __init__(self, embedder: Embedder, finder: Finder, predictor: Predictor) -> None:
        self._embedder = embedder
        self._finder = finder
        self._predictor = predictor

    @classmethod
    def open(
        cls,
        directory: Path,
        models: Path | None = None,
        *,
        quick: bool = False,
        detector: Path | None = None,
        embedder: Path | None = None,
    ) -> "FaceEngine":
        """Open the engine; the first call converts the weights into `directory`.

        Args:
            directory: Cache of the converted weights.
            models: Directory of the weight files; by default the installed package.
            quick: Use the 8-bit embedder.
            detector: A YuNet file, which replaces dlib's detector.
            embedder: The description of a network that replaces dlib's, see `embedder.Generic`.

        Raises:
            EngineUnavailable: A weight file is missing or has an unknown hash.
        """
        source = weights.directory(models)

        def load(weight: weights.Weight, version: int, build: Callable[[bytes], bytes]) -> bytes:
            weights.check(weight, source)
            file = cache.path(directory, weight.name, weight.sha256, version)
            return cache.load_or_build(file, lambda: build(weights.read(weight, source)))

        predictor = Predictor.unpack(
            load(
                weights.LANDMARKS,
                shape_predictor.CONVERTER_VERSION,
                lambda data: shape_predictor.predictor(data).pack(),
            )
        )
        build, kind = _eight_bits() if quick else (networks.embedder, networks.CONVERTER_VERSION)
        network: Embedder = (
            Generic(embedder, _session)
            if embedder
            else Dlib(_session(load(weights.EMBEDDER, kind, build)))
        )
        finder: Finder = (
            YuNet(detector)
            if detector
            else Pyramid(_scorer(_session(load(weights.DETECTOR, _EIGHT, quantized.detector))))
        )
        _give_back()
        return cls(network, finder, predictor)

    @property
    def model(self) -> FaceModel:
        """The embedding model."""
        return self._embedder.model

    @staticmethod
    def info(detector: Path | None = None, embedder: Path | None = None) -> list[dict[str, str]]:
        """Return name, SHA-256, license and origin of every weight.

        Args:
            detector: As for `open`.
            embedder: As for `open`.

        Raises:
            EngineUnavailable: A file cannot be read.
        """
        return [
            described(embedder) if embedder else weights.EMBEDDER.info(),
            yunet.info(detector) if detector else weights.DETECTOR.info(),
            weights.LANDMARKS.info(),
        ]

    def read(self, image: bytes, policy: QualityPolicy = ENROLLMENT) -> FaceReading:
        """Read the one face in a picture.

        Args:
            image: JPEG, PNG or WebP, at most 2 MiB.
            policy: The required quality.

        Raises:
            FrameRefused: The picture is not usable; the advice tells the person what to do.
        """
        return self.measure(decode(image), policy)

    def measure(self, picture: Picture, policy: QualityPolicy = ENROLLMENT) -> FaceReading:
        """Read the one face in a decoded picture, as `read` does; raises FrameRefused."""
        box, points = self.look(picture, policy)
        chip = align.chip(picture, points)
        quality = judge(points, chip, policy)
        return FaceReading(
            vector=self.embed(self.face(picture, points, chip)),
            quality=quality,
            box=box,
            interocular=align.interocular(points),
            turned=align.pose(points)[0],
            points=points,
            cues=cues(chip),
            mark=mark(picture),
            model=self.model,
        )

    def look(
        self,
        picture: Picture,
        policy: QualityPolicy,
        near: Box | None = None,
        *,
        steady: bool = False,
    ) -> tuple[Box, Floats]:
        """Return the box and the five landmarks of the one face.

        Args:
            picture: The decoded picture.
            policy: The required size of the face.
            near: Its previous position, searched first; the whole picture only if it is not there.
            steady: Whether landmarks will be compared with those of other frames.

        Raises:
            FrameRefused: No face, several faces, or a face that is too small.
        """
        width = picture.shape[1]
        found = self._finder.near(picture, near) if near else []
        if not found:
            smallest = max(policy.smallest, policy.least_share * width * _MARGIN)
            found = self._finder.find(picture, smallest)
        box = only_face(found, width, policy).box
        find = self._predictor.steady if steady else self._predictor.find
        return box, find(grey(picture), box.rounded())

    def face(self, picture: Picture, points: Points, chip: Picture) -> Picture:
        """Return the crop that is embedded; see `Embedder`."""
        return self._embedder.face(picture, points, chip)

    def embed(self, face: Picture) -> Floats:
        """Return the unit-length mean embedding of a face and its mirror image, float32 (d,)."""
        vectors = self._embedder.raw([face, np.ascontiguousarray(face[:, ::-1])])
        return align.unit(vectors.astype(np.float64).mean(axis=0))

    def cut(self, image: bytes, policy: QualityPolicy = PROBE) -> Picture:
        """Return the aligned face of a picture, uint8 (150, 150, 3); raises FrameRefused."""
        picture = decode(image)
        return align.chip(picture, self.look(picture, policy)[1])

    def raw(self, faces: Sequence[Picture]) -> Floats:
        """Return the embeddings as the network defines them, unnormalized, float32 (n, d)."""
        return self._embedder.raw(faces)

    def vectors(self, faces: Sequence[Picture]) -> Vectors:
        """Return the unit-length embedding of each face, without its mirror image, (n, d)."""
        found = self.raw(faces).astype(np.float64)
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))


def _eight_bits() -> tuple[Callable[[bytes], bytes], int]:
    """Return the 8-bit or 7-bit conversion for this processor, and its number in the cache name."""
    anywhere = not _adds_widely()
    return partial(quantized.embedder, anywhere=anywhere), _SEVEN if anywhere else _EIGHT


def _adds_widely() -> bool:
    """Return whether the processor adds 8-bit products in 32 bits: all but x86 without VNNI."""
    if platform.machine().lower() not in {"x86_64", "amd64", "i686"}:
        return True
    try:
        return "vnni" in Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:
        return False


def _scorer(session: onnxruntime.InferenceSession) -> Scores:
    def scores(picture: Picture) -> Floats:
        found = session.run(None, {"picture": picture[None]})[0]
        cells: Floats = np.asarray(found, dtype=np.float32)[0, 0]
        return cells

    return scores


def _give_back() -> None:
    """Return unused heap memory to the system: after loading, glibc would keep 40 MB."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _session(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # Requests already run in parallel; more threads per request only add cost.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # Pictures differ in size, and an arena would keep memory for the largest of each forever.
    options.enable_cpu_mem_arena = False
    try:
        # From a file, because a session made from bytes keeps them: 22 MB without use.
        with tempfile.NamedTemporaryFile(prefix="lamina-", suffix=".onnx") as file:
            file.write(model)
            file.flush()
            return onnxruntime.InferenceSession(
                file.name, options, providers=["CPUExecutionProvider"]
            )
    except (RuntimeError, ValueError, *_REFUSALS) as error:
        raise EngineUnavailable(f"onnxruntime refuses a model: {type(error).__name__}") from None
