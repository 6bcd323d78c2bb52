"""Token lifetimes, and parsing of requests at the token endpoint (RFC 6749)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from urllib.parse import unquote_plus

from service.domain.errors import OAuthError

ACCESS_LIFE: Final = timedelta(minutes=5)
FLOW_LIFE: Final = timedelta(minutes=15)
"""Life of a flow begun with an access token; the token's revocation is kept that much longer."""
INTROSPECT: Final = "introspect"
"""The scope that a client needs for introspection."""
CODE_LIFE: Final = timedelta(seconds=60)
FLOW_GRANT: Final = "urn:lamina:params:oauth:grant-type:flow"
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LONGEST: Final = 16 * 1024
_SECRETS: Final = frozenset({"client_secret", "client_assertion"})


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials of a client; `repr` shows no secret."""

    client_id: str
    secret: str = field(default="", repr=False)
    assertion: str = field(default="", repr=False)


def single(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the parameters of a form; a repeated one is refused (RFC 6749 section 3.2)."""
    form: dict[str, str] = {}
    for name, value in pairs:
        if name in form:
            raise OAuthError("invalid_request", "A parameter is repeated.")
        if len(value) > _LONGEST:
            raise OAuthError("invalid_request", f"A parameter is longer than {_LONGEST}.")
        form[name] = value
    return form


def credentials(basic: tuple[str, str] | None, form: Mapping[str, str]) -> Credentials:
    """Return the client's credentials, from exactly one authentication method.

    Args:
        basic: User and password of the Authorization header, still form-url-encoded.
        form: The parameters of the body.

    Raises:
        OAuthError: There is no method, or more than one.
    """
    # An empty parameter counts as omitted (RFC 6749 section 3.2).
    form = {name: value for name, value in form.items() if value or name not in _SECRETS}
    offered = [basic is not None, "client_secret" in form, "client_assertion" in form]
    if sum(offered) > 1:
        raise OAuthError("invalid_request", "Use exactly one client authentication method.")
    if basic is not None:
        return Credentials(unquote_plus(basic[0]), unquote_plus(basic[1]))
    if "client_assertion" in form:
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            raise OAuthError("invalid_request", f"client_assertion_type must be {ASSERTION_TYPE}.")
        return Credentials(form.get("client_id", ""), assertion=form["client_assertion"])
    if "client_secret" in form:
        return Credentials(form.get("client_id", ""), form["client_secret"])
    raise invalid_client()


def invalid_client(detail: str = "The client does not authenticate.") -> OAuthError:
    """Return the error for a failed client authentication; equal for all but malformed requests.

    Args:
        detail: A reason that does not depend on whether the client exists.
    """
    return OAuthError("invalid_client", detail, 401)


def invalid_grant(detail: str) -> OAuthError:
    """Return the error for a code or refresh token."""
    return OAuthError("invalid_grant", detail)


def granted_scope(
    requested: str | None, allowed: frozenset[str], idle: frozenset[str] = frozenset()
) -> str:
    """Return the granted scope: the requested part, or all scopes of the client.

    Args:
        requested: The requested scopes; None for all.
        allowed: The scopes of the client.
        idle: Scopes assigned to the client without effect: they are left out of the granted scope,
            which the response states (RFC 6749 section 3.3).

    Raises:
        OAuthError: The client does not have a requested scope.
    """
    wanted = set(requested.split()) - idle if requested else set(allowed)
    if not wanted <= allowed:
        raise OAuthError("invalid_scope", "The client does not have every requested scope.")
    return " ".join(sorted(wanted))
