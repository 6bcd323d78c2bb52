"""Sign records that must be verifiable longer than any token: certificates and key reports."""

from collections.abc import Mapping

from crypto.signing import SigningKey, sign_jwt
from service.domain.clock import Clock, rfc3339, unix
from service.domain.ids import new_id
from service.keys.store import hierarchy as store
from service.keys.store.hierarchy import RecordKeyRow
from service.keys.views import RecordKeySet, RecordKeyView, published
from service.store.engine import Tx


class RecordKeys:
    """Signing keys of class `receipt`; their public parts remain published forever."""

    def __init__(self, clock: Clock, issuer: str) -> None:
        self._clock = clock
        self._issuer = issuer

    def sign(self, tx: Tx, kind: str, claims: Mapping[str, object]) -> str:
        """Return a compact JWS (RFC 7515) over the claims, with `typ` ``lamina-<kind>+jwt``.

        Raises:
            KeyUnavailable: This process does not hold the class `receipt`.
        """
        now = self._clock.now()
        whole = {"iss": self._issuer, "iat": unix(now), "jti": str(new_id(now))} | dict(claims)
        return sign_jwt(self._key(tx), whole, f"lamina-{kind}+jwt")

    def published(self, tx: Tx) -> RecordKeySet:
        """Return all public keys as a JSON Web Key Set, each with its validity period."""
        return {"keys": [_view(row) for row in store.record_keys(tx)]}

    def renew(self, tx: Tx) -> str:
        """End the current key, delete its private part, and return the kid of a new one."""
        for row in store.record_keys(tx):
            if row.ended_at is None:
                row.ended_at = self._clock.now()
                row.private = None
        tx.flush()
        return self._create(tx).kid

    def _key(self, tx: Tx) -> SigningKey:
        current = [row for row in store.record_keys(tx) if row.ended_at is None]
        if not current:
            return self._create(tx)
        private = current[-1].private
        if private is None:
            return self._create(tx)
        return SigningKey.from_bytes(private)

    def _create(self, tx: Tx) -> SigningKey:
        key = SigningKey.generate()
        now = self._clock.now()
        row = RecordKeyRow(
            id=new_id(now), kid=key.kid, public_jwk=key.public_jwk(), created_at=now, ended_at=None
        )
        row.private = key.to_bytes()
        tx.add(row)
        tx.flush()
        return key


def _view(row: RecordKeyRow) -> RecordKeyView:
    ended = rfc3339(row.ended_at) if row.ended_at else None
    began = rfc3339(row.created_at)
    return {**published(row.public_jwk), "valid_from": began, "valid_until": ended}
