"""Face recognition: detection, quality, alignment, embedding and transformed templates."""

from biometrics.face.engine import FaceEngine, FaceReading
from biometrics.face.errors import (
    BadTemplate,
    EngineUnavailable,
    FaceError,
    FaceMismatch,
    FrameRefused,
    LivenessFailed,
)
from biometrics.face.model import MATCH_THRESHOLD
from biometrics.face.quality import ENROLLMENT, PROBE, SMALL_FACES, QualityPolicy
from biometrics.face.template import (
    decoy_template,
    enroll_template,
    match_template,
    renew_template,
)

__all__ = [
    "ENROLLMENT",
    "MATCH_THRESHOLD",
    "PROBE",
    "SMALL_FACES",
    "BadTemplate",
    "EngineUnavailable",
    "FaceEngine",
    "FaceError",
    "FaceMismatch",
    "FaceReading",
    "FrameRefused",
    "LivenessFailed",
    "QualityPolicy",
    "decoy_template",
    "enroll_template",
    "match_template",
    "renew_template",
]
