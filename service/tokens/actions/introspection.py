"""Introspect tokens of a client (RFC 7662)."""

from typing import Final

from service.clients.model import Client
from service.domain.clock import unix
from service.domain.ids import parse_id
from service.sessions.actions import Sessions
from service.store.bearer import token_digest
from service.store.engine import Tx
from service.tokens import store
from service.tokens.actions.access import AccessTokens, level_claims
from service.tokens.views import IntrospectionView

_INACTIVE: Final[IntrospectionView] = {"active": False}


class Introspection:
    """Reports the state of a token to its client; any other token is reported as inactive."""

    def __init__(self, access: AccessTokens, sessions: Sessions) -> None:
        self._access = access
        self._unrevoked = sessions.finding.unless(store.REVOKED)
        self._behind_refresh = sessions.finding.behind(store.refresh_before)

    def access(self, tx: Tx, client: Client, token: str) -> IntrospectionView:
        """Return the state of an access token."""
        claims = self._access.claims(token, str(client.id))
        jti = parse_id(str(claims.get("jti"))) if claims else None
        if claims is None or jti is None:
            return _INACTIVE
        sid = str(claims.get("sid"))
        session_id = parse_id(sid)
        session = self._unrevoked(tx, session_id, {"b_jti": jti}) if session_id else None
        if session is None:
            return _INACTIVE
        # Report the current level, or none: never the one from when the token was signed.
        return {
            "active": True,
            "token_type": "Bearer",
            "iss": claims["iss"],
            "client_id": claims["client_id"],
            "iat": claims["iat"],
            "exp": claims["exp"],
            "jti": claims["jti"],
            "scope": claims["scope"],
            "sub": claims["sub"],
            "aud": claims["aud"],
            "sid": sid,
            **level_claims(session),
        }

    def refresh(self, tx: Tx, client: Client, token: str) -> IntrospectionView:
        """Return the state of a refresh token."""
        values = {"b_digest": token_digest(tx, token, "refresh")}
        cells, _, session = self._behind_refresh(tx, values)
        row = store.refresh_of(tx, cells)
        if row is None or row.client_id != client.id or row.used_at is not None:
            return _INACTIVE
        if session is None:
            return _INACTIVE
        return {
            "active": True,
            "iss": self._access.issuer,
            "sub": str(session.subject),
            "client_id": str(client.id),
            "exp": unix(row.expires_at),
            "sid": str(session.id),
            **level_claims(session),
        }
