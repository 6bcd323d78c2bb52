"""HTTP routes for tokens, introspection, revocation and the key set."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from flask import request

from service.domain.errors import OAuthError, TooLarge
from service.keys.actions import SigningKeys
from service.keys.model import JWKS_LIFE
from service.keys.views import KeySet
from service.telemetry.metrics import Metrics
from service.tokens.actions import Tokens
from service.tokens.forms import TokenReference, TokenRequest
from service.tokens.model import FLOW_GRANT, INTROSPECT, Credentials, credentials, single
from service.tokens.views import IntrospectionView, RevocationView, TokenView
from service.web.call import Call, Reply
from service.web.operation import get, post

_LIMIT: Final = 1200
_BODY: Final = 64 * 1024
_FORM: Final = "application/x-www-form-urlencoded"
_CLIENT: Final = ("400 invalid_request", "401 invalid_client")
_GRANTS: Final = {
    "client_credentials": "client_credentials",
    FLOW_GRANT: "flow",
    "refresh_token": "refresh_token",
}


class TokenRoutes:
    """The OAuth endpoints, and the keys that verify tokens."""

    def __init__(self, tokens: Tokens, signing: SigningKeys, metrics: Metrics) -> None:
        self._tokens = tokens
        self._signing = signing
        self._metrics = metrics

    @post(
        "/oauth2/token",
        form=TokenRequest,
        scope=None,
        oauth=True,
        max_body=_BODY,
        answer=TokenView,
        problems=(
            *_CLIENT,
            "400 invalid_grant",
            "400 invalid_scope",
            "400 invalid_target",
            "400 unauthorized_client",
            "400 unsupported_grant_type",
        ),
    )
    def issue_token(self, _call: Call) -> TokenView:
        """Exchange credentials, a completion code or a refresh token."""
        client, form = _form()
        label = _GRANTS.get(form.get("grant_type", ""), "other")
        try:
            answer = self._tokens.token(client, form)
        except OAuthError as error:
            self._metrics.grants.labels(label, error.code).inc()
            raise
        self._metrics.grants.labels(label, "ok").inc()
        return answer

    @post(
        "/oauth2/introspect",
        form=TokenReference,
        scope=None,
        oauth=True,
        max_body=_BODY,
        also=(INTROSPECT,),
        answer=IntrospectionView,
        problems=(*_CLIENT, "403 unauthorized_client"),
    )
    def introspect_token(self, _call: Call) -> IntrospectionView:
        """Introspect a token of the client."""
        client, form = _form()
        return self._tokens.introspect(client, _token(form))

    @post(
        "/oauth2/revoke",
        form=TokenReference,
        scope=None,
        oauth=True,
        max_body=_BODY,
        answer=RevocationView,
        problems=_CLIENT,
    )
    def revoke_token(self, _call: Call) -> RevocationView:
        """Revoke a token of the client."""
        client, form = _form()
        self._tokens.revoke(client, _token(form))
        return {}

    @get("/.well-known/jwks.json", scope=None, limit=_LIMIT, answer=KeySet)
    def get_jwks(self, _call: Call) -> Reply[KeySet]:
        """Publish the keys that sign tokens.

        A new key is published before it signs, longer than this answer may be cached.
        """
        seconds = int(JWKS_LIFE.total_seconds())
        cached = {"Cache-Control": f"public, max-age={seconds}"}
        return Reply(body=self._signing.jwks(), status=200, headers=cached)


def _form() -> tuple[Credentials, dict[str, str]]:
    if request.content_length and request.content_length > _BODY:
        raise TooLarge("body_too_large", f"The body must have at most {_BODY} bytes.")
    if request.mimetype != _FORM:
        raise OAuthError("invalid_request", f"The body must be sent as {_FORM}.")
    form = single(_pairs(request.get_data(cache=False)))
    header = request.authorization
    basic = None
    if header is not None and header.type == "basic":
        basic = (str(header.username or ""), str(header.password or ""))
    return credentials(basic, form), form


def _pairs(body: bytes) -> list[tuple[str, str]]:
    """Return the parameters of a form in their order."""
    try:
        return parse_qsl(body.decode(), keep_blank_values=True)
    except UnicodeDecodeError:
        raise OAuthError("invalid_request", "The body must be UTF-8.") from None


def _token(form: Mapping[str, str]) -> str:
    if not form.get("token"):
        raise OAuthError("invalid_request", "token is missing.")
    return form["token"]
