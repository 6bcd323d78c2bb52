"""Sign and verify access tokens (RFC 9068)."""

from datetime import datetime
from typing import Final, cast

from crypto.errors import SignatureInvalid
from crypto.signing import sign_jwt, verify_jwt
from service.clients.model import Client
from service.domain.clock import Clock, unix
from service.domain.ids import new_id
from service.keys.actions import SigningKeys
from service.sessions.actions import SessionValue
from service.tokens.model import ACCESS_LIFE
from service.tokens.views import AccessClaims, LevelClaims, SubjectClaims, TokenView

_TYP: Final = "at+jwt"


class AccessTokens:
    """Signs and verifies access tokens (RFC 9068)."""

    def __init__(self, signing: SigningKeys, clock: Clock, issuer: str) -> None:
        self._signing = signing
        self._clock = clock
        self.issuer = issuer

    def answer(
        self, client: Client, claims: SubjectClaims, scope: str, until: datetime | None = None
    ) -> TokenView:
        """Return a token response with a new access token.

        Args:
            client: The client that receives it.
            claims: Further claims.
            scope: The granted scope.
            until: The latest expiry, so that local verification cannot outlive the session.
        """
        now = self._clock.now()
        ends = min(now + ACCESS_LIFE, until or now + ACCESS_LIFE)
        whole: AccessClaims = {
            "iss": self.issuer,
            "client_id": str(client.id),
            "iat": unix(now),
            "exp": unix(ends),
            "jti": str(new_id(now)),
            "scope": scope,
            **claims,
        }
        return {
            "access_token": sign_jwt(self._signing.active, whole, _TYP),
            "token_type": "Bearer",
            "expires_in": unix(ends) - unix(now),
            "scope": scope,
        }

    def claims(self, token: str, audience: str | None) -> AccessClaims | None:
        """Return the claims of a valid token of this issuer, else None."""
        try:
            found = verify_jwt(
                token,
                self._signing.jwks(),
                typ=_TYP,
                issuer=self.issuer,
                audience=audience,
                now=unix(self._clock.now()),
            )
        except SignatureInvalid:
            return None
        # A key of this issuer signed it, and those sign what `answer` puts together only.
        return cast("AccessClaims", found)


def level_claims(session: SessionValue) -> LevelClaims:
    """Return the claims of the level that a session has now."""
    level = session.level
    if level.auth_time is None:
        # A session without current evidence reports no methods and no level.
        return {"amr": []}
    return {"acr": level.acr.urn, "amr": list(level.amr), "auth_time": unix(level.auth_time)}
