"""Enroll, check and renew faces: read outside every transaction."""

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
"""Stored faces that raise the alarm: China's measures of 2025 ask for a filing from 100,000 on."""
_SECRET_BYTES: Final = 32


class FaceMaterial(NamedTuple):
    """What a check needs of a subject."""

    verifier: Verifier
    secret: bytes
    seen: bytes


class Used(NamedTuple):
    """What an accepted capture leaves.

    Args:
        secret: The secret of a new template; empty where none is made.
        seen: Marks of its pictures.
        record: What the audit log keeps of an enrollment.
    """

    secret: bytes
    seen: bytes
    record: Mapping[str, str]


class LivenessRequirement(NamedTuple):
    """What other features know of how hard a face must show that it lives.

    Args:
        liveness: The mode that a segment's policy asks for; empty where it says nothing.
        segment: The segment of a subject.
    """

    liveness: Callable[[str], str]
    segment: Callable[[Tx, UUID], str]


@dataclass(frozen=True, slots=True)
class Scored:
    """What pictures without a challenge are worth; a reason where they do not match."""

    quality: float
    match: Match | None = None
    reason: str = ""
    against: tuple[str, ...] = ()
    """The passive cues that speak against a living face."""

    @property
    def band(self) -> Band:
        """Return a band that follows from match and cues, so that nobody can climb by it."""
        if self.match is None:
            return Band.HIGH
        return Band.ELEVATED if self.against else Band.LOW

    def refused(self, reason: str) -> "Scored":
        """Return the same pictures without a match."""
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
        """Return how hard a face must show that it lives, by the strictest of segments.

        A segment whose policy says nothing asks for what the setting says.
        """
        said = (self._asked.liveness(segment) for segment in segments)
        return strictest((Mode(item) if item else self._mode for item in said), self._mode)

    def parse(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the validated input, the pictures decoded from base64."""
        found = dict(super().parse(values))
        return found | {"frames": decode(found["frames"])}

    def challenge(self, segments: Sequence[str]) -> dict[str, Any]:
        """Return a fresh challenge, as hard as the policy asks for."""
        return new_challenge(self._clock.now(), self.mode(segments))

    def counted(self, challenge: Mapping[str, Any]) -> str:
        """Return the counter: more failures are free where the face was told to move."""
        active = challenge.get("mode") == Mode.ACTIVE
        return (Counter.LIVE_FACE if active else Counter.FACE).value

    def counted_pending(self, pending: Verifier) -> str:
        """Return the counter of a confirmation, by the mode of its challenge."""
        return self.counted(orjson.loads(pending.secret))

    def record(self, presented: Presented) -> dict[str, Any]:
        """Return the hash of the capture: a dispute can check frames by it, nobody makes them."""
        return transcribed(presented.challenge, presented.values["frames"])

    def aside(self, presented: Presented) -> tuple[Fault, ...]:
        """Return what was cut off behind the pictures."""
        return cut_off(presented.values["frames"])

    def available(self) -> bool:
        """Return whether this process has an engine."""
        return self._reader.available()

    def prepare(self, values: Mapping[str, Any]) -> None:
        """Take no input: the frames come with the confirmation."""
        if values:
            raise BadInput(Fault("", "extra_forbidden", "a face is enrolled by its confirmation"))
        if not self.available():
            raise Unavailable("face_unavailable", "Faces cannot be checked here.", 60)

    def begin(self, tx: Tx, subject: UUID, label: str, prepared: None) -> dict[str, Any]:  # noqa: ARG002 - the protocol's signature
        """Enroll, pending until frames answer the challenge."""
        challenge, kept = self._ask(tx, subject)
        added = self._authenticators.add(tx, subject, TYPE, kept, status=Status.PENDING)
        return {"id": str(added.id), "status": added.status.value, "challenge": challenge}

    def compare(self, pending: Verifier, values: Mapping[str, Any], now: datetime) -> Match:
        """Make a template of frames that answer the challenge and show one person."""
        presented = self.parse(values)
        frames = presented["frames"]
        challenge = orjson.loads(pending.secret)
        present = self.mode((challenge.get("segment", "default"),))
        gestures = answer(challenge, presented["challenge_id"], frames, now, present)
        readings = self._read(frames, gestures, ENROLLMENT)
        if len(readings) < ENROLLED_FRAMES:
            detail = (
                f"Look straight into the camera at first: {ENROLLED_FRAMES} frames must show it."
            )
            raise BadInput(Fault("/frames", "too_few_frontal", detail))
        secret = opaque.random_bytes(_SECRET_BYTES)
        try:
            template = enroll_template(readings, secret)
        except FaceMismatch:
            raise VerificationFailed("face_frames_differ") from None
        used = Used(secret, _marks(readings), transcribed(challenge, frames))
        return Match(pending.authenticator, used, template, aside=cut_off(frames))

    def repeat(self, tx: Tx, pending: Verifier) -> dict[str, Any]:
        """Give a pending face a fresh challenge, or end it: the one before is used up."""
        pending = self._authenticators.pending(tx, pending.subject, pending.authenticator)
        drawn = orjson.loads(pending.secret).get("drawn", 1)
        if drawn == MOST_CHALLENGES:
            self._authenticators.revoke(tx, pending.subject, pending.authenticator)
            return {}
        challenge, kept = self._ask(tx, pending.subject, drawn + 1)
        self._authenticators.rewrite(tx, pending.authenticator, kept)
        return {"challenge": challenge}

    def _ask(self, tx: Tx, subject: UUID, drawn: int = 1) -> tuple[dict[str, Any], bytes]:
        """Return the challenge of an enrollment as it is shown, and as it is kept."""
        segment = self._asked.segment(tx, subject)
        challenge = new_challenge(self._clock.now(), self.mode((segment,)), ENROLLED_FRAMES)
        return challenge, orjson.dumps(challenge | {"segment": segment, "drawn": drawn})

    def confirm(self, tx: Tx, pending: Verifier, match: Match) -> None:
        """Keep the template in the place of an earlier one, its secret in a row of its own."""
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
        """Read template and secret; a face is asked for only after another factor."""
        found = self._authenticators.verifier(tx, subject, subject, TYPE)
        row = store.secret_of(tx, found.authenticator) if found else None
        return FaceMaterial(found, row.secret, row.seen or b"") if found and row else None

    def check(self, material: FaceMaterial | None, presented: Presented, now: datetime) -> Match:
        """Compare the mean of the frontal frames with the template."""
        frames = presented.values["frames"]
        present = self.mode(presented.segments)
        gestures = answer(
            presented.challenge, presented.values["challenge_id"], frames, now, present
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
            material.verifier.authenticator,
            Used(b"", added, {}),
            llr=score.llr,
            readings=_readings(score, readings, Mode(presented.challenge["mode"])),
        )

    def score(self, material: FaceMaterial | None, frames: Sequence[Frame], mode: Mode) -> Scored:
        """Compare pictures that answer no challenge; without a face it costs the same.

        Raises:
            BadInput: A picture is not usable.
            Unavailable: There is no engine, or the line is too long.
        """
        readings = self._reader.stills(frames, PROBE)
        against = tuple(passive.judge(_cues(readings, mode)))
        scored = Scored(min(reading.quality for reading in readings), against=against)
        known, added = material or _nobody(readings[0].model), _marks(readings)
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
        return replace(scored, match=Match(known.verifier.authenticator, Used(b"", added, {})))

    def pack_used(self, used: Any) -> Any:  # noqa: ANN401 - the factor's own material
        """Return what a match uses up as a JSON value."""
        return used.seen.hex()

    def unpack_used(self, value: Any) -> Any:  # noqa: ANN401 - as above
        """Return what `pack_used` wrote."""
        return Used(b"", bytes.fromhex(value), {})

    def consume(self, tx: Tx, match: Match, now: datetime) -> None:  # noqa: ARG002 - the protocol's signature
        """Note the use and the frames, which are accepted this once."""
        self.use(tx, match)

    def use(self, tx: Tx, match: Match) -> None:
        """Remember the frames of a match; raises VerificationFailed where they were used."""
        row = store.secret_of(tx, match.authenticator, lock=True)
        if row is None:
            raise VerificationFailed("authenticator_revoked")
        row.seen = remember(row.seen or b"", match.used.seen)
        self._authenticators.used(tx, match.authenticator)

    def renew(self, tx: Tx, subject: UUID) -> bool:
        """Move a subject's template to a new secret, without the subject; False without a face."""
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
        """Return how many faces are stored."""
        return store.count(tx)

    def near_limit(self, count: int) -> bool:
        """Tell whether so many stored faces call for the operator (filing at 100,000)."""
        return count >= ALERT_FROM

    def _read(
        self, frames: Sequence[Frame], gestures: Sequence[Gesture], policy: QualityPolicy
    ) -> list[Frontal]:
        if gestures:
            return self._reader.capture(frames, gestures, policy)
        return self._reader.stills(frames, policy)

    def delete_for(self, tx: Tx, subject: UUID) -> None:
        """End the face of a subject who withdrew the consent."""
        store.drop(tx, subject)
        for item in self._authenticators.listing(tx, subject):
            if item.type == TYPE:
                self._authenticators.revoke(tx, subject, item.id, withdrawn=True)


def _marks(readings: Sequence[Frontal]) -> bytes:
    """Return the marks of every picture that readings were made of, each once."""
    return b"".join(dict.fromkeys(reading.marks for reading in readings))


def _readings(score: Score, readings: Sequence[Frontal], mode: Mode) -> dict[str, float]:
    """Return what the signal `face_passive` judges."""
    cues = _cues(readings, mode)
    return cues if score.fmr_upper is None else cues | {"fmr_upper": score.fmr_upper}


def _cues(readings: Sequence[Frontal], mode: Mode) -> dict[str, float]:
    """Return the mean cues; none where no liveness is asked for."""
    return {} if mode is Mode.OFF else passive.mean([item.cues for item in readings])


@lru_cache(maxsize=8)
def _nobody(model: FaceModel) -> FaceMaterial:
    """Return the face of no one: what is compared where there is no template."""
    template = decoy_template(model, opaque.random_bytes(_SECRET_BYTES))
    verifier = Verifier(DECOY, DECOY, TYPE, template)
    return FaceMaterial(verifier, opaque.random_bytes(_SECRET_BYTES), b"")
