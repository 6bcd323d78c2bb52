"""Service accounts: how they authenticate, and every way to be refused."""

import hashlib
import uuid
from dataclasses import replace

import pytest
from sqlalchemy import text

from crypto.signing import SigningKey
from service.clients.model import SCOPES, NewClient
from service.domain.clock import unix
from service.domain.errors import BadInput, NotFound
from tests.integration.authenticating import AUDIENCE, JWKS, KEY, act, assertion, refused  # noqa: F401 - fixtures


def test_a_client_is_what_it_was_registered_as(container):
    """Scopes, flags and segments come back; the secret has a prefix that scanners know."""
    new = NewClient(
        name=" App ",
        scopes=("flows:write", "risk:read", "flows:write"),
        first_party=True,
        asserts_context=True,
        segments=("bank",),
    )
    client, secret = act(container, "create", new)
    assert (client.name, client.scopes) == ("App", {"flows:write", "risk:read"})
    assert (client.first_party, client.asserts_context, client.segments) == (True, True, ("bank",))
    assert secret.startswith("lsec_")
    assert act(container, "authenticate_secret", str(client.id), secret) == client
    assert act(container, "active", client.id) == client


def test_an_unknown_scope_is_refused(container):
    """No client is made; the known scopes are named, and what was asked is not repeated."""
    with pytest.raises(BadInput) as refusal:
        act(container, "create", NewClient(name="app", scopes=("flows:write", "root")))
    (fault,) = refusal.value.faults
    assert (fault.pointer, fault.code) == ("/scopes", "unknown_scope")
    assert "root" not in fault.detail
    assert all(scope in fault.detail for scope in SCOPES)
    assert act(container, "listing") == []


def test_a_client_has_a_name(container):
    """A name of nothing but spaces is none."""
    for name in ("", "   ", "\t"):
        with pytest.raises(BadInput):
            act(container, "create", NewClient(name=name, scopes=()))
    assert act(container, "listing") == []


def test_a_wrong_secret_is_refused_like_an_unknown_client(container):
    """Wrong, empty and foreign secrets, unknown and impossible ids: one answer."""
    client, secret = act(container, "create", NewClient(name="app", scopes=()))
    other, foreign = act(container, "create", NewClient(name="other", scopes=()))
    for typed in ("", secret[:-1], secret + "x", secret.upper(), f" {secret}", foreign):
        refused(container, "authenticate_secret", str(client.id), typed)
    for identifier in ("", "app", str(uuid.UUID(int=404)), str(other.id)):
        refused(container, "authenticate_secret", identifier, secret)


def test_a_rotated_secret_ends_the_old_one(container):
    """From the rotation on only the new secret authenticates."""
    client, old = act(container, "create", NewClient(name="app", scopes=()))
    new = act(container, "rotate_secret", client.id)
    assert new != old
    refused(container, "authenticate_secret", str(client.id), old)
    assert act(container, "authenticate_secret", str(client.id), new) == client


def test_a_revoked_client_is_refused_everywhere(container):
    """Neither secret nor assertion authenticates, and the client is no longer active."""
    client, secret = act(container, "create", NewClient(name="app", scopes=(), jwks=JWKS))
    act(container, "revoke", client.id)
    refused(container, "authenticate_secret", str(client.id), secret)
    refused(
        container,
        "authenticate_assertion",
        str(client.id),
        assertion(container, client),
        [AUDIENCE],
    )
    assert act(container, "active", client.id) is None
    assert [line["status"] for line in act(container, "listing")] == ["revoked"]
    rotated = act(container, "rotate_secret", client.id)
    refused(container, "authenticate_secret", str(client.id), rotated)


def test_there_is_nothing_to_change_at_an_unknown_client(container):
    """Rotation and revocation of nobody are told."""
    for name in ("rotate_secret", "revoke"):
        with pytest.raises(NotFound):
            act(container, name, uuid.UUID(int=404))
    assert act(container, "active", uuid.UUID(int=404)) is None


def test_no_secret_is_stored_or_listed(container):
    """The database holds a sealed digest, and the listing nothing of it."""
    _, secret = act(container, "create", NewClient(name="app", scopes=("risk:read",)))
    with container.store.transaction(read=True) as tx:
        sealed = bytes(tx.execute(text("SELECT secret FROM client")).scalar())
    assert sealed[0] == 0xF9
    assert hashlib.sha256(secret.encode()).digest() not in sealed
    (line,) = act(container, "listing")
    assert set(line) == {
        "client_id",
        "name",
        "status",
        "scopes",
        "idle_scopes",
        "first_party",
        "asserts_context",
        "segments",
        "created_at",
        "keys",
        "old_secret_until",
        "old_jwks_until",
    }
    assert secret not in repr(line)


def test_a_client_flipped_to_active_with_sql_does_not_authenticate(container):
    """The secret is bound to the status, so that a revocation cannot be undone in the database."""
    client, secret = act(container, "create", NewClient(name="app", scopes=()))
    act(container, "revoke", client.id)
    with container.store.transaction() as tx:
        tx.execute(text("UPDATE client SET status = 'active'"))
    with pytest.raises(Exception, match="row_refused"):
        act(container, "authenticate_secret", str(client.id), secret)


