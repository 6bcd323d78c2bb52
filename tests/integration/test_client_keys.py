"""Secrets that overlap, keys that are replaced, and clients that are cached."""

import json
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import event, text, update

from crypto.signing import SigningKey
from service.clients.model import SCOPES, NewClient
from service.clients.store import ClientRow
from service.domain.clock import rfc3339
from service.domain.errors import BadInput, RowRefused
from service.store import authentic
from service.store.base import table_of
from tests.integration.authenticating import AUDIENCE, JWKS, KEY, act, assertion, refused


def test_a_rotated_secret_may_overlap(container):
    """Old and new count together until the stated time, which the listing tells."""
    client, old = act(container, "create", NewClient(name="app", scopes=()))
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
    client, first = act(container, "create", NewClient(name="app", scopes=()))
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
    client, old = act(container, "create", NewClient(name="app", scopes=()))
    act(container, "rotate_secret", client.id, timedelta(hours=1))
    later = container.clock.now() + timedelta(days=2)
    with container.store.transaction() as tx:
        tx.execute(update(ClientRow).values(old_secret_until=later))
    with pytest.raises(Exception, match="row_refused"):
        act(container, "authenticate_secret", str(client.id), old)
    for overlap in (timedelta(days=31), timedelta(seconds=-1)):
        for change in (
            partial(act, container, "rotate_secret", client.id, overlap),
            partial(act, container, "replace_jwks", client=client.id, jwks=JWKS, overlap=overlap),
        ):
            with pytest.raises(BadInput) as refusal:
                change()
            assert refusal.value.faults[0].code == "bad_overlap"


def test_keys_are_replaced_with_an_overlap(container):
    """Old and new keys count until the stated time; without overlap the old end at once."""
    client, _ = act(container, "create", NewClient(name="app", scopes=(), jwks=JWKS))
    new = SigningKey.generate()
    fresh = {"keys": [new.public_jwk()]}
    act(container, "replace_jwks", client=client.id, jwks=fresh, overlap=timedelta(hours=2))
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
    act(container, "replace_jwks", client=client.id, jwks=JWKS)
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
    act(container, "replace_jwks", client=client.id, jwks=None)
    refused(
        container,
        "authenticate_assertion",
        str(client.id),
        assertion(container, client),
        [AUDIENCE],
    )


def test_a_revocation_ends_what_overlaps_too(container):
    """Neither of two secrets nor of two key sets is left."""
    client, old = act(container, "create", NewClient(name="app", scopes=(), jwks=JWKS))
    new = act(container, "rotate_secret", client.id, timedelta(hours=1))
    act(container, "replace_jwks", client=client.id, jwks=JWKS, overlap=timedelta(hours=1))
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
        act(container, "create", NewClient(name="app", scopes=(), jwks={"keys": [private]}))
    (fault,) = refusal.value.faults
    assert (fault.pointer, fault.code) == ("/jwks/keys/0", "private_key")
    assert private["d"] not in f"{fault} {refusal.value}"
    assert act(container, "listing") == []


def test_a_client_is_read_in_one_statement_and_proven_once(container, monkeypatch):
    """It is proven again only where its row is another; what is written to it is seen at once."""
    client, _ = act(container, "create", NewClient(name="app", scopes=("flows:write",)))
    asked, proven = [], []
    event.listen(container.store.engine, "before_cursor_execute", lambda *of: asked.append(of[2]))
    prove = authentic._holds
    monkeypatch.setattr(authentic, "_holds", lambda *of: proven.append(of) or prove(*of))
    assert act(container, "active", client.id) == act(container, "active", client.id) == client
    assert len([text for text in asked if not text.startswith("BEGIN")]) == 2
    assert len(proven) == 1
    act(container, "revoke", client.id)
    assert act(container, "active", client.id) is None


@pytest.mark.parametrize("edited", [{"scopes": sorted(SCOPES)}, {"name": "another"}])
def test_a_known_client_whose_row_is_edited_is_refused(container, edited):
    """That it was proven before, says nothing about another row."""
    client, _ = act(container, "create", NewClient(name="app", scopes=("flows:write",)))
    assert act(container, "active", client.id) == client
    with container.store.engine.begin() as connection:
        connection.execute(update(table_of(ClientRow)).values(edited))
    for _ in range(2):
        with pytest.raises(RowRefused):
            act(container, "active", client.id)


def test_a_known_client_ends_with_the_key_that_proved_it(container, monkeypatch):
    """A row under a generation that is gone is proven by nobody, here neither."""
    client, _ = act(container, "create", NewClient(name="app", scopes=("flows:write",)))
    assert act(container, "active", client.id) == client
    monkeypatch.setattr("service.store.authentic._key_of", lambda _tx, _mac: None)
    with pytest.raises(RowRefused):
        act(container, "active", client.id)


def test_clients_that_are_known_are_not_kept_without_end(container, monkeypatch):
    """As many as there is room for; the others are read as before."""
    monkeypatch.setattr("service.clients.store._MOST_KEPT", 2)
    made = [act(container, "create", NewClient(name=name, scopes=()))[0] for name in "abc"]
    for _ in range(2):
        assert [act(container, "active", each.id) for each in made] == made
    assert len(container.clients._plain._known) <= 2
