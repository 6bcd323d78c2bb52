"""Enroll and check faces: read outside every transaction, a bounded number at a time."""

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import orjson

from biometrics.face import (
    ENROLLMENT,
    PROBE,
    EngineUnavailable,
    FaceEngine,
    FaceMismatch,
    FaceReading,
    FrameRefused,
    QualityPolicy,
    enroll_template,
    match_template,
)
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
from service.factors.face.model import Input, answer, decode, new_challenge
from service.factors.face.store import TemplateSecret
from service.store.engine import Tx
from service.telemetry import logs

TYPE: Final = "face"
CONSENT: Final = "face"
_SECRET_BYTES: Final = 32
_WAIT_SECONDS: Final = 5.0
Material = tuple[Verifier, bytes]


def default_cache() -> Path:
    """Return where converted weights are kept when no setting says so."""
    return Path.home() / ".cache" / "lamina" / "face"


class Reader:
    """The face engine of this process, opened when first needed; without one, no face passes."""

    def __init__(self, open_engine: Callable[[], FaceEngine] | None, at_once: int) -> None:
        self._open = open_engine
        self._engine: FaceEngine | None = None
        self._lock = threading.Lock()
        self._turns = threading.BoundedSemaphore(at_once)

    @classmethod
    def of(cls, setting: str, models: Path | None, at_once: int) -> "Reader":
        """Return the engine that the settings name."""
        if setting == "off":
            return cls(None, at_once)
        cache = models or default_cache()
        return cls(lambda: FaceEngine.open(cache), at_once)

    def available(self) -> bool:
        """Tell whether faces can be checked here; opens the engine."""
        return self.get() is not None

    def get(self) -> FaceEngine | None:
        """Return the engine, or None where it is off or cannot be opened."""
        with self._lock:
            if self._engine is None and self._open is not None:
                try:
                    self._engine = self._open()
                except EngineUnavailable as error:
                    logs.get().error("face_engine_unavailable", error=str(error))
                    self._open = None
            return self._engine

    def read(self, pictures: Sequence[bytes], policy: QualityPolicy) -> list[FaceReading]:
        """Return a reading of each picture.

        Raises:
            BadInput: A picture is not usable; the detail tells the person what to do.
            Unavailable: There is no engine, or too many pictures wait.
        """
        engine = self.get()
        if engine is None:
            raise Unavailable("face_unavailable", "Faces cannot be checked here.", 60)
        if not self._turns.acquire(timeout=_WAIT_SECONDS):
            raise Unavailable("overloaded", "Too many faces are being checked.", 1)
        try:
            return [_read(engine, number, item, policy) for number, item in enumerate(pictures)]
        finally:
            self._turns.release()


def _read(engine: FaceEngine, number: int, picture: bytes, policy: QualityPolicy) -> FaceReading:
    try:
        return engine.read(picture, policy)
    except FrameRefused as refused:
        raise BadInput(Fault(f"/frames/{number}/image", refused.code, refused.advice)) from None


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

    def __init__(self, authenticators: Authenticators, reader: Reader, clock: Clock) -> None:
        self._authenticators = authenticators
        self._reader = reader
        self._clock = clock

    def parse(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the validated input, the pictures decoded from base64."""
        found = dict(super().parse(values))
        return found | {"pictures": decode(found.pop("frames"))}

    def challenge(self) -> dict[str, Any]:
        """Return a fresh challenge."""
        return new_challenge(self._clock.now())

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
        challenge = self.challenge()
        added = self._authenticators.add(
            tx, subject, TYPE, orjson.dumps(challenge), status=Status.PENDING
        )
        return {"id": str(added.id), "status": added.status.value, "challenge": challenge}

    def compare(self, pending: Verifier, values: Mapping[str, Any], now: datetime) -> Match:
        """Make a template of frames that answer the challenge and show one person."""
        presented = self.parse(values)
        answer(orjson.loads(pending.secret), presented["challenge_id"], now)
        readings = self._reader.read(presented["pictures"], ENROLLMENT)
        secret = opaque.random_bytes(_SECRET_BYTES)
        try:
            template = enroll_template(readings, secret)
        except FaceMismatch:
            raise VerificationFailed("face_frames_differ") from None
        return Match(pending.authenticator, secret, template)

    def confirm(self, tx: Tx, pending: Verifier, match: Match) -> None:
        """Keep the template in the place of an earlier one, its secret in a row of its own."""
        now = self._clock.now()
        self._authenticators.confirm(tx, pending.subject, pending.authenticator, match.verifier)
        row = TemplateSecret(
            id=new_id(now), authenticator_id=pending.authenticator, subject_id=pending.subject,
            created_at=now,
        )  # fmt: skip
        row.secret = match.used
        tx.add(row)
        tx.flush()
        store.drop(tx, pending.subject, keep=pending.authenticator)

    def load(self, tx: Tx, subject: UUID) -> Material | None:
        """Read template and secret; a face is asked for only after another factor."""
        found = self._authenticators.verifier(tx, subject, subject, TYPE)
        row = store.secret_of(tx, found.authenticator) if found else None
        return (found, row.secret) if found and row else None

    def check(self, material: Material | None, presented: Presented, now: datetime) -> Match:
        """Compare the mean of the frames with the template."""
        answer(presented.challenge, presented.values["challenge_id"], now)
        if material is None:
            raise VerificationFailed("no_face")
        readings = self._reader.read(presented.values["pictures"], PROBE)
        verifier, secret = material
        try:
            score = match_template(verifier.secret, secret, readings)
        except FaceMismatch:
            raise VerificationFailed("face_mismatch") from None
        return Match(verifier.authenticator, llr=score.llr)

    def settle(self, tx: Tx, match: Match, now: datetime) -> None:  # noqa: ARG002 - the protocol's signature
        """Note the use; the flow has used the challenge up."""
        self._authenticators.used(tx, match.authenticator)

    def forget(self, tx: Tx, subject: UUID) -> None:
        """End the face of a subject who withdrew the consent."""
        store.drop(tx, subject)
        for item in self._authenticators.listing(tx, subject):
            if item.type == TYPE:
                self._authenticators.revoke(tx, subject, item.id)
