"""Recognize devices by a signed token that is rotated at each completed login."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from crypto.errors import SignatureInvalid
from crypto.signing import sign_mac_jwt, verify_mac_jwt
from service.devices import store
from service.domain.bounds import USUAL, Bounds
from service.domain.clock import Clock, unix
from service.domain.ids import new_id, parse_id
from service.store.ahead import PlannedRead
from service.store.engine import Tx
from service.store.erasing import EVERYTHING, ends_after_restore, erases

LIFE: Final = timedelta(days=180)
_TYP: Final = "lamina-device+jwt"
_PURPOSE: Final = "device-token"


@dataclass(frozen=True, slots=True)
class Device:
    """A recognized device, in one generation of its token."""

    id: UUID
    generation: int


@dataclass(frozen=True, slots=True)
class Issued:
    """A device with its new token, disclosed once."""

    id: UUID
    token: str = field(repr=False)


class Devices:
    """The known devices."""

    def __init__(
        self, purpose_key: Callable[[Tx, str], bytes], clock: Clock, bounds: Bounds = USUAL
    ) -> None:
        self._purpose_key = purpose_key
        self._clock = clock
        self._bounds = bounds

    def recognize(self, tx: Tx, token: str, subject: UUID) -> Device | None:
        """Return the subject's device with this as its newest token, or None."""
        now = self._clock.now()
        try:
            claims = verify_mac_jwt(self._purpose_key(tx, _PURPOSE), token, typ=_TYP, now=unix(now))
        except SignatureInvalid:
            return None
        found = parse_id(str(claims.get("did")))
        row = store.get(tx, found) if found else None
        if row is None or row.subject_id != subject or row.generation != claims.get("gen"):
            return None
        return Device(row.id, row.generation)

    def ahead(self, subject: UUID) -> PlannedRead:
        """Return what `renew` reads for a new device."""
        return store.count_ahead(subject)

    def renew(self, tx: Tx, subject: UUID, known: Device | None) -> Issued:
        """Return the next token of a known device, or the first token of a new one.

        Only a flow with fresh verification of the person may call it.
        """
        now = self._clock.now()
        expires = now + LIFE
        if known and store.rotate(tx, known.id, known.generation, expires):
            return Issued(known.id, self._token(tx, known.id, known.generation + 1, expires))
        if store.count(tx, subject) >= self._bounds.max_devices:
            store.drop_surplus(tx, subject, self._bounds.max_devices - 1)
        device = new_id(now)
        values = {
            "id": device,
            "subject_id": subject,
            "generation": 1,
            "created_at": now,
            "expires_at": expires,
        }
        store.add(tx, values)
        return Issued(device, self._token(tx, device, 1, expires))

    @erases(EVERYTHING, tables=("known_device",))
    def delete_for(self, tx: Tx, subject: UUID, but: UUID | None = None) -> int:
        """Delete the devices of a subject, optionally except one, after a security change."""
        return store.drop(tx, subject, but)

    @ends_after_restore
    def forget_all(self, tx: Tx) -> int:
        """Delete all devices after a restore, which may have revived deleted ones."""
        return store.drop_all(tx)

    def drop_expired(self, tx: Tx, now: datetime) -> int:
        """Delete expired devices; return how many."""
        return store.drop_expired(tx, now)

    def _token(self, tx: Tx, device: UUID, generation: int, expires: datetime) -> str:
        now = self._clock.now()
        claims = {"did": str(device), "gen": generation, "iat": unix(now), "exp": unix(expires)}
        return sign_mac_jwt(self._purpose_key(tx, _PURPOSE), claims, _TYP)
