"""Clients that authenticate, and refusals of them."""

import uuid

import pytest

from crypto.signing import SigningKey, sign_jwt
from service.domain.clock import unix
from service.domain.errors import Unauthorized

KEY = SigningKey.generate()


JWKS = {"keys": [KEY.public_jwk()]}


AUDIENCE = "https://id.example.com/oauth/token"


def act(container, name, *arguments, **named):
    """Call an action in a unit of work of its own."""
    with container.store.transaction() as tx:
        return getattr(container.clients, name)(tx, *arguments, **named)


def refused(container, name, *arguments, told="The client does not authenticate."):
    """Check that a client does not authenticate: one answer, unless the form is at fault."""
    with pytest.raises(Unauthorized) as refusal:
        act(container, name, *arguments)
    assert (refusal.value.code, refusal.value.detail[: len(told)]) == ("invalid_client", told)


def assertion(container, client, key=KEY, **changes):
    """Return a `private_key_jwt` assertion of a client."""
    now = unix(container.clock.now())
    claims = {
        "iss": str(client.id),
        "sub": str(client.id),
        "aud": AUDIENCE,
        "jti": uuid.uuid4().hex,
        "iat": now,
        "exp": now + 60,
    }
    return sign_jwt(key, claims | changes, "jwt")
