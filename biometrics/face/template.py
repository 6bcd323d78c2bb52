"""Face templates: a transformed mean vector in 129 bytes, useless without its secret.

Layout: one version byte, then 128 int8; for a model other than the default one a version byte,
the 8-byte tag of the model, then an int8 for each number of its vectors. A unit vector is rotated
by 63 Householder reflections with normals from HKDF-SHA256 of the secret (RFC 5869), multiplied by
300 and rounded. The rotation preserves every distance. A holder of the secret can undo it: the
protection of the template rests on its encryption.
"""

import hashlib
import hmac
from collections.abc import Sequence
from math import log
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from biometrics.face.arrays import Floats
from biometrics.face.calibration import calibrated
from biometrics.face.errors import BadTemplate, FaceMismatch
from biometrics.face.model import DLIB, FaceModel
from biometrics.score import Score

SECRET_BYTES: Final = 32
_SHIPPED: Final = 1
_MARKED: Final = 2
_HEAD: Final = 1 + 8
_LONGEST_STREAM: Final = 255 * 32
"""Maximum bytes that HKDF outputs for one label."""
_REFLECTIONS: Final = 63
_STEPS: Final = 300.0
_INFO: Final = b"lamina/1/face-template"
# Log-likelihood ratio over distance: a line through calibrated points, clipped to the observed
# range and to the bound that the measured impostors support.
_SLOPE: Final = -42.0
_NEUTRAL: Final = 0.40
_CLIP: Final = 7.0


class Reading(Protocol):
    """The needed members of a reading: unit vector, float32 (d,), quality and model."""

    @property
    def vector(self) -> Floats:
        """The unit-length embedding."""

    @property
    def quality(self) -> float:
        """The quality, 0 to 1."""

    @property
    def model(self) -> FaceModel:
        """The embedding model."""


def _expand(secret: bytes, length: int, label: bytes) -> bytes:
    """Expand a secret with HKDF-SHA256 (RFC 5869), without salt."""
    extracted = hmac.new(bytes(32), secret, hashlib.sha256).digest()
    stream = b""
    block = b""
    for counter in range(1, -(-length // 32) + 1):
        block = hmac.new(extracted, block + label + bytes((counter,)), hashlib.sha256).digest()
        stream += block
    return stream[:length]


def _normals(secret: bytes, size: int) -> npt.NDArray[np.float64]:
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"the secret of a template has {SECRET_BYTES} bytes")
    wanted = _REFLECTIONS * size
    stream = b""
    while len(stream) < wanted:
        # The first part has an unnumbered label, as if it were the only one; long vectors use more.
        part = len(stream) // _LONGEST_STREAM
        label = _INFO + (bytes((part,)) if part else b"")
        stream += _expand(secret, min(wanted - len(stream), _LONGEST_STREAM), label)
    raw = np.frombuffer(stream, dtype=np.uint8)
    normals = raw.reshape(_REFLECTIONS, size).astype(np.float64) - 127.5
    return np.asarray(normals / np.linalg.norm(normals, axis=1, keepdims=True))


def _turn(vector: npt.NDArray[np.float64], secret: bytes) -> npt.NDArray[np.float64]:
    for normal in _normals(secret, len(vector)):
        vector = vector - 2 * (vector @ normal) * normal
    return vector


def _turn_back(vector: npt.NDArray[np.float64], secret: bytes) -> npt.NDArray[np.float64]:
    for normal in _normals(secret, len(vector))[::-1]:
        vector = vector - 2 * (vector @ normal) * normal
    return vector


def _pack(vector: npt.NDArray[np.float64], tag: bytes) -> bytes:
    steps = np.clip(np.rint(vector * _STEPS), -127, 127).astype(np.int8)
    return bytes((_MARKED if tag else _SHIPPED,)) + tag + steps.tobytes()


def _unpack(template: bytes) -> tuple[npt.NDArray[np.float64], bytes]:
    """Decode a template; return its vector and the tag of its model."""
    version = template[0] if template else 0
    head = {_SHIPPED: 1, _MARKED: _HEAD}.get(version, 0)
    shipped = version == _SHIPPED and len(template) == 1 + DLIB.size
    if not shipped and (version != _MARKED or len(template) <= _HEAD):
        raise BadTemplate
    vector = np.frombuffer(template, dtype=np.int8, offset=head).astype(np.float64)
    length = np.linalg.norm(vector)
    if not length:
        raise BadTemplate
    return np.asarray(vector / length), template[1:head]


def _mean(readings: Sequence[Reading]) -> npt.NDArray[np.float64]:
    if not readings:
        raise ValueError("a face comparison needs at least one reading")
    mean = np.mean([reading.vector.astype(np.float64) for reading in readings], axis=0)
    return np.asarray(mean / np.linalg.norm(mean))


def enroll_template(readings: Sequence[Reading], secret: bytes) -> bytes:
    """Return the template of one person.

    Args:
        readings: One or more; three give the documented accuracy.
        secret: 32 random bytes, unique to this template.

    Raises:
        FaceMismatch: Two frames show different people; their mean would match both.
    """
    mean = _mean(readings)
    model = readings[0].model
    vectors = np.array([reading.vector for reading in readings], dtype=np.float64)
    apart = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    # Written so that NaN is refused.
    if not apart.max() <= model.agreement:
        raise FaceMismatch
    return _pack(_turn(mean, secret), model.tag)


def decoy_template(model: FaceModel, seed: bytes) -> bytes:
    """Return a template that matches no one, so that comparing takes equal work if none exists."""
    noise = np.frombuffer(_expand(seed, model.size, b"nobody"), np.int8).astype(np.float64)
    return _pack(noise / np.linalg.norm(noise), model.tag)


def match_template(template: bytes, secret: bytes, readings: Sequence[Reading]) -> Score:
    """Compare the mean of the readings with a template; each single reading must match too.

    Raises:
        FaceMismatch: Another person, in the mean or in a single frame.
        BadTemplate: The bytes are not a template, or belong to another model.
    """
    stored, tag = _unpack(template)
    mean = _mean(readings)
    model = readings[0].model
    if tag != model.tag or len(stored) != model.size:
        raise BadTemplate
    distance = float(np.linalg.norm(_turn(mean, secret) - stored))
    # An impostor's frame must not hide in the mean of the person's own.
    singles = [_turn(reading.vector.astype(np.float64), secret) for reading in readings]
    worst = max(float(np.linalg.norm(single - stored)) for single in singles)
    if not distance <= model.match or not worst <= model.frame:
        raise FaceMismatch
    llr, bound = _evidence(distance, len(readings), model)
    quality = min(reading.quality for reading in readings)
    return Score(
        llr=llr,
        quality=quality,
        contributions=(("face", llr),),
        model_version=model.name,
        fmr_upper=bound,
    )


def _evidence(distance: float, frames: int, model: FaceModel) -> tuple[float, float]:
    """Return the log-likelihood ratio, and the false match rate bound that limits it."""
    if model is not DLIB:
        # This model was not measured: a match is no evidence beyond not being refused.
        return 0.0, 1.0
    bound = calibrated(distance, frames).upper
    return max(-_CLIP, min(_CLIP, -log(bound), _SLOPE * (distance - _NEUTRAL))), bound


def renew_template(template: bytes, old: bytes, new: bytes) -> bytes:
    """Return the template under a new secret, without a new capture of the person."""
    vector, tag = _unpack(template)
    return _pack(_turn(_turn_back(vector, old), new), tag)
