"""Service accounts: how they authenticate, and every way to be refused."""

import hashlib
import uuid

import pytest
from sqlalchemy import text

from crypto.signing import SigningKey, sign_jwt
from service.clients.model import SCOPES, NewClient
from service.domain.clock import unix
from service.domain.errors import BadInput, NotFound, Unauthorized

KEY = SigningKey.generate()
JWKS = {"keys": [KEY.public_jwk()]}
AUDIENCE = "https://id.example.com/oauth/token"


def act(house, name, *arguments):
    """Call an action in a unit of work of its own."""
    with house.store.transaction() as tx:
        return getattr(house.clients, name)(tx, *arguments)


def refused(house, name, *arguments):
    """Check that a client does not authenticate, with the one answer to all reasons."""
    with pytest.raises(Unauthorized) as refusal:
        act(house, name, *arguments)
    assert (refusal.value.code, refusal.value.detail) == (
        "invalid_client",
        "The client does not authenticate.",
    )


def assertion(house, client, key=KEY, **changes):
    """Return a `private_key_jwt` assertion of a client."""
    now = unix(house.clock.now())
    claims = {
        "iss": str(client.id), "sub": str(client.id), "aud": AUDIENCE, "jti": uuid.uuid4().hex,
        "iat": now, "exp": now + 60,
    }  # fmt: skip
    return sign_jwt(key, claims | changes, "jwt")


def test_a_client_is_what_it_was_registered_as(house):
    """Scopes, flags and segments come back; the secret has a prefix that scanners know."""
    new = NewClient(
        " App ", ("flows:write", "risk:read", "flows:write"), first_party=True,
        asserts_context=True, segments=("bank",),
    )  # fmt: skip
    client, secret = act(house, "create", new)
    assert (client.name, client.scopes) == ("App", {"flows:write", "risk:read"})
    assert (client.first_party, client.asserts_context, client.segments) == (True, True, ("bank",))
    assert secret.startswith("lsec_")
    assert act(house, "authenticate_secret", str(client.id), secret) == client
    assert act(house, "active", client.id) == client


def test_an_unknown_scope_is_refused(house):
    """No client is made, and the known scopes are named."""
    with pytest.raises(BadInput) as refusal:
        act(house, "create", NewClient("app", ("flows:write", "root")))
    (fault,) = refusal.value.faults
    assert (fault.pointer, fault.code) == ("/scopes", "unknown_scope")
    assert "root" in fault.detail
    assert all(scope in fault.detail for scope in SCOPES)
    assert act(house, "listing") == []


def test_a_client_has_a_name(house):
    """A name of nothing but spaces is none."""
    for name in ("", "   ", "\t"):
        with pytest.raises(BadInput):
            act(house, "create", NewClient(name, ()))
    assert act(house, "listing") == []


def test_a_wrong_secret_is_refused_like_an_unknown_client(house):
    """Wrong, empty and foreign secrets, unknown and impossible ids: one answer."""
    client, secret = act(house, "create", NewClient("app", ()))
    other, foreign = act(house, "create", NewClient("other", ()))
    for typed in ("", secret[:-1], secret + "x", secret.upper(), f" {secret}", foreign):
        refused(house, "authenticate_secret", str(client.id), typed)
    for identifier in ("", "app", str(uuid.UUID(int=404)), str(other.id)):
        refused(house, "authenticate_secret", identifier, secret)


def test_a_rotated_secret_ends_the_old_one(house):
    """From the rotation on only the new secret authenticates."""
    client, old = act(house, "create", NewClient("app", ()))
    new = act(house, "rotate_secret", client.id)
    assert new != old
    refused(house, "authenticate_secret", str(client.id), old)
    assert act(house, "authenticate_secret", str(client.id), new) == client


def test_a_revoked_client_is_refused_everywhere(house):
    """Neither secret nor assertion authenticates, and the client is no longer active."""
    client, secret = act(house, "create", NewClient("app", (), jwks=JWKS))
    act(house, "revoke", client.id)
    refused(house, "authenticate_secret", str(client.id), secret)
    refused(house, "authenticate_assertion", str(client.id), assertion(house, client), [AUDIENCE])
    assert act(house, "active", client.id) is None
    assert [line["status"] for line in act(house, "listing")] == ["revoked"]
    rotated = act(house, "rotate_secret", client.id)
    refused(house, "authenticate_secret", str(client.id), rotated)


def test_there_is_nothing_to_change_at_an_unknown_client(house):
    """Rotation and revocation of nobody are told."""
    for name in ("rotate_secret", "revoke"):
        with pytest.raises(NotFound):
            act(house, name, uuid.UUID(int=404))
    assert act(house, "active", uuid.UUID(int=404)) is None


