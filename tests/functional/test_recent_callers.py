"""What is kept of callers for a moment ends with every change, in each process."""

import os
import threading
import time
from contextlib import suppress
from uuid import uuid4

import pytest

from crypto.hashing import PasswordHasher
from service.app import open_container
from service.domain.ids import parse_id
from service.operators.model import Role
from tests.functional.conftest import Service
from tests.lacking import lacks

LONG = {"caller_seconds": 5}
SERVED = 404
REFUSED = 401


def opened(settings, clock, **changes):
    """Open a service with settings of its own."""
    changed = settings.model_copy(update=changes)
    return Service(open_container(changed, clock, PasswordHasher.unsafe_for_tests()), clock)


@pytest.fixture
def houses(settings, clock):
    """Return a function that opens a process on the same database."""
    every = []

    def more(**changes):
        every.append(opened(settings, clock, **(LONG | changes)))
        return every[-1]

    yield more
    for one in every:
        one.container.announcements.stop()
        one.container.store.engine.dispose()


def reads(service, bearer):
    """Return the status of a read of somebody who is not there: 404 where the token counts."""
    return service.call("GET", f"/v1/subjects/{uuid4()}/sessions", bearer=bearer).status_code


def asks(service, client):
    """Return the status of an introspection by a client."""
    return service.oauth("introspect", client, token="nothing").status_code


def taken_up(service, client):
    """Let a process know a client, by its secret and by a token; return the token."""
    bearer = service.access(client)
    assert (reads(service, bearer), asks(service, client)) == (SERVED, 200)
    return bearer


def revoked(service, client, bearer):
    """Revoke the token."""
    assert service.oauth("revoke", client, token=bearer).status_code == 200


def ended(service, client, _bearer):
    """Revoke the client."""
    with service.container.store.transaction() as tx:
        service.container.clients.revoke(tx, parse_id(client[0]), "test")


def rotated(service, client, _bearer):
    """Replace the secret of the client."""
    with service.container.store.transaction() as tx:
        service.container.clients.rotate_secret(tx, parse_id(client[0]), actor="test")


def lessened(service, client, _bearer):
    """Take the scopes of the client."""
    with service.container.store.transaction() as tx:
        service.container.clients.approve_scopes(tx, client[0], {"scopes": "flows:write"}, "test")


CHANGES = [
    pytest.param(revoked, (REFUSED, 200), id="a token is revoked"),
    pytest.param(ended, (REFUSED, REFUSED), id="a client is revoked"),
    pytest.param(rotated, (SERVED, REFUSED), id="a secret is replaced"),
    pytest.param(lessened, (403, 403), id="scopes are taken"),
]


def states(service, client, bearer):
    """Return how a read and an introspection are answered."""
    return reads(service, bearer), asks(service, client)


@pytest.mark.parametrize(("change", "after"), CHANGES)
def test_a_change_counts_at_once_in_its_process(houses, change, after):
    """The request after the commit sees it, however long callers are kept."""
    service = houses()
    client = service.new_client()
    bearer = taken_up(service, client)
    change(service, client, bearer)
    assert states(service, client, bearer) == after


@pytest.mark.parametrize(("change", "after"), CHANGES)
def test_a_change_counts_at_once_where_nothing_is_kept(houses, change, after):
    """In a process that hears of nothing, too."""
    here, there = houses(), houses(caller_seconds=0)
    client = here.new_client()
    bearer = taken_up(there, client)
    change(here, client, bearer)
    assert states(there, client, bearer) == after


@pytest.mark.parametrize(("change", "after"), CHANGES)
def test_without_a_messenger_a_change_counts_within_the_bound(houses, change, after):
    """Another process serves what it knows for no longer than it may."""
    here, there = houses(), houses(caller_seconds=0.3)
    client = here.new_client()
    bearer = taken_up(there, client)
    change(here, client, bearer)
    time.sleep(0.3)
    assert states(there, client, bearer) == after