def test_an_assertion_authenticates(container):
    """A fresh assertion for this audience gives the client; one of several audiences is enough."""
    client, _ = act(container, "create", NewClient(name="app", scopes=(), jwks=JWKS))
    for audience in (AUDIENCE, ["https://elsewhere", AUDIENCE]):
        token = assertion(container, client, aud=audience)
        found = act(container, "authenticate_assertion", str(client.id), token, [AUDIENCE, "x"])
        assert found == client


def test_a_replayed_assertion_is_refused(container):
    """Each `jti` counts once, for as long as it lives, whatever the token around it."""
    client, _ = act(container, "create", NewClient(name="app", scopes=(), jwks=JWKS))
    used = {"told": "client_assertion: jti was used before."}
    token = assertion(container, client, jti="once")
    act(container, "authenticate_assertion", str(client.id), token, [AUDIENCE])
    refused(container, "authenticate_assertion", str(client.id), token, [AUDIENCE], **used)
    again = assertion(
        container, client, jti="once", aud=[AUDIENCE], exp=unix(container.clock.now()) + 600
    )
    refused(container, "authenticate_assertion", str(client.id), again, [AUDIENCE], **used)
    container.clock.advance(seconds=59)
    refused(container, "authenticate_assertion", str(client.id), token, [AUDIENCE], **used)
    container.clock.advance(seconds=1)
    late = {"told": "client_assertion: exp must be"}
    refused(container, "authenticate_assertion", str(client.id), token, [AUDIENCE], **late)


def test_a_jti_is_remembered_as_long_as_its_assertion_counts(container):
    """One that ends in ten minutes is refused until then, a broken second included."""
    client, _ = act(container, "create", NewClient(name="app", scopes=(), jwks=JWKS))
    token = assertion(container, client, exp=unix(container.clock.now()) + 600.5)
    act(container, "authenticate_assertion", str(client.id), token, [AUDIENCE])
    container.clock.advance(seconds=600)
    used = {"told": "client_assertion: jti was used before."}
    refused(container, "authenticate_assertion", str(client.id), token, [AUDIENCE], **used)


def test_two_clients_may_use_the_same_jti(container):
    """The list of used assertions is kept per client, and forgets what has expired."""
    for name in ("one", "two"):
        client, _ = act(container, "create", NewClient(name=name, scopes=(), jwks=JWKS))
        token = assertion(container, client, jti="same")
        assert act(container, "authenticate_assertion", str(client.id), token, [AUDIENCE])
    container.clock.advance(minutes=2)
    token = assertion(container, client, jti="same")
    assert act(container, "authenticate_assertion", str(client.id), token, [AUDIENCE])
    with container.store.transaction() as tx:
        assert container.clients.drop_expired(tx, container.clock.now()) == 1
        assert tx.execute(text("SELECT count(*) FROM used_assertion")).scalar() == 1


def test_an_assertion_out_of_order_is_told_why_whoever_it_names(container):
    """The reason names the claim, and is the same for a client that there is not."""
    client, _ = act(container, "create", NewClient(name="app", scopes=(), jwks=JWKS))
    nobody = replace(client, id=uuid.UUID(int=404))
    for name, values in {
        "aud": ["https://evil.example", [], None, [{}]],
        "iss and sub": [None],
        "exp": [0, 2**40],
        "jti": [None, 7, {}, ""],
        "iat": [2**40],
        "nbf": [2**40],
    }.items():
        for value in values:
            change = {"iss": "x"} if name == "iss and sub" else {name: value}
            for who in (client, nobody):
                token = assertion(container, who, **change)
                told = f"client_assertion: {name} must"
                refused(
                    container, "authenticate_assertion", str(who.id), token, [AUDIENCE], told=told
                )


def test_an_assertion_of_another_key_or_client_is_refused(container):
    """Only the registered keys count; no keys and no such client are refused alike."""
    client, _ = act(container, "create", NewClient(name="app", scopes=(), jwks=JWKS))
    bare, _ = act(container, "create", NewClient(name="bare", scopes=()))
    nobody = replace(client, id=uuid.UUID(int=404))
    foreign = assertion(container, client, SigningKey.generate())
    refused(container, "authenticate_assertion", str(client.id), foreign, [AUDIENCE])
    for who in (bare, nobody):
        refused(
            container, "authenticate_assertion", str(who.id), assertion(container, who), [AUDIENCE]
        )
        refused(container, "authenticate_assertion", "", assertion(container, who), [AUDIENCE])
    told = "client_assertion: iss and sub must both be the client_id."
    for name in (str(bare.id), "nobody"):
        token = assertion(container, client)
        refused(container, "authenticate_assertion", name, token, [AUDIENCE], told=told)
    form = "client_assertion: it must be base64url"
    refused(container, "authenticate_assertion", str(client.id), "n.t.t", [AUDIENCE], told=form)


def test_a_refused_assertion_is_not_used_up(container):
    """A `jti` is noted only when everything else holds."""
    client, _ = act(container, "create", NewClient(name="app", scopes=(), jwks=JWKS))
    wrong = assertion(container, client, SigningKey.generate(), jti="kept")
    refused(container, "authenticate_assertion", str(client.id), wrong, [AUDIENCE])
    token = assertion(container, client, jti="kept")
    assert act(container, "authenticate_assertion", str(client.id), token, [AUDIENCE])
