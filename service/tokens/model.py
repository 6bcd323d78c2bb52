"""Lifetimes, and the form of requests at the token endpoint (RFC 6749)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from urllib.parse import unquote_plus

from service.domain.errors import OAuthError

ACCESS_LIFE: Final = timedelta(minutes=5)
FLOW_LIFE: Final = timedelta(minutes=15)
"""How long a flow goes on that was begun with an access token: so long its revocation is kept."""
INTROSPECT: Final = "introspect"
"""The scope that a client needs to ask what a token stands for."""
CODE_LIFE: Final = timedelta(seconds=60)
FLOW_GRANT: Final = "urn:lamina:params:oauth:grant-type:flow"
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LONGEST: Final = 16 * 1024
_SECRETS: Final = frozenset({"client_secret", "client_assertion"})


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client authenticates with; shows none of it."""

    client_id: str
    secret: str = field(default="", repr=False)
    assertion: str = field(default="", repr=False)


def single(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the parameters of a form; one that comes twice is refused (RFC 6749 section 3.2)."""
    form: dict[str, str] = {}
    for name, value in pairs:
        if name in form:
            raise OAuthError("invalid_request", "A parameter is repeated.")
        if len(value) > _LONGEST:
            raise OAuthError("invalid_request", f"A parameter is longer than {_LONGEST}.")
        form[name] = value
    return form


def credentials(basic: tuple[str, str] | None, form: Mapping[str, str]) -> Credentials:
    """Return how the client authenticates: by exactly one method.

    Args:
        basic: User and password of the Authorization header, still form-url-encoded.
        form: The parameters of the body.

    Raises:
        OAuthError: No method, or more than one.
    """
    # An empty parameter is as one that was left out (RFC 6749, section 3.2).
    form = {name: value for name, value in form.items() if value or name not in _SECRETS}
    offered = [basic is not None, "client_secret" in form, "client_assertion" in form]
    if sum(offered) > 1:
        raise OAuthError("invalid_request", "The client must authenticate in one way only.")
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
    """Return the answer to a client that does not authenticate: one, unless its form is at fault.

    Args:
        detail: A reason that is the same whether there is such a client or not.
    """
    return OAuthError("invalid_client", detail, 401)


def invalid_grant(detail: str) -> OAuthError:
    """Return the refusal of a code or refresh token."""
    return OAuthError("invalid_grant", detail)


def granted_scope(
    requested: str | None, allowed: frozenset[str], idle: frozenset[str] = frozenset()
) -> str:
    """Return the scope to grant: everything the client holds, or the named part of it.

    Args:
        requested: What is asked for; None for everything.
        allowed: What the client holds.
        idle: What it was given that counts for nothing: left out where it is asked for, as the
            answer tells (RFC 6749 section 3.3).

    Raises:
        OAuthError: Something is asked for that the client does not hold.
    """
    wanted = set(requested.split()) - idle if requested else set(allowed)
    if not wanted <= allowed:
        raise OAuthError("invalid_scope", "The client does not hold every scope it asks for.")
    return " ".join(sorted(wanted))
