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


def act(house, name, *arguments):
    """Call an action in a unit of work of its own."""
    with house.store.transaction() as tx:
        return getattr(house.clients, name)(tx, *arguments)


def refused(house, name, *arguments, told="The client does not authenticate."):
    """Check that a client does not authenticate: one answer, unless the form is at fault."""
    with pytest.raises(Unauthorized) as refusal:
        act(house, name, *arguments)
    assert (refusal.value.code, refusal.value.detail[: len(told)]) == ("invalid_client", told)


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
    """No client is made; the known scopes are named, and what was asked is not repeated."""
    with pytest.raises(BadInput) as refusal:
        act(house, "create", NewClient("app", ("flows:write", "root")))
    (fault,) = refusal.value.faults
    assert (fault.pointer, fault.code) == ("/scopes", "unknown_scope")
    assert "root" not in fault.detail
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
        "client_id", "name", "status", "scopes", "idle_scopes", "first_party",
        "asserts_context", "segments",
        "created_at", "keys", "old_secret_until", "old_jwks_until",
    }  # fmt: skip
    assert secret not in repr(line)


def test_a_client_flipped_to_active_with_sql_does_not_authenticate(house):
    """The secret is bound to the status, so that a revocation cannot be undone in the database."""
    client, secret = act(house, "create", NewClient("app", ()))
    act(house, "revoke", client.id)
    with house.store.transaction() as tx:
        tx.execute(text("UPDATE client SET status = 'active'"))
    with pytest.raises(Exception, match="row_refused"):
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
    used = {"told": "client_assertion: jti was used before."}
    token = assertion(house, client, jti="once")
    act(house, "authenticate_assertion", str(client.id), token, [AUDIENCE])
    refused(house, "authenticate_assertion", str(client.id), token, [AUDIENCE], **used)
    again = assertion(house, client, jti="once", aud=[AUDIENCE], exp=unix(house.clock.now()) + 600)
    refused(house, "authenticate_assertion", str(client.id), again, [AUDIENCE], **used)
    house.clock.advance(seconds=59)
    refused(house, "authenticate_assertion", str(client.id), token, [AUDIENCE], **used)
    house.clock.advance(seconds=1)
    late = {"told": "client_assertion: exp must be"}
    refused(house, "authenticate_assertion", str(client.id), token, [AUDIENCE], **late)


def test_a_jti_is_remembered_as_long_as_its_assertion_counts(house):
    """One that ends in ten minutes is refused until then, a broken second included."""
    client, _ = act(house, "create", NewClient("app", (), jwks=JWKS))
    token = assertion(house, client, exp=unix(house.clock.now()) + 600.5)
    act(house, "authenticate_assertion", str(client.id), token, [AUDIENCE])
    house.clock.advance(seconds=600)
    used = {"told": "client_assertion: jti was used before."}
    refused(house, "authenticate_assertion", str(client.id), token, [AUDIENCE], **used)


def test_two_clients_may_use_the_same_jti(house):
    """The list of used assertions is kept per client, and forgets what has expired."""
    for name in ("one", "two"):
        client, _ = act(house, "create", NewClient(name, (), jwks=JWKS))
        token = assertion(house, client, jti="same")
        assert act(house, "authenticate_assertion", str(client.id), token, [AUDIENCE])
    house.clock.advance(minutes=2)
    token = assertion(house, client, jti="same")
    assert act(house, "authenticate_assertion", str(client.id), token, [AUDIENCE])
    with house.store.transaction() as tx:
        assert house.clients.drop_expired(tx, house.clock.now()) == 1
        assert tx.execute(text("SELECT count(*) FROM used_assertion")).scalar() == 1


def test_an_assertion_out_of_order_is_told_why_whoever_it_names(house):
    """The reason names the claim, and is the same for a client that there is not."""
    client, _ = act(house, "create", NewClient("app", (), jwks=JWKS))
    nobody = replace(client, id=uuid.UUID(int=404))
    for name, values in {
        "aud": ["https://evil.example", [], None, [{}]], "iss and sub": [None],
        "exp": [0, 2**40], "jti": [None, 7, {}, ""], "iat": [2**40], "nbf": [2**40],
    }.items():  # fmt: skip
        for value in values:
            change = {"iss": "x"} if name == "iss and sub" else {name: value}
            for who in (client, nobody):
                token = assertion(house, who, **change)
                told = f"client_assertion: {name} must"
                refused(
                    house, "authenticate_assertion", str(who.id), token, [AUDIENCE], told=told
                )  # fmt: skip


