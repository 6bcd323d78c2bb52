"""Maps errors to HTTP responses (RFC 9457, RFC 6749 section 5.2, RFC 6750)."""

from http import HTTPStatus
from typing import Annotated, Final, NotRequired

import orjson
from flask import Flask, Response, g, request
from pydantic import Field, with_config
from typing_extensions import TypedDict
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.http import HTTP_STATUS_CODES

from crypto.errors import CryptoError, KeyUnavailable
from service.domain import errors, fault_views
from service.domain.errors import LaminaError, OAuthError
from service.domain.formats import FaultView, JsonObject, Timestamp
from service.telemetry import logs
from service.web.front import LARGEST_BODY, too_large

MEDIA_TYPE: Final = "application/problem+json"
LATER: Final = "temporarily_unavailable"
"""The OAuth error of a 429: RFC 6749 has none at the token endpoint, but this one where it sends
people back (section 4.1.2.1). `slow_down` of RFC 8628 would ask a client to poll less often."""
_STATUS: Final[dict[type[LaminaError], int]] = {
    errors.BadInput: 422,
    errors.Malformed: 400,
    errors.TooLarge: 413,
    errors.TooSlow: 408,
    errors.Unauthorized: 401,
    errors.Denied: 403,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Expired: 410,
    errors.VerificationFailed: 422,
    errors.Throttled: 429,
    errors.TooMany: 429,
    errors.Unavailable: 503,
    errors.Busy: 503,
    errors.RowRefused: 503,
}


@with_config(extra="allow")
class Problem(TypedDict):
    """A problem document (RFC 9457); further members depend on its code."""

    # `Operation.members` adds those whose types belong to a feature.

    type: Annotated[str, Field(examples=["urn:lamina:problem:flow_not_found"])]
    title: Annotated[str, Field(examples=["Not Found"])]
    status: Annotated[int, Field(examples=[404])]
    detail: Annotated[str, Field(examples=["There is no such flow."])]
    instance: Annotated[str, Field(examples=["urn:lamina:trace:6f1b2c0d9e3a4f58a7c6d5e4f3a2b1c0"])]
    code: Annotated[
        str, Field(description="A stable name for programs.", examples=["flow_not_found"])
    ]
    trace_id: Annotated[str, Field(examples=["6f1b2c0d9e3a4f58a7c6d5e4f3a2b1c0"])]
    errors: NotRequired[
        Annotated[list[FaultView], Field(description="What to correct, of code invalid_input.")]
    ]
    scope: NotRequired[Annotated[str, Field(description="The scope that the token lacks.")]]
    acr_values: NotRequired[Annotated[str, Field(description="The required level (RFC 9470).")]]
    act: NotRequired[Annotated[str, Field(description="The act that needs a grant or approval.")]]
    target: NotRequired[Annotated[str, Field(description="The target to ask an approval for.")]]
    params: NotRequired[
        Annotated[JsonObject, Field(description="The parameters to ask an approval for.")]
    ]
    code_used: NotRequired[
        Annotated[
            bool,
            Field(
                description="True for a right code that was used, in a flow of a signed-in person."
            ),
        ]
    ]
    next_in: NotRequired[
        Annotated[
            int,
            Field(
                description="Seconds until the generator shows another code, with `code_used`.",
                examples=[4],
            ),
        ]
    ]
    purpose: NotRequired[
        Annotated[
            str,
            Field(description="The missing consent, of code consent_required.", examples=["face"]),
        ]
    ]
    until: NotRequired[
        Annotated[Timestamp, Field(description="The end of the hold, of code legal_hold.")]
    ]
    retry_after: NotRequired[
        Annotated[
            int,
            Field(
                description="Seconds until the key may change, of code key_not_settled.",
                examples=[60],
            ),
        ]
    ]


class OAuthProblem(TypedDict):
    """An error of an OAuth endpoint (RFC 6749 section 5.2)."""

    error: Annotated[str, Field(examples=["invalid_client"])]
    error_description: Annotated[str, Field(examples=["The client does not authenticate."])]


