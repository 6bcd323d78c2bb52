"""Score pictures against a stored face outside any flow; counted, and no evidence."""

from collections.abc import Sequence
from uuid import UUID

from biometrics.face.frames import Frame
from service.accounts.actions.accounts import Accounts
from service.audit.actions.audit_log import AuditLog
from service.domain.caller import Caller
from service.domain.errors import BadInput, Unavailable, VerificationFailed
from service.domain.fault_views import set_aside
from service.factors.face.actions import FaceFactor
from service.factors.face.comparing import FaceMaterial, Scored
from service.factors.face.model import (
    NOT_ASKED,
    InputFrame,
    Mode,
    check_stills,
    cut_off,
    decode,
    transcribed,
)
from service.factors.face.views import FaceScoreView
from service.store.engine import Store, Tx
from service.throttling.actions import Reservation, Throttling
from service.throttling.model import Counter, Lane


class FaceScores:
    """Compares pictures from other services with stored faces."""

    def __init__(
        self,
        *,
        database: Store,
        accounts: Accounts,
        throttling: Throttling,
        face: FaceFactor,
        audit: AuditLog,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._throttling = throttling
        self._face = face
        self._audit = audit

    def score(self, caller: Caller, subject: UUID, frames: Sequence[InputFrame]) -> FaceScoreView:
        """Return whether pictures show a subject, as yes or no without a score.

        This is an attempt on the counter of a flow's face factor: it is reserved before anything is
        read and released only on a match. A subject without a face, or without consent, takes the
        same time and gets the same response as one with a face that differs.

        Raises:
            NotFound: There is no such subject for this caller.
            BadInput: A picture is not usable; nothing was compared or counted.
            Throttled: The account is delayed.
            Unavailable: There is no engine, or its queue is too long.
        """
        pictures = decode(frames)
        check_stills(pictures)
        with self._database.transaction() as tx:
            account = self._accounts.served(tx, caller, subject)
            bucket = self._throttling.bucket(tx, f"subject:{account.id}")
            attempt = self._throttling.reserve(tx, bucket, Lane.STRANGER, Counter.FACE)
            material = self._face.load(tx, account.id)
            mode = self._face.mode((account.segment,))
        self._database.outside()
        record = transcribed({}, pictures)
        scored = self._compared(attempt, material, pictures, mode)

        def settle(tx: Tx) -> Scored:
            self._accounts.lock(tx, subject)
            settled = self._settled(tx, attempt, scored)
            self._audit.append(
                tx,
                "face.scored",
                subject=account.id,
                actor=caller.actor,
                matched=settled.match is not None,
                reason=settled.reason,
                **record,
            )
            return settled

        scored = self._database.unit(settle)
        return {
            "matched": scored.match is not None,
            "band": scored.band.label,
            "quality": round(scored.quality, 2),
            "liveness": {
                "mode": mode.value,
                "passed": False,
                "reasons": [NOT_ASKED, *scored.against],
            },
            **set_aside(cut_off(pictures)),
        }

    def _compared(
        self,
        attempt: Reservation,
        material: FaceMaterial | None,
        pictures: Sequence[Frame],
        mode: Mode,
    ) -> Scored:
        try:
            return self._face.score(material, pictures, mode)
        except (BadInput, Unavailable):
            with self._database.transaction() as tx:
                self._throttling.release(tx, attempt)
            raise

    def _settled(self, tx: Tx, attempt: Reservation, scored: Scored) -> Scored:
        """Consume the frames of a match and release its attempt; frames match only once."""
        if scored.match is None:
            return scored
        try:
            self._face.use(tx, scored.match)
        except VerificationFailed as used:
            return scored.refused(used.reason)
        self._throttling.release(tx, attempt)
        return scored