def test_an_assertion_of_another_key_or_client_is_refused(house):
    """Only the registered keys count; no keys and no such client are refused alike."""
    client, _ = act(house, "create", NewClient("app", (), jwks=JWKS))
    bare, _ = act(house, "create", NewClient("bare", ()))
    nobody = replace(client, id=uuid.UUID(int=404))
    foreign = assertion(house, client, SigningKey.generate())
    refused(house, "authenticate_assertion", str(client.id), foreign, [AUDIENCE])
    for who in (bare, nobody):
        refused(house, "authenticate_assertion", str(who.id), assertion(house, who), [AUDIENCE])
        refused(house, "authenticate_assertion", "", assertion(house, who), [AUDIENCE])
    told = "client_assertion: iss and sub must both be the client_id."
    for name in (str(bare.id), "nobody"):
        token = assertion(house, client)
        refused(house, "authenticate_assertion", name, token, [AUDIENCE], told=told)
    form = "client_assertion: it must be base64url"
    refused(house, "authenticate_assertion", str(client.id), "n.t.t", [AUDIENCE], told=form)


def test_a_refused_assertion_is_not_used_up(house):
    """A `jti` is noted only when everything else holds."""
    client, _ = act(house, "create", NewClient("app", (), jwks=JWKS))
    wrong = assertion(house, client, SigningKey.generate(), jti="kept")
    refused(house, "authenticate_assertion", str(client.id), wrong, [AUDIENCE])
    token = assertion(house, client, jti="kept")
    assert act(house, "authenticate_assertion", str(client.id), token, [AUDIENCE])


def test_a_rotated_secret_may_overlap(house):
    """Old and new count together until the stated time, which the listing tells."""
    client, old = act(house, "create", NewClient("app", ()))
    new = act(house, "rotate_secret", client.id, timedelta(hours=24))
    for secret in (old, new):
        assert act(house, "authenticate_secret", str(client.id), secret) == client
    (line,) = act(house, "listing")
    assert line["old_secret_until"] == rfc3339(house.clock.now() + timedelta(hours=24))
    house.clock.advance(hours=23, minutes=59)
    assert act(house, "authenticate_secret", str(client.id), old) == client
    house.clock.advance(minutes=1)
    refused(house, "authenticate_secret", str(client.id), old)
    assert act(house, "authenticate_secret", str(client.id), new) == client
    assert act(house, "listing")[0]["old_secret_until"] is None


def test_only_one_old_secret_counts_and_a_rotation_without_overlap_ends_it(house):
    """A second rotation ends the first secret at once, one without overlap ends all old ones."""
    client, first = act(house, "create", NewClient("app", ()))
    second = act(house, "rotate_secret", client.id, timedelta(hours=1))
    third = act(house, "rotate_secret", client.id, timedelta(hours=1))
    refused(house, "authenticate_secret", str(client.id), first)
    assert act(house, "authenticate_secret", str(client.id), second)
    last = act(house, "rotate_secret", client.id)
    for secret in (first, second, third):
        refused(house, "authenticate_secret", str(client.id), secret)
    assert act(house, "authenticate_secret", str(client.id), last)


def test_a_longer_overlap_than_was_stated_is_not_to_be_had_with_sql(house):
    """The row of a client is refused when its end was edited; a month is the most."""
    client, old = act(house, "create", NewClient("app", ()))
    act(house, "rotate_secret", client.id, timedelta(hours=1))
    later = house.clock.now() + timedelta(days=2)
    with house.store.transaction() as tx:
        tx.execute(update(ClientRow).values(old_secret_until=later))
    with pytest.raises(Exception, match="row_refused"):
        act(house, "authenticate_secret", str(client.id), old)
    for overlap in (timedelta(days=31), timedelta(seconds=-1)):
        for name, arguments in (("rotate_secret", ()), ("replace_jwks", (JWKS,))):
            with pytest.raises(BadInput) as refusal:
                act(house, name, client.id, *arguments, overlap)
            assert refusal.value.faults[0].code == "bad_overlap"


