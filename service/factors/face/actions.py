"""Enroll, check and renew faces; the engine runs outside every transaction."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

import orjson
from pydantic.json_schema import JsonSchemaValue

from biometrics.face import (
    ENROLLMENT,
    PROBE,
    FaceMismatch,
    QualityPolicy,
    enroll_template,
    renew_template,
)
from biometrics.face.active import Gesture
from biometrics.face.frames import Frame
from biometrics.face.sequence import Frontal
from crypto import opaque
from service.authenticators.actions import Authenticators
from service.authenticators.enrollment import Enrollment
from service.authenticators.factor import Factor, Match, Presented
from service.authenticators.views import CaptureChallenge, NewAuthenticator, Renewal
from service.domain.assurance import Kind
from service.domain.authenticator import Status, Verifier
from service.domain.clock import Clock
from service.domain.errors import BadInput, Fault, Unavailable, VerificationFailed
from service.domain.ids import new_id
from service.domain.json_values import Json
from service.domain.validation import parse
from service.factors.face import store
from service.factors.face.comparing import (
    SECRET_BYTES,
    TYPE,
    FaceMaterial,
    Scored,
    Used,
    marks,
    matched,
    scored,
)
from service.factors.face.engine_pool import EnginePool
from service.factors.face.model import (
    ENROLLED_FRAMES,
    MOST_CHALLENGES,
    Capture,
    FaceInput,
    Mode,
    PendingChallenge,
    answer,
    cut_off,
    decode,
    issued,
    new_challenge,
    remember,
    strictest,
    transcribed,
)
from service.factors.face.store import TemplateSecret
from service.store.engine import Tx
from service.store.erasing import erases
from service.throttling.model import Counter

CONSENT: Final = "face"
ALERT_FROM: Final = 90_000
"""Number of stored faces that raises the alarm: China's 2025 rules require filing at 100,000."""


class LivenessRequirement(NamedTuple):
    """Access to the liveness mode that applies to a subject.

    Args:
        liveness: Returns the mode that a segment's policy sets; empty if it sets none.
        segment: Returns the segment of a subject.
    """

    liveness: Callable[[str], str]
    segment: Callable[[Tx, UUID], str]


