"""Enroll, check and renew faces; the engine runs outside every transaction."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson

from biometrics.face import (
    ENROLLMENT,
    PROBE,
    BadTemplate,
    FaceMismatch,
    QualityPolicy,
    decoy_template,
    enroll_template,
    match_template,
    passive,
    renew_template,
)
from biometrics.face.active import Gesture
from biometrics.face.frames import Frame
from biometrics.face.model import FaceModel
from biometrics.face.sequence import Frontal
from biometrics.score import Score
from crypto import opaque
from service.authenticators.actions import Authenticators
from service.authenticators.factor import Match, Presented
from service.authenticators.typed import TypedFactor
from service.domain.assurance import Kind
from service.domain.authenticator import Status, Verifier
from service.domain.clock import Clock
from service.domain.errors import BadInput, Fault, Unavailable, VerificationFailed
from service.domain.ids import DECOY, new_id
from service.factors.face import store
from service.factors.face.engine_pool import EnginePool
from service.factors.face.model import (
    ENROLLED_FRAMES,
    MOST_CHALLENGES,
    FaceInput,
    Mode,
    answer,
    cut_off,
    decode,
    new_challenge,
    remember,
    strictest,
    transcribed,
)
from service.factors.face.store import TemplateSecret
from service.risk.model import Band
from service.store.engine import Tx
from service.throttling.model import Counter

TYPE: Final = "face"
CONSENT: Final = "face"
ALERT_FROM: Final = 90_000
"""Number of stored faces that raises the alarm: China's 2025 rules require filing at 100,000."""
_SECRET_BYTES: Final = 32


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


class LivenessRequirement(NamedTuple):
    """Access to the liveness mode that applies to a subject.

    Args:
        liveness: Returns the mode that a segment's policy sets; empty if it sets none.
        segment: Returns the segment of a subject.
    """

    liveness: Callable[[str], str]
    segment: Callable[[Tx, UUID], str]


@dataclass(frozen=True, slots=True)
class Scored:
    """The result of pictures without a challenge; a reason if they do not match."""

    quality: float
    match: Match | None = None
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