def trace_id() -> str:
    """Return the id shared by this request's log line and problem document."""
    return str(g.get("trace_id", ""))


def _document(status: int, code: str, detail: str, **extra: object) -> Response:
    body = {
        "type": f"urn:lamina:problem:{code}",
        "title": HTTP_STATUS_CODES[status],
        "status": status,
        "detail": detail,
        # The path is the caller's text; the trace id identifies this response.
        "instance": f"urn:lamina:trace:{trace_id()}",
        "code": code,
        "trace_id": trace_id(),
    } | extra
    return Response(orjson.dumps(body), status, content_type=MEDIA_TYPE)


def render(error: LaminaError) -> Response:
    """Return the response to an expected error."""
    if isinstance(error, OAuthError):
        return _oauth(error)
    if isinstance(error, errors.Throttled) and getattr(g.get("operation"), "oauth", False):
        response = _oauth(OAuthError(LATER, error.detail, HTTPStatus.TOO_MANY_REQUESTS))
        g.problem_code = error.code
        return _waiting(response, error)
    status = _STATUS[type(error)]
    extra = dict(error.extra)
    if isinstance(error, errors.BadInput):
        extra["errors"] = fault_views.views(error.faults)
    response = _document(status, error.code, error.detail, **extra)
    g.problem_code = error.code
    if isinstance(error, errors.Unavailable):
        response.headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, errors.Throttled):
        _waiting(response, error)
    if isinstance(error, errors.Unauthorized):
        response.headers["WWW-Authenticate"] = f'Bearer error="{error.code}"'
    if error.code == "insufficient_user_authentication" and "acr_values" in extra:
        challenge = f'Bearer error="{error.code}", acr_values="{extra["acr_values"]}"'
        response.headers["WWW-Authenticate"] = challenge
    return response


def _waiting(response: Response, error: errors.Throttled) -> Response:
    response.headers["Retry-After"] = response.headers["RateLimit-Reset"] = str(error.retry_after)
    response.headers["RateLimit-Remaining"] = "0"
    return response


def _oauth(error: OAuthError) -> Response:
    g.problem_code = error.code
    body = {"error": error.code, "error_description": error.detail}
    response = Response(orjson.dumps(body), error.status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    if error.status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = 'Basic realm="lamina"'
    if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = "5"
    return response


def _http(error: HTTPException) -> Response:
    status = error.code or 500
    if status < HTTPStatus.BAD_REQUEST:
        return Response(status=status, headers={"Location": getattr(error, "new_url", "/")})
    if isinstance(error, RequestEntityTooLarge):
        return render(too_large(request.max_content_length or LARGEST_BODY))
    # Not the phrases of `http`: Python 3.13 renamed some of them.
    phrase = HTTP_STATUS_CODES[status]
    code = phrase.lower().replace(" ", "_").replace("-", "_")
    g.problem_code = code
    response = _document(status, code, f"{phrase}.")
    for name, value in error.get_headers():
        if name in {"Allow", "Retry-After"}:
            response.headers[name] = value
    return response


def _crypto(error: CryptoError) -> Response:
    # A value that does not open raises an alarm and is not the caller's fault; the log has details.
    logs.get().error("sealed_value_refused", error=type(error).__name__, trace_id=trace_id())
    if isinstance(error, KeyUnavailable):
        refusal = errors.Unavailable("key_unavailable", "A key this needs is not held here.")
    else:
        refusal = errors.Unavailable("sealed_value_refused", "A stored value does not open.")
    return render(refusal)


def _unexpected(error: Exception) -> Response:
    logs.get().error("unexpected", error=type(error).__name__, trace_id=trace_id())
    return _document(500, "internal_error", "Something went wrong here; the log knows the trace.")


def install(app: Flask) -> None:
    """Register handlers that render every error of an app as a problem document."""
    app.register_error_handler(LaminaError, render)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(CryptoError, _crypto)
    app.register_error_handler(Exception, _unexpected)