class FaceFactor(Factor[Capture, FaceMaterial | None, Used], Enrollment[None, Used]):
    """The factor `face`."""

    name = "face"
    kind = Kind.INHERENCE
    counter = "face"
    amr = ("face",)
    slow = True
    type = TYPE
    consent = CONSENT
    confirmed = True

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

    def schema(self) -> JsonSchemaValue:
        """Return the JSON Schema of the input."""
        return FaceInput.model_json_schema()

    def parse(self, values: Mapping[str, object]) -> Capture:
        """Return the validated input, the pictures decoded from base64."""
        found = parse(FaceInput, values)
        return Capture(found.challenge_id, decode(found.frames))

    def challenge(self, segments: Sequence[str]) -> Mapping[str, object]:
        """Return a new challenge in the mode that policy requires."""
        return new_challenge(self._clock.now(), self.mode(segments))

    def counted(self, challenge: Mapping[str, object]) -> str:
        """Return the counter: active liveness allows more failures without a delay."""
        active = challenge.get("mode") == Mode.ACTIVE
        return (Counter.LIVE_FACE if active else Counter.FACE).value

    def counted_pending(self, pending: Verifier) -> str:
        """Return the counter of a confirmation, by the mode of its challenge."""
        return self.counted(orjson.loads(pending.secret))

    def record(self, presented: Presented[Capture]) -> Mapping[str, str]:
        """Return the audit record: a hash that can confirm disputed frames but not rebuild them."""
        return transcribed(presented.challenge, presented.values.frames)

    def aside(self, presented: Presented[Capture]) -> tuple[Fault, ...]:
        """Return faults for data cut off after the pictures."""
        return cut_off(presented.values.frames)

    def available(self) -> bool:
        """Return whether this process has an engine."""
        return self._reader.available()

    def prepare(self, values: Mapping[str, object]) -> None:
        """Reject any input: the frames come with the confirmation."""
        if values:
            raise BadInput(Fault("", "extra_forbidden", "the frames come with the confirmation"))
        if not self.available():
            raise Unavailable("face_unavailable", "Faces cannot be checked here.", 60)

    def begin(self, tx: Tx, subject: UUID, label: str, prepared: None) -> NewAuthenticator:  # noqa: ARG002 - the port's signature
        """Enroll a pending face; frames that answer the challenge confirm it."""
        challenge, kept = self._ask(tx, subject)
        added = self._authenticators.add(tx, subject, TYPE, kept, status=Status.PENDING)
        return {"id": str(added.id), "status": added.status.value, "challenge": challenge}

    def compare(
        self, pending: Verifier, values: Mapping[str, object], now: datetime
    ) -> Match[Used]:
        """Create a template from frames that answer the challenge and show one person."""
        capture = self.parse(values)
        frames = capture.frames
        challenge: PendingChallenge = orjson.loads(pending.secret)
        present = self.mode((challenge.get("segment", "default"),))
        gestures = answer(
            challenge,
            challenge_id=capture.challenge_id,
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
        secret = opaque.random_bytes(SECRET_BYTES)
        try:
            template = enroll_template(readings, secret)
        except FaceMismatch:
            raise VerificationFailed("face_frames_differ") from None
        used = Used(secret, marks(readings), transcribed(challenge, frames))
        return Match(
            authenticator=pending.authenticator, used=used, verifier=template, aside=cut_off(frames)
        )

    def repeat(self, tx: Tx, pending: Verifier) -> Renewal:
        """Replace the used challenge of a pending face, or revoke it after too many."""
        pending = self._authenticators.pending(tx, pending.subject, pending.authenticator)
        former: PendingChallenge = orjson.loads(pending.secret)
        drawn = former.get("drawn", 1)
        if drawn == MOST_CHALLENGES:
            self._authenticators.revoke(tx, pending.subject, pending.authenticator)
            return {}
        challenge, kept = self._ask(tx, pending.subject, drawn + 1)
        self._authenticators.rewrite(tx, pending.authenticator, kept)
        return {"challenge": challenge}

    def _ask(self, tx: Tx, subject: UUID, drawn: int = 1) -> tuple[CaptureChallenge, bytes]:
        """Return an enrollment challenge, as shown and as stored."""
        segment = self._asked.segment(tx, subject)
        challenge = new_challenge(self._clock.now(), self.mode((segment,)), ENROLLED_FRAMES)
        kept: PendingChallenge = {**challenge, "segment": segment, "drawn": drawn}
        return challenge, orjson.dumps(kept)

    def confirm(self, tx: Tx, pending: Verifier, match: Match[Used]) -> None:
        """Store the template, replacing an earlier one; its secret gets a separate row."""
        now = self._clock.now()
        used = match.used
        self._authenticators.confirm(
            tx, pending.subject, pending.authenticator, match.verifier, **used.record
        )
        row = TemplateSecret(
            id=new_id(now),
            authenticator_id=pending.authenticator,
            subject_id=pending.subject,
            created_at=now,
        )
        row.secret = used.secret
        row.seen = remember(b"", used.seen)
        tx.add(row)
        tx.flush()
        store.drop(tx, pending.subject, keep=pending.authenticator)

    def load(self, tx: Tx, subject: UUID) -> FaceMaterial | None:
        """Read template and secret; needs no decoy, as a face only follows another factor."""
        found = self._authenticators.verifier(tx, subject, subject, TYPE)
        row = store.secret_of(tx, found.authenticator) if found else None
        return FaceMaterial(found, row.secret, row.seen or b"") if found and row else None

    def verify(
        self, material: FaceMaterial | None, presented: Presented[Capture], now: datetime
    ) -> Match[Used]:
        """Compare the mean of the frontal frames with the template."""
        frames = presented.values.frames
        present = self.mode(presented.segments)
        gestures = answer(
            presented.challenge,
            challenge_id=presented.values.challenge_id,
            frames=frames,
            now=now,
            present=present,
        )
        if material is None:
            raise VerificationFailed("no_face")
        readings = self._read(frames, gestures, PROBE)
        return matched(material, readings, Mode(issued(presented.challenge)["mode"]))

    def score(self, material: FaceMaterial | None, frames: Sequence[Frame], mode: Mode) -> Scored:
        """Compare pictures that answer no challenge; without an enrolled face the work is equal.

        Raises:
            BadInput: A picture is not usable.
            Unavailable: There is no engine, or its queue is too long.
        """
        return scored(material, self._reader.stills(frames, PROBE), mode)

    def pack_used(self, used: Used) -> Json:
        """Return the marks of a match's pictures as a JSON value."""
        return used.seen.hex()

    def unpack_used(self, value: Json) -> Used:
        """Return the marks of a match's pictures from their JSON value."""
        return Used(b"", bytes.fromhex(str(value)), {})

    def consume(self, tx: Tx, match: Match[Used], now: datetime) -> None:  # noqa: ARG002 - the port's signature
        """Record the use and the frames, which are accepted only once."""
        self.use(tx, match)

    def use(self, tx: Tx, match: Match[Used]) -> None:
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
        secret = opaque.random_bytes(SECRET_BYTES)
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

    @erases("biometric", tables=("face_template_secret",))
    def delete_for(self, tx: Tx, subject: UUID) -> None:
        """Delete the face of a subject that withdrew the consent."""
        store.drop(tx, subject)
        for item in self._authenticators.listing(tx, subject):
            if item.type == TYPE:
                self._authenticators.revoke(tx, subject, item.id, withdrawn=True)
