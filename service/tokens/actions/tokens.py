"""The token endpoint, and which access tokens authorize (RFC 6749, 7009)."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from crypto import opaque
from service.audit.actions.audit_log import AuditLog
from service.clients.actions import Clients
from service.clients.model import Client
from service.domain.caller import Caller
from service.domain.clock import Clock, in_force
from service.domain.errors import Busy, Forbidden, OAuthError, Unauthorized
from service.domain.ids import new_id, parse_id
from service.operators.actions import Operators
from service.sessions.actions import Sessions, SessionValue
from service.store.authentic import insert_later
from service.store.bearer import token_digest
from service.store.engine import Store, Tx
from service.store.recent import Recent
from service.tokens import store
from service.tokens.actions.access import AccessTokens, level_claims
from service.tokens.actions.introspection import Introspection
from service.tokens.model import (
    ACCESS_LIFE,
    CODE_LIFE,
    FLOW_GRANT,
    FLOW_LIFE,
    INTROSPECT,
    Credentials,
    granted_scope,
    invalid_client,
    invalid_grant,
)
from service.tokens.store import CompletionCode, RefreshCells
from service.tokens.views import (
    AccessClaims,
    IntrospectionView,
    SubjectClaims,
    TokenView,
)

_USED: Final = "The refresh token is used, revoked or expired."
_REFRESH_PREFIX: Final = "lref_"
_CODE_PREFIX: Final = "lcode_"


class Tokens:
    """The token endpoint, introspection and revocation.

    During the time `grace`, a used refresh token returns its successor again while that is unused:
    a client that lost the response to a network failure can retry.
    """

    def __init__(  # noqa: PLR0913 - one argument per feature it depends on
        self,
        *,
        database: Store,
        clients: Clients,
        sessions: Sessions,
        access: AccessTokens,
        operators: Operators,
        audit: AuditLog,
        clock: Clock,
        grace: timedelta,
        kept: float = 0.0,
    ) -> None:
        self._recent: Recent[tuple[UUID, UUID], Client] = Recent(kept)
        self._grace = grace
        self._operators = operators
        self._database = database
        self._clients = clients
        self._unrevoked = clients.active_unless(store.REVOKED)
        self._sessions = sessions
        self._access = access
        self._introspection = Introspection(access, sessions)
        self._hold_code = sessions.holder(store.code_before)
        self._hold_refresh = sessions.holder(store.refresh_before)
        self._behind_refresh = sessions.finding.behind(store.refresh_before)
        self._audit = audit
        self._clock = clock
        self._authenticated: Callable[[UUID], None] = _uncounted

    def on_authenticated(self, listener: Callable[[UUID], None]) -> None:
        """Register what hears of each authenticated client; its error refuses the call."""
        self._authenticated = listener

    def issue_code(self, tx: Tx, session: SessionValue) -> str:
        """Return a completion code, shown only once, for the client of a session."""
        code = opaque.new_token(_CODE_PREFIX)
        values = {
            "digest": token_digest(tx, code, "completion"),
            "client_id": session.client,
            "session_id": session.id,
            "expires_at": self._clock.now() + CODE_LIFE,
            "used_at": None,
        }
        insert_later(tx, CompletionCode, values)
        return code

    def authorize(self, token: str) -> Caller:
        """Return the client, or the operator, of an access token for this API.

        Raises:
            Unauthorized: The token is invalid, or its client or operator may no longer act.
            Forbidden: The operator must sign in more strongly (RFC 9470).
        """
        claims = self._access.claims(token, self._access.issuer)
        jti = parse_id(str(claims.get("jti"))) if claims else None
        client_id = parse_id(str(claims.get("client_id"))) if claims else None
        if claims is None or jti is None or client_id is None:
            raise _unauthorized()
        if claims["sub"] != str(client_id):
            return self._operator(client_id, jti, claims)
        client = self._recent.get((client_id, jti))
        if client is None:
            mark = self._recent.mark()
            with self._database.reading() as tx:
                client = self._unrevoked(tx, client_id, {"b_jti": jti})
            if client is None:
                raise _unauthorized()
            self._recent.put((client_id, jti), client, mark)
        return _caller(client, frozenset(str(claims["scope"]).split()) & client.scopes)

    def forget(self) -> None:
        """Forget all tokens found valid, since a client has changed or a token was revoked."""
        self._recent.drop()

    def _operator(self, client_id: UUID, jti: UUID, claims: AccessClaims) -> Caller:
        session_id = parse_id(str(claims.get("sid")))
        # Session, roles and level are read at every call: a withdrawal takes effect at once.
        with self._database.reading() as tx:
            client = self._unrevoked(tx, client_id, {"b_jti": jti})
            session = self._sessions.find(tx, session_id) if session_id else None
            if client is None or session is None or session.client != client.id:
                raise _unauthorized()
            scopes = self._operators.roles.scopes(tx, session.subject)
        if not scopes:
            raise _unauthorized()
        self._require_level(session)
        return _caller(client, scopes, operator=session.subject)

    def _require_level(self, session: SessionValue) -> None:
        needed = self._operators.level
        if session.level.acr < needed:
            detail = f"An operator must be signed in at {needed.urn}."
            code = "insufficient_user_authentication"
            raise Forbidden(code, detail, acr_values=needed.urn)

    def operator_of(self, tx: Tx, token: str, client: UUID) -> UUID | None:
        """Return the subject of an access token, if signed in at the level for operators."""
        found = self.session_of(tx, token, client)
        if found is None or found[0].level.acr < self._operators.level:
            return None
        return found[0].subject

    def is_active(self, tx: Tx, session: UUID, token: UUID | None) -> bool:
        """Return whether a session is active and the access token that proved it not revoked."""
        if token is not None and store.revoked(tx, token):
            return False
        return self._sessions.find(tx, session) is not None

    def session_of(self, tx: Tx, token: str, client: UUID) -> tuple[SessionValue, UUID] | None:
        """Return the session of a subject's access token, and its `jti`, with the subject locked.

        None if the token was issued to another client, has expired or was revoked, or its session
        has ended.
        """
        claims = self._access.claims(token, str(client))
        jti = parse_id(str(claims.get("jti"))) if claims else None
        session = parse_id(str(claims.get("sid"))) if claims else None
        if session is None or jti is None:
            return None
        self._sessions.hold(tx, session)
        found = None if store.revoked(tx, jti) else self._sessions.find(tx, session)
        return (found, jti) if found and found.client == client else None

    def named_session(self, token: str, client: UUID) -> str | None:
        """Return the session that an access token of a client names, active or not."""
        claims = self._access.claims(token, str(client))
        return str(claims["sid"]) if claims and "sid" in claims else None

    def introspect(self, credentials: Credentials, token: str) -> IntrospectionView:
        """Introspect a client's own token; any other is reported as inactive."""
        client = self._client(credentials)
        if INTROSPECT not in client.scopes:
            detail = f"This needs the scope {INTROSPECT}."
            raise OAuthError("unauthorized_client", detail, 403)
        with self._database.reading() as tx:
            if token.startswith(_REFRESH_PREFIX):
                return self._introspection.refresh(tx, client, token)
            return self._introspection.access(tx, client, token)

    def _known(self, credentials: Credentials) -> Client | None:
        """Return a client that showed the same secret a moment ago; None to read it."""
        if credentials.assertion:
            return None
        return self._clients.recognized(credentials.client_id, credentials.secret)

    def _client(self, credentials: Credentials) -> Client:
        """Return the authenticated client, counted outside any transaction.

        Raises:
            OAuthError: It does not authenticate.
            TooMany: It calls too often.
        """
        client = self._known(credentials)
        if client is None:
            # An assertion counts once, which is written.
            written = bool(credentials.assertion)
            with self._database.transaction() if written else self._database.reading() as tx:
                client = self.authenticate(tx, credentials)
                self._audit.act_for(tx, client.id)
        self._authenticated(client.id)
        return client

    def revoke(self, credentials: Credentials, token: str) -> None:
        """Revoke a token of the client; a refresh token ends its session (RFC 7009)."""
        client = self._client(credentials)
        with self._database.transaction() as tx:
            self._audit.act_for(tx, client.id)
            # Read the authenticated row: a row from outside this service must not end a session.
            row = store.refresh_token(tx, token_digest(tx, token, "refresh"))
            if row is not None and row.client_id == client.id:
                self._sessions.hold(tx, row.session_id)
                self._sessions.end(tx, row.session_id, "revoked", str(client.id))
                return
            claims = self._access.claims(token, None)
            jti = parse_id(str(claims.get("jti"))) if claims else None
            if claims and jti and claims.get("client_id") == str(client.id):
                known_until = datetime.fromtimestamp(claims["exp"], UTC) + FLOW_LIFE
                store.revoke(tx, jti, known_until)
                self._audit.append(tx, "token.revoked", actor=str(client.id), jti=str(jti))

    def list_revoked(self, tx: Tx, jti: UUID, at: datetime) -> bool:
        """List an access token as revoked again; return False if it is listed or has expired."""
        if at + ACCESS_LIFE <= self._clock.now() or store.revoked(tx, jti):
            return False
        store.revoke(tx, jti, at + ACCESS_LIFE)
        return True

    def authenticate(self, tx: Tx, credentials: Credentials) -> Client:
        """Return the authenticated client; raises `invalid_client`."""
        try:
            if credentials.assertion:
                audiences = [self._access.issuer, f"{self._access.issuer}/oauth2/token"]
                client = self._clients.authenticate_assertion(
                    tx, credentials.client_id, credentials.assertion, audiences
                )
            else:
                client = self._clients.authenticate_secret(
                    tx, credentials.client_id, credentials.secret
                )
        except Unauthorized as error:
            raise invalid_client(error.detail) from None
        return client

    def drop_expired(self, tx: Tx, now: datetime) -> int:
        """Delete a page of expired rows; return how many."""
        return store.drop_expired(tx, now)

    def delete_of_sessions(self, tx: Tx, sessions: Sequence[UUID]) -> None:
        """Delete the codes and refresh tokens issued for deleted sessions."""
        store.delete_of_sessions(tx, sessions)

    def token(self, credentials: Credentials, form: Mapping[str, str]) -> TokenView:
        """Return the response to a request at the token endpoint; raises OAuthError."""
        grant = form.get("grant_type", "")
        if not grant:
            raise OAuthError("invalid_request", "grant_type is missing.")
        if grant == "client_credentials":
            return self._for_client(credentials, form.get("scope"))
        client = self._client(credentials)
        with self._database.transaction() as tx:
            self._audit.act_for(tx, client.id)
            if grant == FLOW_GRANT:
                answer: TokenView | OAuthError = self._for_code(tx, client, form)
            elif grant == "refresh_token":
                answer = self._refresh(tx, client, form)
            else:
                known = f"Supported are client_credentials, refresh_token and {FLOW_GRANT}."
                raise OAuthError("unsupported_grant_type", known)
        # A reuse ends the session; that is committed before the refusal is raised.
        if isinstance(answer, OAuthError):
            raise answer
        return answer

    def _for_client(self, credentials: Credentials, scope: str | None) -> TokenView:
        return self._client_answer(self._client(credentials), scope)

    def _client_answer(self, client: Client, scope: str | None) -> TokenView:
        granted = granted_scope(scope, client.scopes, client.idle)
        claims: SubjectClaims = {"sub": str(client.id), "aud": self._access.issuer}
        return self._access.answer(client, claims, granted)

    def _for_code(self, tx: Tx, client: Client, form: Mapping[str, str]) -> TokenView:
        if not client.first_party:
            raise OAuthError("unauthorized_client", "Only first-party clients use this grant.")
        digest = token_digest(tx, form.get("code", ""), "completion")
        self._hold_code(tx, {"b_digest": digest, "b_client": client.id})
        session_id = store.use_code(tx, digest, client.id, self._clock.now())
        session = self._sessions.take_up(tx, session_id) if session_id else None
        if session is None:
            raise invalid_grant("The completion code is used, expired or not this client's.")
        answer = self._session_answer(tx, client, session, form)
        token = opaque.new_token(_REFRESH_PREFIX)
        self._add_refresh(tx, session, token)
        return {**answer, "refresh_token": token}

    def _session_answer(
        self, tx: Tx, client: Client, session: SessionValue, form: Mapping[str, str]
    ) -> TokenView:
        audience = str(client.id)
        scope = ""
        if "resource" in form:
            audience = self._access.issuer
            scope = self._operator_scope(tx, session, form)
        claims: SubjectClaims = {
            "sub": str(session.subject),
            "aud": audience,
            "sid": str(session.id),
            **level_claims(session),
        }
        return self._access.answer(client, claims, scope, session.expires_at)

    def _operator_scope(self, tx: Tx, session: SessionValue, form: Mapping[str, str]) -> str:
        scopes = self._operators.roles.scopes(tx, session.subject)
        if form["resource"].rstrip("/") != self._access.issuer or not scopes:
            # The error is the same for other resources and for people without a role (RFC 8707).
            raise OAuthError("invalid_target", "No token for this resource can be issued here.")
        return " ".join(sorted(scopes))

    def _add_refresh(self, tx: Tx, session: SessionValue, token: str) -> None:
        values = {
            "id": new_id(self._clock.now()),
            "digest": token_digest(tx, token, "refresh"),
            "client_id": session.client,
            "session_id": session.id,
            "scope": "",
            "expires_at": session.expires_at,
            "used_at": None,
        }
        store.add_refresh(tx, values)

    def _refresh(self, tx: Tx, client: Client, form: Mapping[str, str]) -> TokenView | OAuthError:
        now = self._clock.now()
        values = {"b_digest": token_digest(tx, form.get("refresh_token", ""), "refresh")}
        self._hold_refresh(tx, values)
        cells, seen, session = self._behind_refresh(tx, values)
        row = store.refresh_of(tx, cells)
        if row is None or seen is None or session is None or row.client_id != client.id:
            return invalid_grant(_USED)
        if row.used_at is None and now < row.expires_at:
            successor = opaque.new_token(_REFRESH_PREFIX)
            if not store.use_refresh(tx, row, now, successor):
                raise Busy(again=True)
            self._sessions.seen(tx, seen)
            self._add_refresh(tx, session, successor)
        elif lost := self._in_grace(tx, row, now):
            successor = lost
            self._sessions.seen(tx, seen)
        else:
            self._sessions.end(tx, session.id, "refresh_token_reused", str(client.id))
            return invalid_grant(_USED)
        answer = self._session_answer(tx, client, session, form)
        return {**answer, "refresh_token": successor}

    def _in_grace(self, tx: Tx, row: RefreshCells, now: datetime) -> str | None:
        """Return the successor if the response with it may have been lost, else None.

        That is so if the use was recent and the successor is still unused.
        """
        token = store.successor(tx, row)
        if row.used_at is None or token is None:
            return None
        if not in_force(row.used_at + self._grace, now, self._grace):
            return None
        successor = store.refresh_token(tx, token_digest(tx, token, "refresh"))
        return token if successor is not None and successor.used_at is None else None


def _uncounted(_client: UUID) -> None:
    """Count nothing: no server is in front."""


def _unauthorized() -> Unauthorized:
    return Unauthorized("invalid_token", "The access token is not valid here, or has expired.")


def _caller(client: Client, scopes: frozenset[str], operator: UUID | None = None) -> Caller:
    """Return who calls with a token of a client, by its present row."""
    return Caller(
        client=client.id,
        scopes=scopes,
        first_party=client.first_party,
        asserts_context=client.asserts_context,
        segments=client.segments,
        operator=operator,
    )
