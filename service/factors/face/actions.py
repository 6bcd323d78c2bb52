"""Enroll, check and renew faces: read outside every transaction."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson

from biometrics.face import (
    ENROLLMENT,
    PROBE,
    FaceMismatch,
    QualityPolicy,
    enroll_template,
    match_template,
    renew_template,
)
from biometrics.face.active import Gesture
from biometrics.face.frames import Frame
from biometrics.face.sequence import Frontal
from crypto import opaque
from service.authenticators.actions import Authenticators
from service.authenticators.typed import TypedFactor
from service.domain.assurance import Kind
from service.domain.authenticator import Status, Verifier
from service.domain.clock import Clock
from service.domain.errors import BadInput, Fault, Unavailable, VerificationFailed
from service.domain.factor import Match, Presented
from service.domain.ids import new_id
from service.factors.face import store
from service.factors.face.model import (
    ENROLLED_FRAMES,
    Input,
    Mode,
    answer,
    decode,
    digests,
    new_challenge,
    remember,
)
from service.factors.face.reader import Reader
from service.factors.face.store import TemplateSecret
from service.store.engine import Tx

TYPE: Final = "face"
CONSENT: Final = "face"
ALERT_FROM: Final = 90_000
"""Stored faces that raise the alarm: China's measures of 2025 ask for a filing from 100,000 on."""
_SECRET_BYTES: Final = 32


class Material(NamedTuple):
    """What a check needs of a subject."""

    verifier: Verifier
    secret: bytes
    seen: bytes


class Used(NamedTuple):
    """What an accepted capture leaves: the secret of a new template, and hashes of its frames."""

    secret: bytes
    seen: bytes


class FaceFactor(TypedFactor):
    """The factor `face`."""

    name = "face"
    kind = Kind.INHERENCE
    counter = "face"
    amr: tuple[str, ...] = ("face",)
    slow = True
    type = TYPE
    form = Input
    consent = CONSENT

    def __init__(
        self, authenticators: Authenticators, reader: Reader, clock: Clock,
        mode: Mode = Mode.ACTIVE,
    ) -> None:  # fmt: skip
        self._authenticators = authenticators
        self._reader = reader
        self._clock = clock
        self._mode = mode

    def parse(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the validated input, the pictures decoded from base64."""
        found = dict(super().parse(values))
        return found | {"frames": decode(found["frames"])}

    def challenge(self) -> dict[str, Any]:
        """Return a fresh challenge."""
        return new_challenge(self._clock.now(), self._mode)

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
        challenge = new_challenge(self._clock.now(), self._mode, ENROLLED_FRAMES)
        added = self._authenticators.add(
            tx, subject, TYPE, orjson.dumps(challenge), status=Status.PENDING
        )
        return {"id": str(added.id), "status": added.status.value, "challenge": challenge}

    def compare(self, pending: Verifier, values: Mapping[str, Any], now: datetime) -> Match:
        """Make a template of frames that answer the challenge and show one person."""
        presented = self.parse(values)
        frames = presented["frames"]
        challenge = orjson.loads(pending.secret)
        gestures = answer(challenge, presented["challenge_id"], frames, now)
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
        return Match(pending.authenticator, Used(secret, digests(frames)), template)

    def again(self, tx: Tx, pending: Verifier) -> dict[str, Any]:
        """Give a pending face a fresh challenge: the one before is used up."""
        challenge = new_challenge(self._clock.now(), self._mode, ENROLLED_FRAMES)
        self._authenticators.rewrite(tx, pending.authenticator, orjson.dumps(challenge))
        return {"challenge": challenge}

    def confirm(self, tx: Tx, pending: Verifier, match: Match) -> None:
        """Keep the template in the place of an earlier one, its secret in a row of its own."""
        now = self._clock.now()
        self._authenticators.confirm(tx, pending.subject, pending.authenticator, match.verifier)
        row = TemplateSecret(
            id=new_id(now), authenticator_id=pending.authenticator, subject_id=pending.subject,
            created_at=now,
        )  # fmt: skip
        row.secret, row.seen = match.used
        tx.add(row)
        tx.flush()
        store.drop(tx, pending.subject, keep=pending.authenticator)

    def load(self, tx: Tx, subject: UUID) -> Material | None:
        """Read template and secret; a face is asked for only after another factor."""
        found = self._authenticators.verifier(tx, subject, subject, TYPE)
        row = store.secret_of(tx, found.authenticator) if found else None
        return Material(found, row.secret, row.seen or b"") if found and row else None

    def check(self, material: Material | None, presented: Presented, now: datetime) -> Match:
        """Compare the mean of the frontal frames with the template."""
        frames = presented.values["frames"]
        gestures = answer(presented.challenge, presented.values["challenge_id"], frames, now)
        if material is None:
            raise VerificationFailed("no_face")
        added = digests(frames)
        remember(material.seen, added)
        readings = self._read(frames, gestures, PROBE)
        try:
            score = match_template(material.verifier.secret, material.secret, readings)
        except FaceMismatch:
            raise VerificationFailed("face_mismatch") from None
        return Match(material.verifier.authenticator, Used(b"", added), llr=score.llr)

    def settle(self, tx: Tx, match: Match, now: datetime) -> None:  # noqa: ARG002 - the protocol's signature
        """Note the use and the frames, which are accepted this once."""
        row = store.secret_of(tx, match.authenticator, lock=True)
        if row is None:
            raise VerificationFailed("authenticator_revoked")
        row.seen = remember(row.seen or b"", match.used.seen)
        self._authenticators.used(tx, match.authenticator)

    def renew(self, tx: Tx, subject: UUID) -> bool:
        """Move a subject's template to a new secret, without the subject; False without a face."""
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

    def forget(self, tx: Tx, subject: UUID) -> None:
        """End the face of a subject who withdrew the consent."""
        store.drop(tx, subject)
        for item in self._authenticators.listing(tx, subject):
            if item.type == TYPE:
                self._authenticators.revoke(tx, subject, item.id)