def test_keys_are_replaced_with_an_overlap(house):
    """Old and new keys count until the stated time; without overlap the old end at once."""
    client, _ = act(house, "create", NewClient("app", (), jwks=JWKS))
    new = SigningKey.generate()
    fresh = {"keys": [new.public_jwk()]}
    act(house, "replace_jwks", client.id, fresh, timedelta(hours=2))
    for key in (KEY, new):
        token = assertion(house, client, key)
        assert act(house, "authenticate_assertion", str(client.id), token, [AUDIENCE])
    assert act(house, "listing")[0]["old_jwks_until"]
    house.clock.advance(hours=2)
    refused(house, "authenticate_assertion", str(client.id), assertion(house, client), [AUDIENCE])
    token = assertion(house, client, new)
    assert act(house, "authenticate_assertion", str(client.id), token, [AUDIENCE])
    act(house, "replace_jwks", client.id, JWKS)
    refused(
        house, "authenticate_assertion", str(client.id), assertion(house, client, new), [AUDIENCE]
    )
    assert act(
        house, "authenticate_assertion", str(client.id), assertion(house, client), [AUDIENCE]
    )
    act(house, "replace_jwks", client.id, None)
    refused(house, "authenticate_assertion", str(client.id), assertion(house, client), [AUDIENCE])


def test_a_revocation_ends_what_overlaps_too(house):
    """Neither of two secrets nor of two key sets is left."""
    client, old = act(house, "create", NewClient("app", (), jwks=JWKS))
    new = act(house, "rotate_secret", client.id, timedelta(hours=1))
    act(house, "replace_jwks", client.id, JWKS, timedelta(hours=1))
    act(house, "revoke", client.id)
    for secret in (old, new):
        refused(house, "authenticate_secret", str(client.id), secret)
    refused(house, "authenticate_assertion", str(client.id), assertion(house, client), [AUDIENCE])
    with house.store.transaction(read=True) as tx:
        row = tx.execute(text("SELECT old_secret, old_jwks FROM client")).one()
    assert tuple(row) == (None, None)


def test_a_private_key_is_refused_and_not_stored(house):
    """The place is told, and no client is made."""
    private = json.loads(json.dumps(KEY.jwk.as_dict(private=True)))
    with pytest.raises(BadInput) as refusal:
        act(house, "create", NewClient("app", (), jwks={"keys": [private]}))
    (fault,) = refusal.value.faults
    assert (fault.pointer, fault.code) == ("/jwks/keys/0", "private_key")
    assert private["d"] not in f"{fault} {refusal.value}"
    assert act(house, "listing") == []


def test_a_client_that_is_known_is_read_in_one_statement(house):
    """It is proven again only where its row is another; what is written to it is seen at once."""
    client, _ = act(house, "create", NewClient("app", ("flows:write",)))
    asked = []
    event.listen(
        house.store.engine, "before_cursor_execute", lambda *of: asked.append(of[2])
    )  # fmt: skip
    first, once = act(house, "active", client.id), len(asked)
    again, twice = act(house, "active", client.id), len(asked) - once
    assert first == again
    assert twice == once - 1
    act(house, "revoke", client.id)
    assert act(house, "active", client.id) is None


@pytest.mark.parametrize("edited", [{"scopes": sorted(SCOPES)}, {"name": "another"}])
def test_a_known_client_whose_row_is_edited_is_refused(house, edited):
    """That it was proven before, says nothing about another row."""
    client, _ = act(house, "create", NewClient("app", ("flows:write",)))
    assert act(house, "active", client.id) == client
    with house.store.engine.begin() as connection:
        connection.execute(update(table_of(ClientRow)).values(edited))
    for _ in range(2):
        with pytest.raises(RowRefused):
            act(house, "active", client.id)


def test_a_known_client_ends_with_the_key_that_proved_it(house, monkeypatch):
    """A row under a generation that is gone is proven by nobody, here neither."""
    client, _ = act(house, "create", NewClient("app", ("flows:write",)))
    assert act(house, "active", client.id) == client
    monkeypatch.setattr("service.store.authentic._key_of", lambda _tx, _mac: None)
    with pytest.raises(RowRefused):
        act(house, "active", client.id)


def test_clients_that_are_known_are_not_kept_without_end(house, monkeypatch):
    """As many as there is room for; the others are read as before."""
    monkeypatch.setattr("service.clients.store._MOST_KEPT", 2)
    made = [act(house, "create", NewClient(name, ()))[0] for name in "abc"]
    for _ in range(2):
        assert [act(house, "active", each.id) for each in made] == made
    assert len(house.clients._plain._known) <= 2
