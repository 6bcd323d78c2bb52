"""Compare pictures with a stored face: material, marks and cues; nothing is stored here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, NamedTuple

from biometrics.face import BadTemplate, FaceMismatch, decoy_template, match_template, passive
from biometrics.face.model import FaceModel
from biometrics.face.sequence import Frontal
from biometrics.score import Score
from crypto import opaque
from service.authenticators.factor import Match
from service.domain.authenticator import Verifier
from service.domain.errors import VerificationFailed
from service.domain.ids import DECOY
from service.factors.face.model import Mode, remember
from service.risk.model import Band

TYPE: Final = "face"
SECRET_BYTES: Final = 32


class FaceMaterial(NamedTuple):
    """The data of a subject that a check needs."""

    verifier: Verifier
    secret: bytes
    seen: bytes


class Used(NamedTuple):
    """The result of an accepted capture, to be stored.

    Args:
        secret: The secret of a new template; empty if none is created.
        seen: The marks of its pictures.
        record: The audit record of an enrollment.
    """

    secret: bytes
    seen: bytes
    record: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Scored:
    """The result of pictures without a challenge; a reason if they do not match."""

    quality: float
    match: Match[Used] | None = None
    reason: str = ""
    against: tuple[str, ...] = ()
    """The passive cues that indicate an attack."""

    @property
    def band(self) -> Band:
        """Return a coarse band from match and cues, so that it gives no score to climb."""
        if self.match is None:
            return Band.HIGH
        return Band.ELEVATED if self.against else Band.LOW

    def refused(self, reason: str) -> "Scored":
        """Return the result without a match, with a reason."""
        return replace(self, match=None, reason=reason)


def matched(material: FaceMaterial | None, readings: Sequence[Frontal], mode: Mode) -> Match[Used]:
    """Compare the mean of frontal frames with a template.

    Raises:
        VerificationFailed: There is no face, it differs, or the pictures were used before.
    """
    if material is None:
        raise VerificationFailed("no_face")
    added = marks(readings)
    remember(material.seen, added)
    try:
        score = match_template(material.verifier.secret, material.secret, readings)
    except FaceMismatch:
        raise VerificationFailed("face_mismatch") from None
    except BadTemplate:
        raise VerificationFailed("face_of_another_model") from None
    return Match(
        authenticator=material.verifier.authenticator,
        used=Used(b"", added, {}),
        llr=score.llr,
        readings=_measured(score, readings, mode),
    )


def scored(material: FaceMaterial | None, readings: Sequence[Frontal], mode: Mode) -> Scored:
    """Compare pictures that answer no challenge; without an enrolled face the work is equal."""
    against = tuple(passive.judge(_cues(readings, mode)))
    found = Scored(min(reading.quality for reading in readings), against=against)
    known = material or _decoy_material(readings[0].model)
    added = marks(readings)
    try:
        remember(known.seen, added)
        match_template(known.verifier.secret, known.secret, readings)
    except FaceMismatch:
        return found.refused("face_mismatch" if material else "no_face")
    except BadTemplate:
        return found.refused("face_of_another_model" if material else "no_face")
    except VerificationFailed as replayed:
        return found.refused(replayed.reason)
    if material is None:
        return found.refused("no_face")
    used = Used(b"", added, {})
    return replace(found, match=Match(authenticator=known.verifier.authenticator, used=used))


def marks(readings: Sequence[Frontal]) -> bytes:
    """Return the marks of every picture in the readings, each once."""
    return b"".join(dict.fromkeys(reading.marks for reading in readings))


def _measured(score: Score, readings: Sequence[Frontal], mode: Mode) -> dict[str, float]:
    """Return the input of the signal `face_passive`."""
    cues = _cues(readings, mode)
    return cues if score.fmr_upper is None else cues | {"fmr_upper": score.fmr_upper}


def _cues(readings: Sequence[Frontal], mode: Mode) -> dict[str, float]:
    """Return the mean cues; empty if liveness is off."""
    return {} if mode is Mode.OFF else passive.mean([item.cues for item in readings])


@lru_cache(maxsize=8)
def _decoy_material(model: FaceModel) -> FaceMaterial:
    """Return a decoy face, which is compared if there is no template."""
    template = decoy_template(model, opaque.random_bytes(SECRET_BYTES))
    verifier = Verifier(DECOY, DECOY, TYPE, template)
    return FaceMaterial(verifier, opaque.random_bytes(SECRET_BYTES), b"")
