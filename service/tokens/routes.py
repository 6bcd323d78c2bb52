"""HTTP routes for tokens, introspection, revocation and the key set."""

from collections.abc import Mapping
from typing import Any, Final

import orjson
from flask import Response, request

from service.domain.errors import OAuthError, TooLarge
from service.keys.actions import SigningKeys
from service.keys.model import JWKS_LIFE
from service.telemetry.metrics import Metrics
from service.tokens.actions import Tokens
from service.tokens.model import FLOW_GRANT, INTROSPECT, Credentials, credentials, single
from service.web.api import Api, Call, Operation

_LIMIT: Final = "1200/minute"
_BODY: Final = 64 * 1024
_FORM: Final = "application/x-www-form-urlencoded"
_GRANTS: Final = {
    "client_credentials": "client_credentials",
    FLOW_GRANT: "flow",
    "refresh_token": "refresh_token",
}


def routes(api: Api, tokens: Tokens, signing: SigningKeys, metrics: Metrics) -> None:
    """Register the operations."""

    def token(_call: Call) -> Mapping[str, Any]:
        client, form = _form()
        label = _GRANTS.get(form.get("grant_type", ""), "other")
        try:
            answer = tokens.token(client, form)
        except OAuthError as error:
            metrics.grants.labels(label, error.code).inc()
            raise
        metrics.grants.labels(label, "ok").inc()
        return answer

    def introspect(_call: Call) -> Mapping[str, Any]:
        client, form = _form()
        return tokens.introspect(client, _token(form))

    def revoke(_call: Call) -> Mapping[str, Any]:
        client, form = _form()
        tokens.revoke(client, _token(form))
        return {}

    def jwks(_call: Call) -> Response:
        answer = Response(orjson.dumps(signing.jwks()), content_type="application/json")
        # A new key is published this long before it signs.
        answer.cache_control.public = True
        answer.cache_control.max_age = int(JWKS_LIFE.total_seconds())
        return answer

    for path, summary, view in (
        ("/oauth2/token", "Exchange credentials, a completion code or a refresh token", token),
        ("/oauth2/introspect", "Introspect a token of the client", introspect),
        ("/oauth2/revoke", "Revoke a token of the client", revoke),
    ):
        also = (INTROSPECT,) if view is introspect else ()
        operation = Operation("POST", path, summary, None, limit=_LIMIT, max_body=_BODY, also=also)
        api.add(operation, view)
    api.add(
        Operation("GET", "/.well-known/jwks.json", "The keys that sign tokens", None, limit=_LIMIT),
        jwks,
    )


def _form() -> tuple[Credentials, dict[str, str]]:
    if request.content_length and request.content_length > _BODY:
        raise TooLarge("body_too_large", f"The body must have at most {_BODY} bytes.")
    if request.mimetype != _FORM:
        raise OAuthError("invalid_request", f"The body must be sent as {_FORM}.")
    form = single(request.form.items(multi=True))
    header = request.authorization
    basic = None
    if header is not None and header.type == "basic":
        basic = (str(header.username or ""), str(header.password or ""))
    return credentials(basic, form), form


def _token(form: Mapping[str, str]) -> str:
    if not form.get("token"):
        raise OAuthError("invalid_request", "token is missing.")
    return form["token"]
