"""Store the first response to a request and replay it; bodies are compared by a keyed digest."""

import hashlib
import hmac
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from crypto import opaque
from crypto.errors import KeyUnavailable
from service.domain.bounds import USUAL, Bounds, Tally, room_in
from service.domain.clock import Clock, in_force
from service.domain.errors import BadInput, Conflict, Expired, Fault, TooMany
from service.domain.ids import new_id
from service.idempotency import store
from service.store.engine import Store, Tx
from service.web.idempotency import Answer

_LIFE: Final = timedelta(hours=24)
_SECRET_LIFE: Final = timedelta(minutes=10)
_IN_FLIGHT: Final = timedelta(minutes=2)
_FULL: Final = 60
Lasting = Callable[[Tx, UUID, datetime], bool]
"""Locks a subject; returns whether it exists with nothing erased since a time."""


class Answers:
    """The stored responses; implements `service.web.api.AnswerStore`."""

    def __init__(
        self,
        database: Store,
        purpose_key: Callable[[Tx, str], bytes],
        clock: Clock,
        bounds: Bounds = USUAL,
    ) -> None:
        self._bounds = bounds
        self._tally = Tally()
        self._database = database
        self._purpose_key = purpose_key
        self._clock = clock
        self._lasting: Lasting = lambda _tx, _subject, _since: True

    def watch(self, lasting: Lasting) -> None:
        """Register the check that prevents storing responses about a subject erased meanwhile."""
        self._lasting = lasting

    def begin(self, caller: UUID, operation: str, key: str, body: bytes) -> Answer | None:
        """Return the stored response, or claim the key.

        Raises:
            BadInput: The key was used with another body, or by a token with other access.
            Conflict: The first request is still in flight.
            Expired: The stored response was erased.
        """
        now = self._clock.now()
        name = _name(caller, operation, key)
        with self._database.transaction() as tx:
            mac = hmac.new(self._purpose_key(tx, "idempotency"), body, hashlib.sha256).digest()
            kept = store.find(tx, name)
            if kept is not None and not in_force(kept.expires_at, now, _LIFE):
                store.drop(tx, name)
                tx.expunge(kept)
                kept = None
            if kept is None:
                self._require_room(tx, caller, now)
                values = {
                    "id": new_id(now),
                    "client_id": caller,
                    "name": name,
                    "body_mac": mac,
                    "status": None,
                    "content_type": "",
                    "expires_at": now + _IN_FLIGHT,
                    "answer": None,
                }
                if store.claim(tx, values):
                    return None
                raise _in_flight()
            if not opaque.equal(kept.body_mac, mac):
                code = "idempotency_mismatch"
                detail = "This Idempotency-Key was used with another body, grant or set of scopes."
                raise BadInput(Fault("", code, detail), code=code)
            if kept.status is None:
                raise _in_flight()
            answer = store.body(tx, kept)
            if answer is None:
                detail = "What this Idempotency-Key was answered with is erased."
                raise Expired("answer_erased", detail)
            return Answer(kept.status, answer, kept.content_type)

    def _require_room(self, tx: Tx, client: UUID, now: datetime) -> None:
        """Raise TooMany if a client has too many keys."""
        most = self._bounds.max_idempotency_keys
        if self._tally.full(client, most, now, lambda: store.count(tx, client, most)):
            detail = f"{most} Idempotency-Keys of this client are kept; use fewer, or wait."
            first = store.first_end(tx, client)
            # An expired one is deleted by the next maintenance run.
            wait = room_in([first], 1, now) if first and first > now else _FULL
            raise TooMany("too_many_idempotency_keys", detail, wait)

    def finish(
        self, caller: UUID, operation: str, key: str, *, answer: Answer, secret: bool
    ) -> None:
        """Store the response, sealed; one with a secret for ten minutes only."""
        name = _name(caller, operation, key)
        life = _SECRET_LIFE if secret else _LIFE

        def keep(tx: Tx) -> None:
            begun = store.begun(tx, name)
            about = answer.about
            # Lock the subject before its rows (ADR 6).
            lasts = (
                begun is None
                or about is None
                or self._lasting(tx, about.subject, begun - _IN_FLIGHT)
            )
            kept = store.find(tx, name)
            if kept is None:
                return
            kept.status = answer.status
            kept.content_type = answer.content_type
            kept.expires_at = self._clock.now() + life
            try:
                store.keep(tx, kept, answer.body if lasts else None, about)
            except KeyUnavailable:
                # Another process handled the request; this one lacks the key to store the response.
                tx.expunge(kept)
                store.drop(tx, name)

        self._database.unit(keep)

    def abandon(self, caller: UUID, operation: str, key: str) -> None:
        """Release the key, so that the request may be retried."""
        with self._database.transaction() as tx:
            store.drop(tx, _name(caller, operation, key))

    def drop_expired(self, tx: Tx, now: datetime) -> int:
        """Delete expired responses; return how many."""
        return store.drop_expired(tx, now)


def _name(caller: UUID, operation: str, key: str) -> str:
    return hashlib.sha256(f"{caller}\n{operation}\n{key}".encode()).hexdigest()


def _in_flight() -> Conflict:
    return Conflict("request_in_flight", "The first request with this key is not answered yet.")