def test_no_secret_is_stored_or_listed(house):
    """The database holds a sealed digest, and the listing nothing of it."""
    _, secret = act(house, "create", NewClient("app", ("risk:read",)))
    with house.store.transaction(read=True) as tx:
        sealed = bytes(tx.execute(text("SELECT secret FROM client")).scalar())
    assert sealed[0] == 0xF9
    assert hashlib.sha256(secret.encode()).digest() not in sealed
    (line,) = act(house, "listing")
    assert set(line) == {
        "client_id", "name", "status", "scopes", "first_party", "asserts_context", "segments",
        "created_at",
    }  # fmt: skip
    assert secret not in repr(line)


def test_a_client_flipped_to_active_with_sql_does_not_authenticate(house):
    """The secret is bound to the status, so that a revocation cannot be undone in the database."""
    client, secret = act(house, "create", NewClient("app", ()))
    act(house, "revoke", client.id)
    with house.store.transaction() as tx:
        tx.execute(text("UPDATE client SET status = 'active'"))
    with pytest.raises(Exception, match="does not open"):
        act(house, "authenticate_secret", str(client.id), secret)


def test_an_assertion_authenticates(house):
    """A fresh assertion for this audience gives the client; one of several audiences is enough."""
    client, _ = act(house, "create", NewClient("app", (), jwks=JWKS))
    for audience in (AUDIENCE, ["https://elsewhere", AUDIENCE]):
        token = assertion(house, client, aud=audience)
        found = act(house, "authenticate_assertion", str(client.id), token, [AUDIENCE, "x"])
        assert found == client


def test_a_replayed_assertion_is_refused(house):
    """Each `jti` counts once, for as long as it lives, whatever the token around it."""
    client, _ = act(house, "create", NewClient("app", (), jwks=JWKS))
    token = assertion(house, client, jti="once")
    act(house, "authenticate_assertion", str(client.id), token, [AUDIENCE])
    refused(house, "authenticate_assertion", str(client.id), token, [AUDIENCE])
    again = assertion(house, client, jti="once", aud=[AUDIENCE])
    refused(house, "authenticate_assertion", str(client.id), again, [AUDIENCE])
    house.clock.advance(seconds=59)
    refused(house, "authenticate_assertion", str(client.id), token, [AUDIENCE])
    house.clock.advance(seconds=1)
    refused(house, "authenticate_assertion", str(client.id), token, [AUDIENCE])


def test_two_clients_may_use_the_same_jti(house):
    """The list of used assertions is kept per client, and forgets what has expired."""
    for name in ("one", "two"):
        client, _ = act(house, "create", NewClient(name, (), jwks=JWKS))
        token = assertion(house, client, jti="same")
        assert act(house, "authenticate_assertion", str(client.id), token, [AUDIENCE])
    house.clock.advance(minutes=2)
    token = assertion(house, client, jti="same")
    assert act(house, "authenticate_assertion", str(client.id), token, [AUDIENCE])
    with house.store.transaction(read=True) as tx:
        assert tx.execute(text("SELECT count(*) FROM used_assertion")).scalar() == 1


def test_an_assertion_out_of_order_is_refused(house):
    """Another audience or client, no `jti`, expired, early or living too long: one answer."""
    client, _ = act(house, "create", NewClient("app", (), jwks=JWKS))
    for change in (
        {"aud": "https://evil.example"}, {"aud": []}, {"aud": None}, {"iss": "x"}, {"sub": "x"},
        {"exp": 0}, {"jti": None}, {"jti": 7}, {"exp": 2**40}, {"iat": 2**40}, {"nbf": 2**40},
    ):  # fmt: skip
        token = assertion(house, client, **change)
        refused(house, "authenticate_assertion", str(client.id), token, [AUDIENCE])


def test_an_assertion_of_another_key_or_client_is_refused(house):
    """Only the registered keys count, and a client without any has no assertion."""
    client, _ = act(house, "create", NewClient("app", (), jwks=JWKS))
    bare, _ = act(house, "create", NewClient("bare", ()))
    foreign = assertion(house, client, SigningKey.generate())
    refused(house, "authenticate_assertion", str(client.id), foreign, [AUDIENCE])
    refused(house, "authenticate_assertion", str(bare.id), assertion(house, bare), [AUDIENCE])
    refused(house, "authenticate_assertion", str(bare.id), assertion(house, client), [AUDIENCE])
    refused(house, "authenticate_assertion", "nobody", assertion(house, client), [AUDIENCE])
    refused(house, "authenticate_assertion", str(client.id), "no.token.this", [AUDIENCE])


def test_a_refused_assertion_is_not_used_up(house):
    """A `jti` is noted only when everything else holds."""
    client, _ = act(house, "create", NewClient("app", (), jwks=JWKS))
    wrong = assertion(house, client, jti="kept", aud="https://evil.example")
    refused(house, "authenticate_assertion", str(client.id), wrong, [AUDIENCE])
    token = assertion(house, client, jti="kept")
    assert act(house, "authenticate_assertion", str(client.id), token, [AUDIENCE])