@pytest.mark.parametrize(("change", "after"), CHANGES)
def test_redis_tells_the_other_processes(houses, change, after):
    """They drop what they know long before it would end by itself."""
    url = os.environ.get("LAMINA_TEST_REDIS_URL", "")
    if not url:
        lacks("Redis", "set LAMINA_TEST_REDIS_URL")
    here, there = houses(redis_url=url), houses(redis_url=url)
    heard = threading.Event()
    there.container.announcements.start()
    there.container.announcements.listening.wait(5)
    there.container.changes.follow(heard.set)
    client = here.new_client()
    assert heard.wait(4)
    bearer = taken_up(there, client)
    heard.clear()
    begun = time.monotonic()
    change(here, client, bearer)
    assert heard.wait(4)
    # Long before the end of what is kept, so that it was the message.
    assert states(there, client, bearer) == after
    assert time.monotonic() - begun < LONG["caller_seconds"]


def test_a_redis_that_is_away_stops_no_change(houses):
    """It is logged; the bound holds all the same."""
    service = houses(redis_url="redis://127.0.0.1:1/0")
    client = service.new_client()
    bearer = taken_up(service, client)
    revoked(service, client, bearer)
    assert reads(service, bearer) == REFUSED


def test_a_change_that_is_rolled_back_counts_for_nothing(houses):
    """Neither is a secret of it known afterwards, nor the old one forgotten for good."""
    service = houses()
    client = service.new_client()
    bearer = taken_up(service, client)
    with suppress(ZeroDivisionError), service.container.store.transaction() as tx:
        clients = service.container.clients
        new = clients.rotate_secret(tx, parse_id(client[0]), actor="test")
        tx.flush()
        assert clients.authenticate_secret(tx, client[0], new)
        raise ZeroDivisionError
    assert states(service, client, bearer) == (SERVED, 200)
    assert asks(service, (client[0], new)) == REFUSED


def test_what_was_read_before_a_revocation_is_not_kept_after_it(houses, monkeypatch):
    """A slow request that found the token valid does not make the next ones find it so."""
    service = houses()
    client = service.new_client()
    bearer = service.access(client)
    find = service.container.tokens._unrevoked

    def slowly(tx, *given):
        found = find(tx, *given)
        other = threading.Thread(target=revoked, args=(service, client, bearer))
        other.start()
        other.join()
        return found

    monkeypatch.setattr(service.container.tokens, "_unrevoked", slowly)
    assert reads(service, bearer) == SERVED
    monkeypatch.undo()
    assert reads(service, bearer) == REFUSED


def test_an_operator_is_looked_up_at_every_call(houses):
    """A role that is withdrawn in another process counts at once, whatever is kept."""
    here, there = houses(), houses()
    person, tokens = here.sign_up("alice")
    with here.container.store.transaction() as tx:
        here.container.operators.roles.grant(tx, parse_id(person.id), Role.AUDITOR, "test")
    bearer = here.operator_token(tokens)
    assert there.call("GET", "/v1/policies", bearer=bearer).status_code == 200
    with here.container.store.transaction() as tx:
        here.container.operators.roles.revoke(tx, parse_id(person.id), Role.AUDITOR, "test")
    assert there.call("GET", "/v1/policies", bearer=bearer).status_code == REFUSED


def test_a_session_that_ended_is_told_at_once_by_every_process(houses):
    """An introspection reads the session each time; only who asks is kept."""
    here, there = houses(), houses()
    _, tokens = here.sign_up("alice")
    client = (here.client_id, here.secret)

    def active():
        return there.oauth("introspect", client, token=tokens["access_token"]).json["active"]

    assert active()
    assert here.oauth("revoke", token=tokens["refresh_token"]).status_code == 200
    assert not active()


def test_no_transaction_is_open_while_calls_are_counted(service):
    """Redis is asked then, and nobody's rows or connection wait for it."""
    _, tokens = service.sign_up("alice")
    store = service.container.store
    usual = service.container.tokens._authenticated
    open_in = []

    def counted(client):
        open_in.append(getattr(store._local, "open", False))
        usual(client)

    service.container.tokens.on_authenticated(counted)
    service.oauth("token", grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    service.container.clients.forget()
    service.oauth("introspect", token=tokens["access_token"])
    service.oauth("revoke", token="nothing")
    assert open_in == [False, False, False]