class FaceFactor(TypedFactor):
    """The factor `face`."""

    name = "face"
    kind = Kind.INHERENCE
    counter = "face"
    amr: tuple[str, ...] = ("face",)
    slow = True
    type = TYPE
    form = FaceInput
    consent = CONSENT

    def __init__(
        self,
        *,
        authenticators: Authenticators,
        reader: EnginePool,
        clock: Clock,
        mode: Mode,
        asked: LivenessRequirement,
    ) -> None:
        self._authenticators = authenticators
        self._reader = reader
        self._clock = clock
        self._mode = mode
        self._asked = asked

    def mode(self, segments: Sequence[str]) -> Mode:
        """Return the strictest liveness mode of some segments.

        A segment that sets no mode uses the setting.
        """
        modes = (self._asked.liveness(segment) for segment in segments)
        return strictest((Mode(item) if item else self._mode for item in modes), self._mode)

    def parse(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the validated input, the pictures decoded from base64."""
        found = dict(super().parse(values))
        return found | {"frames": decode(found["frames"])}

    def challenge(self, segments: Sequence[str]) -> dict[str, Any]:
        """Return a new challenge in the mode that policy requires."""
        return new_challenge(self._clock.now(), self.mode(segments))

    def counted(self, challenge: Mapping[str, Any]) -> str:
        """Return the counter: active liveness allows more failures without a delay."""
        active = challenge.get("mode") == Mode.ACTIVE
        return (Counter.LIVE_FACE if active else Counter.FACE).value

    def counted_pending(self, pending: Verifier) -> str:
        """Return the counter of a confirmation, by the mode of its challenge."""
        return self.counted(orjson.loads(pending.secret))

    def record(self, presented: Presented) -> dict[str, Any]:
        """Return the audit record: a hash that can confirm disputed frames but not rebuild them."""
        return transcribed(presented.challenge, presented.values["frames"])

    def aside(self, presented: Presented) -> tuple[Fault, ...]:
        """Return faults for data cut off after the pictures."""
        return cut_off(presented.values["frames"])

    def available(self) -> bool:
        """Return whether this process has an engine."""
        return self._reader.available()

    def prepare(self, values: Mapping[str, Any]) -> None:
        """Reject any input: the frames come with the confirmation."""
        if values:
            raise BadInput(Fault("", "extra_forbidden", "the frames come with the confirmation"))
        if not self.available():
            raise Unavailable("face_unavailable", "Faces cannot be checked here.", 60)

    def begin(self, tx: Tx, subject: UUID, label: str, prepared: None) -> dict[str, Any]:  # noqa: ARG002 - the protocol's signature
        """Enroll a pending face; frames that answer the challenge confirm it."""
        challenge, kept = self._ask(tx, subject)
        added = self._authenticators.add(tx, subject, TYPE, kept, status=Status.PENDING)
        return {"id": str(added.id), "status": added.status.value, "challenge": challenge}

    def compare(self, pending: Verifier, values: Mapping[str, Any], now: datetime) -> Match:
        """Create a template from frames that answer the challenge and show one person."""
        presented = self.parse(values)
        frames = presented["frames"]
        challenge = orjson.loads(pending.secret)
        present = self.mode((challenge.get("segment", "default"),))
        gestures = answer(
            challenge,
            challenge_id=presented["challenge_id"],
            frames=frames,
            now=now,
            present=present,
        )
        readings = self._read(frames, gestures, ENROLLMENT)
        if len(readings) < ENROLLED_FRAMES:
            detail = (
                f"Look straight into the camera first: {ENROLLED_FRAMES} frames must show this."
            )
            raise BadInput(Fault("/frames", "too_few_frontal", detail))
        secret = opaque.random_bytes(_SECRET_BYTES)
        try:
            template = enroll_template(readings, secret)
        except FaceMismatch:
            raise VerificationFailed("face_frames_differ") from None
        used = Used(secret, _marks(readings), transcribed(challenge, frames))
        return Match(
            authenticator=pending.authenticator, used=used, verifier=template, aside=cut_off(frames)
        )

    def repeat(self, tx: Tx, pending: Verifier) -> dict[str, Any]:
        """Replace the used challenge of a pending face, or revoke it after too many."""
        pending = self._authenticators.pending(tx, pending.subject, pending.authenticator)
        drawn = orjson.loads(pending.secret).get("drawn", 1)
        if drawn == MOST_CHALLENGES:
            self._authenticators.revoke(tx, pending.subject, pending.authenticator)
            return {}
        challenge, kept = self._ask(tx, pending.subject, drawn + 1)
        self._authenticators.rewrite(tx, pending.authenticator, kept)
        return {"challenge": challenge}

    def _ask(self, tx: Tx, subject: UUID, drawn: int = 1) -> tuple[dict[str, Any], bytes]:
        """Return an enrollment challenge, as shown and as stored."""
        segment = self._asked.segment(tx, subject)
        challenge = new_challenge(self._clock.now(), self.mode((segment,)), ENROLLED_FRAMES)
        return challenge, orjson.dumps(challenge | {"segment": segment, "drawn": drawn})

    def confirm(self, tx: Tx, pending: Verifier, match: Match) -> None:
        """Store the template, replacing an earlier one; its secret gets a separate row."""
        now, used = self._clock.now(), match.used
        self._authenticators.confirm(
            tx, pending.subject, pending.authenticator, match.verifier, **used.record
        )
        row = TemplateSecret(
            id=new_id(now),
            authenticator_id=pending.authenticator,
            subject_id=pending.subject,
            created_at=now,
        )
        row.secret, row.seen = used.secret, remember(b"", used.seen)
        tx.add(row)
        tx.flush()
        store.drop(tx, pending.subject, keep=pending.authenticator)

    def load(self, tx: Tx, subject: UUID) -> FaceMaterial | None:
        """Read template and secret; needs no decoy, as a face only follows another factor."""
        found = self._authenticators.verifier(tx, subject, subject, TYPE)
        row = store.secret_of(tx, found.authenticator) if found else None
        return FaceMaterial(found, row.secret, row.seen or b"") if found and row else None

    def check(self, material: FaceMaterial | None, presented: Presented, now: datetime) -> Match:
        """Compare the mean of the frontal frames with the template."""
        frames = presented.values["frames"]
        present = self.mode(presented.segments)
        gestures = answer(
            presented.challenge,
            challenge_id=presented.values["challenge_id"],
            frames=frames,
            now=now,
            present=present,
        )
        if material is None:
            raise VerificationFailed("no_face")
        readings = self._read(frames, gestures, PROBE)
        added = _marks(readings)
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
            readings=_readings(score, readings, Mode(presented.challenge["mode"])),
        )

    def score(self, material: FaceMaterial | None, frames: Sequence[Frame], mode: Mode) -> Scored:
        """Compare pictures that answer no challenge; without an enrolled face the work is equal.

        Raises:
            BadInput: A picture is not usable.
            Unavailable: There is no engine, or its queue is too long.
        """
        readings = self._reader.stills(frames, PROBE)
        against = tuple(passive.judge(_cues(readings, mode)))
        scored = Scored(min(reading.quality for reading in readings), against=against)
        known, added = material or _decoy_material(readings[0].model), _marks(readings)
        try:
            remember(known.seen, added)
            match_template(known.verifier.secret, known.secret, readings)
        except FaceMismatch:
            return scored.refused("face_mismatch" if material else "no_face")
        except BadTemplate:
            return scored.refused("face_of_another_model" if material else "no_face")
        except VerificationFailed as replayed:
            return scored.refused(replayed.reason)
        if material is None:
            return scored.refused("no_face")
        return replace(
            scored,
            match=Match(authenticator=known.verifier.authenticator, used=Used(b"", added, {})),
        )

    def pack_used(self, used: Any) -> Any:  # noqa: ANN401 - the factor's own material
        """Return the marks of a match's pictures as a JSON value."""
        return used.seen.hex()

    def unpack_used(self, value: Any) -> Any:  # noqa: ANN401 - as above
        """Return the marks of a match's pictures from their JSON value."""
        return Used(b"", bytes.fromhex(value), {})

    def consume(self, tx: Tx, match: Match, now: datetime) -> None:  # noqa: ARG002 - the protocol's signature
        """Record the use and the frames, which are accepted only once."""
        self.use(tx, match)

    def use(self, tx: Tx, match: Match) -> None:
        """Remember the frames of a match; raises VerificationFailed if they were used before."""
        row = store.secret_of(tx, match.authenticator, lock=True)
        if row is None:
            raise VerificationFailed("authenticator_revoked")
        row.seen = remember(row.seen or b"", match.used.seen)
        self._authenticators.used(tx, match.authenticator)

    def renew(self, tx: Tx, subject: UUID) -> bool:
        """Transform a template with a new secret, without a new capture; False without a face."""
        self._authenticators.hold(tx, subject)
        found = self._authenticators.verifier(tx, subject, subject, TYPE)
        row = store.secret_of(tx, found.authenticator, lock=True) if found else None
        if found is None or row is None:
            return False
        secret = opaque.random_bytes(_SECRET_BYTES)
        template = renew_template(found.secret, row.secret, secret)
        self._authenticators.rewrite(tx, found.authenticator, template)
        row.secret = secret
        return True

    def subjects(self, tx: Tx, after: UUID | None, limit: int) -> list[UUID]:
        """Return subjects with a face, in the order of their ids."""
        return store.subjects(tx, after, limit)

    def stored(self, tx: Tx) -> int:
        """Return the number of stored faces."""
        return store.count(tx)

    def near_limit(self, count: int) -> bool:
        """Return whether a number of stored faces requires action (filing at 100,000)."""
        return count >= ALERT_FROM

    def _read(
        self, frames: Sequence[Frame], gestures: Sequence[Gesture], policy: QualityPolicy
    ) -> list[Frontal]:
        if gestures:
            return self._reader.capture(frames, gestures, policy)
        return self._reader.stills(frames, policy)

    def delete_for(self, tx: Tx, subject: UUID) -> None:
        """Delete the face of a subject that withdrew the consent."""
        store.drop(tx, subject)
        for item in self._authenticators.listing(tx, subject):
            if item.type == TYPE:
                self._authenticators.revoke(tx, subject, item.id, withdrawn=True)


def _marks(readings: Sequence[Frontal]) -> bytes:
    """Return the marks of every picture in the readings, each once."""
    return b"".join(dict.fromkeys(reading.marks for reading in readings))


def _readings(score: Score, readings: Sequence[Frontal], mode: Mode) -> dict[str, float]:
    """Return the input of the signal `face_passive`."""
    cues = _cues(readings, mode)
    return cues if score.fmr_upper is None else cues | {"fmr_upper": score.fmr_upper}


def _cues(readings: Sequence[Frontal], mode: Mode) -> dict[str, float]:
    """Return the mean cues; empty if liveness is off."""
    return {} if mode is Mode.OFF else passive.mean([item.cues for item in readings])


@lru_cache(maxsize=8)
def _decoy_material(model: FaceModel) -> FaceMaterial:
    """Return a decoy face, which is compared if there is no template."""
    template = decoy_template(model, opaque.random_bytes(_SECRET_BYTES))
    verifier = Verifier(DECOY, DECOY, TYPE, template)
    return FaceMaterial(verifier, opaque.random_bytes(_SECRET_BYTES), b"")
