"""Service accounts: how they authenticate, and every way to be refused."""

import hashlib
import json
import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event, text, update

from crypto.signing import SigningKey, sign_jwt
from service.clients.model import SCOPES, NewClient
from service.clients.store import ClientRow
from service.domain.clock import rfc3339, unix
from service.domain.errors import BadInput, NotFound, RowRefused, Unauthorized
from service.store.base import table_of

KEY = SigningKey.generate()
JWKS = {"keys": [KEY.public_jwk()]}
AUDIENCE = "https://id.example.com/oauth/token"


def act(container, name, *arguments):
    """Call an action in a unit of work of its own."""
    with container.store.transaction() as tx:
        return getattr(container.clients, name)(tx, *arguments)


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


def test_a_client_is_what_it_was_registered_as(container):
    """Scopes, flags and segments come back; the secret has a prefix that scanners know."""
    new = NewClient(
        " App ",
        ("flows:write", "risk:read", "flows:write"),
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
        act(container, "create", NewClient("app", ("flows:write", "root")))
    (fault,) = refusal.value.faults
    assert (fault.pointer, fault.code) == ("/scopes", "unknown_scope")
    assert "root" not in fault.detail
    assert all(scope in fault.detail for scope in SCOPES)
    assert act(container, "listing") == []


def test_a_client_has_a_name(container):
    """A name of nothing but spaces is none."""
    for name in ("", "   ", "\t"):
        with pytest.raises(BadInput):
            act(container, "create", NewClient(name, ()))
    assert act(container, "listing") == []


def test_a_wrong_secret_is_refused_like_an_unknown_client(container):
    """Wrong, empty and foreign secrets, unknown and impossible ids: one answer."""
    client, secret = act(container, "create", NewClient("app", ()))
    other, foreign = act(container, "create", NewClient("other", ()))
    for typed in ("", secret[:-1], secret + "x", secret.upper(), f" {secret}", foreign):
        refused(container, "authenticate_secret", str(client.id), typed)
    for identifier in ("", "app", str(uuid.UUID(int=404)), str(other.id)):
        refused(container, "authenticate_secret", identifier, secret)


def test_a_rotated_secret_ends_the_old_one(container):
    """From the rotation on only the new secret authenticates."""
    client, old = act(container, "create", NewClient("app", ()))
    new = act(container, "rotate_secret", client.id)
    assert new != old
    refused(container, "authenticate_secret", str(client.id), old)
    assert act(container, "authenticate_secret", str(client.id), new) == client


def test_a_revoked_client_is_refused_everywhere(container):
    """Neither secret nor assertion authenticates, and the client is no longer active."""
    client, secret = act(container, "create", NewClient("app", (), jwks=JWKS))
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
    _, secret = act(container, "create", NewClient("app", ("risk:read",)))
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
    client, secret = act(container, "create", NewClient("app", ()))
    act(container, "revoke", client.id)
    with container.store.transaction() as tx:
        tx.execute(text("UPDATE client SET status = 'active'"))
    with pytest.raises(Exception, match="row_refused"):
        act(container, "authenticate_secret", str(client.id), secret)


def test_an_assertion_authenticates(container):
    """A fresh assertion for this audience gives the client; one of several audiences is enough."""
    client, _ = act(container, "create", NewClient("app", (), jwks=JWKS))
    for audience in (AUDIENCE, ["https://elsewhere", AUDIENCE]):
        token = assertion(container, client, aud=audience)
        found = act(container, "authenticate_assertion", str(client.id), token, [AUDIENCE, "x"])
        assert found == client


def test_a_replayed_assertion_is_refused(container):
    """Each `jti` counts once, for as long as it lives, whatever the token around it."""
    client, _ = act(container, "create", NewClient("app", (), jwks=JWKS))
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
    client, _ = act(container, "create", NewClient("app", (), jwks=JWKS))
    token = assertion(container, client, exp=unix(container.clock.now()) + 600.5)
    act(container, "authenticate_assertion", str(client.id), token, [AUDIENCE])
    container.clock.advance(seconds=600)
    used = {"told": "client_assertion: jti was used before."}
    refused(container, "authenticate_assertion", str(client.id), token, [AUDIENCE], **used)


def test_two_clients_may_use_the_same_jti(container):
    """The list of used assertions is kept per client, and forgets what has expired."""
    for name in ("one", "two"):
        client, _ = act(container, "create", NewClient(name, (), jwks=JWKS))
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
    client, _ = act(container, "create", NewClient("app", (), jwks=JWKS))
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
    client, _ = act(container, "create", NewClient("app", (), jwks=JWKS))
    bare, _ = act(container, "create", NewClient("bare", ()))
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
    client, _ = act(container, "create", NewClient("app", (), jwks=JWKS))
    wrong = assertion(container, client, SigningKey.generate(), jti="kept")
    refused(container, "authenticate_assertion", str(client.id), wrong, [AUDIENCE])
    token = assertion(container, client, jti="kept")
    assert act(container, "authenticate_assertion", str(client.id), token, [AUDIENCE])


def test_a_rotated_secret_may_overlap(container):
    """Old and new count together until the stated time, which the listing tells."""
    client, old = act(container, "create", NewClient("app", ()))
    new = act(container, "rotate_secret", client.id, timedelta(hours=24))
    for secret in (old, new):
        assert act(container, "authenticate_secret", str(client.id), secret) == client
    (line,) = act(container, "listing")
    assert line["old_secret_until"] == rfc3339(container.clock.now() + timedelta(hours=24))
    container.clock.advance(hours=23, minutes=59)
    assert act(container, "authenticate_secret", str(client.id), old) == client
    container.clock.advance(minutes=1)
    refused(container, "authenticate_secret", str(client.id), old)
    assert act(container, "authenticate_secret", str(client.id), new) == client
    assert act(container, "listing")[0]["old_secret_until"] is None


def test_only_one_old_secret_counts_and_a_rotation_without_overlap_ends_it(container):
    """A second rotation ends the first secret at once, one without overlap ends all old ones."""
    client, first = act(container, "create", NewClient("app", ()))
    second = act(container, "rotate_secret", client.id, timedelta(hours=1))
    third = act(container, "rotate_secret", client.id, timedelta(hours=1))
    refused(container, "authenticate_secret", str(client.id), first)
    assert act(container, "authenticate_secret", str(client.id), second)
    last = act(container, "rotate_secret", client.id)
    for secret in (first, second, third):
        refused(container, "authenticate_secret", str(client.id), secret)
    assert act(container, "authenticate_secret", str(client.id), last)


def test_a_longer_overlap_than_was_stated_is_not_to_be_had_with_sql(container):
    """The row of a client is refused when its end was edited; a month is the most."""
    client, old = act(container, "create", NewClient("app", ()))
    act(container, "rotate_secret", client.id, timedelta(hours=1))
    later = container.clock.now() + timedelta(days=2)
    with container.store.transaction() as tx:
        tx.execute(update(ClientRow).values(old_secret_until=later))
    with pytest.raises(Exception, match="row_refused"):
        act(container, "authenticate_secret", str(client.id), old)
    for overlap in (timedelta(days=31), timedelta(seconds=-1)):
        for name, arguments in (("rotate_secret", ()), ("replace_jwks", (JWKS,))):
            with pytest.raises(BadInput) as refusal:
                act(container, name, client.id, *arguments, overlap)
            assert refusal.value.faults[0].code == "bad_overlap"


def test_keys_are_replaced_with_an_overlap(container):
    """Old and new keys count until the stated time; without overlap the old end at once."""
    client, _ = act(container, "create", NewClient("app", (), jwks=JWKS))
    new = SigningKey.generate()
    fresh = {"keys": [new.public_jwk()]}
    act(container, "replace_jwks", client.id, fresh, timedelta(hours=2))
    for key in (KEY, new):
        token = assertion(container, client, key)
        assert act(container, "authenticate_assertion", str(client.id), token, [AUDIENCE])
    assert act(container, "listing")[0]["old_jwks_until"]
    container.clock.advance(hours=2)
    refused(
        container,
        "authenticate_assertion",
        str(client.id),
        assertion(container, client),
        [AUDIENCE],
    )
    token = assertion(container, client, new)
    assert act(container, "authenticate_assertion", str(client.id), token, [AUDIENCE])
    act(container, "replace_jwks", client.id, JWKS)
    refused(
        container,
        "authenticate_assertion",
        str(client.id),
        assertion(container, client, new),
        [AUDIENCE],
    )
    assert act(
        container,
        "authenticate_assertion",
        str(client.id),
        assertion(container, client),
        [AUDIENCE],
    )
    act(container, "replace_jwks", client.id, None)
    refused(
        container,
        "authenticate_assertion",
        str(client.id),
        assertion(container, client),
        [AUDIENCE],
    )


def test_a_revocation_ends_what_overlaps_too(container):
    """Neither of two secrets nor of two key sets is left."""
    client, old = act(container, "create", NewClient("app", (), jwks=JWKS))
    new = act(container, "rotate_secret", client.id, timedelta(hours=1))
    act(container, "replace_jwks", client.id, JWKS, timedelta(hours=1))
    act(container, "revoke", client.id)
    for secret in (old, new):
        refused(container, "authenticate_secret", str(client.id), secret)
    refused(
        container,
        "authenticate_assertion",
        str(client.id),
        assertion(container, client),
        [AUDIENCE],
    )
    with container.store.transaction(read=True) as tx:
        row = tx.execute(text("SELECT old_secret, old_jwks FROM client")).one()
    assert tuple(row) == (None, None)


def test_a_private_key_is_refused_and_not_stored(container):
    """The place is told, and no client is made."""
    private = json.loads(json.dumps(KEY.jwk.as_dict(private=True)))
    with pytest.raises(BadInput) as refusal:
        act(container, "create", NewClient("app", (), jwks={"keys": [private]}))
    (fault,) = refusal.value.faults
    assert (fault.pointer, fault.code) == ("/jwks/keys/0", "private_key")
    assert private["d"] not in f"{fault} {refusal.value}"
    assert act(container, "listing") == []


def test_a_client_that_is_known_is_read_in_one_statement(container):
    """It is proven again only where its row is another; what is written to it is seen at once."""
    client, _ = act(container, "create", NewClient("app", ("flows:write",)))
    asked = []
    event.listen(container.store.engine, "before_cursor_execute", lambda *of: asked.append(of[2]))
    first, once = act(container, "active", client.id), len(asked)
    again, twice = act(container, "active", client.id), len(asked) - once
    assert first == again
    assert twice == once - 1
    act(container, "revoke", client.id)
    assert act(container, "active", client.id) is None


@pytest.mark.parametrize("edited", [{"scopes": sorted(SCOPES)}, {"name": "another"}])
def test_a_known_client_whose_row_is_edited_is_refused(container, edited):
    """That it was proven before, says nothing about another row."""
    client, _ = act(container, "create", NewClient("app", ("flows:write",)))
    assert act(container, "active", client.id) == client
    with container.store.engine.begin() as connection:
        connection.execute(update(table_of(ClientRow)).values(edited))
    for _ in range(2):
        with pytest.raises(RowRefused):
            act(container, "active", client.id)


def test_a_known_client_ends_with_the_key_that_proved_it(container, monkeypatch):
    """A row under a generation that is gone is proven by nobody, here neither."""
    client, _ = act(container, "create", NewClient("app", ("flows:write",)))
    assert act(container, "active", client.id) == client
    monkeypatch.setattr("service.store.authentic._key_of", lambda _tx, _mac: None)
    with pytest.raises(RowRefused):
        act(container, "active", client.id)


def test_clients_that_are_known_are_not_kept_without_end(container, monkeypatch):
    """As many as there is room for; the others are read as before."""
    monkeypatch.setattr("service.clients.store._MOST_KEPT", 2)
    made = [act(container, "create", NewClient(name, ()))[0] for name in "abc"]
    for _ in range(2):
        assert [act(container, "active", each.id) for each in made] == made
    assert len(container.clients._plain._known) <= 2
