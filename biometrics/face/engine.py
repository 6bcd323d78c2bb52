"""The engine: a picture in, a reading out."""

import ctypes
import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime

from biometrics.face import align, cache, convert, convert_int8, convert_landmarks, weights
from biometrics.face.dat import Floats
from biometrics.face.detect import find, find_near
from biometrics.face.errors import EngineUnavailable
from biometrics.face.geometry import Box
from biometrics.face.images import Picture, decode, grey
from biometrics.face.landmarks import Predictor
from biometrics.face.passive import cues
from biometrics.face.quality import ENROLLMENT, PROBE, QualityPolicy, judge, only_face
from biometrics.face.sequence import Vectors

_MARGIN: Final = 0.8
"""The smallest face that is looked for, as a share of the smallest that is taken."""
_ERRORS_ONLY: Final = 3
_BATCH: Final = 4
_EIGHT: Final = 800 + convert_int8.CONVERTER_VERSION
"""In the cache's names of what is in 8 bits, apart from what is in 32."""


@dataclass(frozen=True, slots=True)
class FaceReading:
    """One face in one picture; its repr shows no measurement of the person.

    Args:
        vector: Unit vector, float32 (128,).
        quality: 0 to 1.
        box: Where the face is, in pixels of the picture as it was decoded.
        interocular: Pixels between the eyes.
        turned: How far the nose lies beside the middle, in distances between the eyes.
        points: The five points, (5, 2).
        cues: Passive cues, see `passive`.
        sha256: Hash of the bytes of the picture.
    """

    vector: Floats = field(repr=False)
    quality: float
    box: Box = field(repr=False)
    interocular: float
    turned: float
    points: Floats = field(repr=False)
    cues: Mapping[str, float] = field(repr=False)
    sha256: bytes = field(repr=False)


class FaceEngine:
    """Detector, landmarks and embedder, loaded once; may be used by several threads."""

    def __init__(
        self, embedder: onnxruntime.InferenceSession, detector: onnxruntime.InferenceSession,
        predictor: Predictor,
    ) -> None:  # fmt: skip
        self._embedder = embedder
        self._detector = detector
        self._predictor = predictor

    @classmethod
    def open(
        cls, directory: Path, models: Path | None = None, *, quick: bool = False
    ) -> "FaceEngine":
        """Open the engine; the first time converts the weights into `directory`.

        Args:
            directory: Where converted weights are kept.
            models: Where the weight files are; the installed package by default.
            quick: Take the embedder in 8 bits.

        Raises:
            EngineUnavailable: A weight file is missing or is not the known one.
        """
        source = weights.directory(models)

        def load(weight: weights.Weight, version: int, build: Callable[[bytes], bytes]) -> bytes:
            weights.check(weight, source)
            file = cache.path(directory, weight.name, weight.sha256, version)
            return cache.load_or_build(file, lambda: build(weights.read(weight, source)))

        predictor = Predictor.unpack(load(
            weights.LANDMARKS, convert_landmarks.CONVERTER_VERSION,
            lambda data: convert_landmarks.predictor(data).pack(),
        ))  # fmt: skip
        build, kind = (
            (convert_int8.embedder, _EIGHT)
            if quick
            else (convert.embedder, convert.CONVERTER_VERSION)
        )
        embedder = _session(load(weights.EMBEDDER, kind, build))
        detector = _session(load(weights.DETECTOR, _EIGHT, convert_int8.detector))
        _give_back()
        return cls(embedder, detector, predictor)

    @staticmethod
    def info() -> list[dict[str, str]]:
        """Return name, SHA-256, license and origin of every weight."""
        return [weight.info() for weight in weights.ALL]

    def read(self, image: bytes, policy: QualityPolicy = ENROLLMENT) -> FaceReading:
        """Return the reading of the one face in a picture.

        Args:
            image: JPEG, PNG or WebP, at most 2 MiB.
            policy: What the picture must offer.

        Raises:
            FrameRefused: The picture is not usable; tells the person what to do.
        """
        return self.measure(decode(image), policy, hashlib.sha256(image).digest())

    def measure(
        self, picture: Picture, policy: QualityPolicy = ENROLLMENT, sha256: bytes = b""
    ) -> FaceReading:
        """Return the reading of a decoded picture, as `read` does; raises FrameRefused."""
        box, points = self.look(picture, policy)
        chip = align.chip(picture, points)
        quality = judge(points, chip, policy)
        return FaceReading(
            vector=self.embed(chip),
            quality=quality,
            box=box,
            interocular=align.interocular(points),
            turned=align.pose(points)[0],
            points=points,
            cues=cues(chip),
            sha256=sha256,
        )

    def look(
        self, picture: Picture, policy: QualityPolicy, near: Box | None = None
    ) -> tuple[Box, Floats]:
        """Return the box and the five points of the one face.

        Args:
            picture: Decoded.
            policy: How large the face must be.
            near: Where it was a moment before: looked at first, and the whole only if it is gone.

        Raises:
            FrameRefused: No face, several, or one that is too small.
        """
        width = picture.shape[1]
        found = find_near(picture, near, self._scores) if near else []
        if not found:
            smallest = max(policy.smallest, policy.least_share * width * _MARGIN)
            found = find(picture, smallest, self._scores)
        box = only_face(found, width, policy).box
        return box, self._predictor.find(grey(picture), box.rounded())

    def embed(self, chip: Picture) -> Floats:
        """Return the unit vector of an aligned face and its mirror image, float32 (128,)."""
        both = np.stack([chip, chip[:, ::-1]])
        vectors = self._embedder.run(None, {"chips": both})[0]
        return align.unit(np.asarray(vectors, dtype=np.float64).mean(axis=0))

    def cut(self, image: bytes, policy: QualityPolicy = PROBE) -> Picture:
        """Return the aligned face of a picture, uint8 (150, 150, 3); raises FrameRefused."""
        picture = decode(image)
        return align.chip(picture, self.look(picture, policy)[1])

    def raw(self, chips: Sequence[Picture]) -> Floats:
        """Return the embeddings as dlib defines them, not of unit length, float32 (n, 128)."""
        parts = [
            self._embedder.run(None, {"chips": np.stack(chips[at : at + _BATCH])})[0]
            for at in range(0, len(chips), _BATCH)
        ]
        return np.concatenate(parts).astype(np.float32)

    def vectors(self, chips: Sequence[Picture]) -> Vectors:
        """Return the unit vector of each aligned face without its mirror image, (n, 128)."""
        found = self.raw(chips).astype(np.float64)
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))

    def _scores(self, picture: Picture) -> Floats:
        scores = self._detector.run(None, {"picture": picture[None]})[0]
        cells: Floats = np.asarray(scores, dtype=np.float32)[0, 0]
        return cells


def _give_back() -> None:
    """Return what loading has used to the system: glibc would keep 40 MB of it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _session(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # Requests run side by side already; more threads in each only cost them.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # Pictures differ in size: an arena would keep the largest of each for ever.
    options.enable_cpu_mem_arena = False
    try:
        # From a file, because a session made from bytes holds on to them: 22 MB for nothing.
        with tempfile.NamedTemporaryFile(prefix="lamina-", suffix=".onnx") as file:
            file.write(model)
            file.flush()
            return onnxruntime.InferenceSession(
                file.name, options, providers=["CPUExecutionProvider"]
            )
    except (RuntimeError, ValueError) as error:
        raise EngineUnavailable(f"onnxruntime refuses a model: {type(error).__name__}") from None
