"""How many statements the calls with tokens run, exactly."""

from contextlib import contextmanager

import pytest
from sqlalchemy import event


@contextmanager
def heard(service):
    """Count what reaches the database: statements, with those that begin, and commits."""
    found = {"statements": 0, "begins": 0, "commits": 0}
    engine = service.container.store.engine

    def asked(_connection, _cursor, statement, *_of):
        name = "begins" if statement.startswith("BEGIN") else "statements"
        found[name] += 1

    def committed(connection):
        found["commits"] += 1

    event.listen(engine, "before_cursor_execute", asked)
    event.listen(engine, "commit", committed)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", asked)
        event.remove(engine, "commit", committed)


@pytest.fixture(autouse=True)
def still(service, monkeypatch):
    """Let no time pass for what is kept of callers: a busy machine takes more than a second."""
    for home in (service.container.clients, service.container.tokens):
        monkeypatch.setattr(home._recent, "_now", lambda: 0.0)


@pytest.fixture
def granted(service):
    """A person's tokens, of a client that this process knows."""
    _, tokens = service.sign_up("alice")
    return tokens


def counts(found):
    """Return statements, begins and commits."""
    return found["statements"], found["begins"], found["commits"]


def test_an_introspection_is_one_statement_and_no_commit(service, granted):
    """Of an access token and of a refresh token alike."""
    for token in (granted["access_token"], granted["refresh_token"]):
        with heard(service) as found:
            assert service.oauth("introspect", token=token).json["active"]
        assert counts(found) == (1, 0, 0)


def test_a_client_that_was_forgotten_is_one_statement_more(service, granted):
    """So it is once within the time that callers are kept."""
    service.container.clients.forget()
    with heard(service) as found:
        assert service.oauth("introspect", token=granted["access_token"]).json["active"]
    assert counts(found) == (2, 0, 0)


def test_a_known_client_takes_a_token_without_the_database(service):
    """Nothing is stored of an access token of a client."""
    service.access()
    with heard(service) as found:
        service.access()
    assert counts(found) == (0, 0, 0)


def test_a_refresh_is_one_transaction(service, granted):
    """PostgreSQL locks, and writes the new token with its leaf in one statement."""
    # The first makes the key of successors, and the second loads it.
    for _ in range(3):
        given = {"grant_type": "refresh_token", "refresh_token": granted["refresh_token"]}
        with heard(service) as found:
            granted = service.oauth("token", **given).json
    assert counts(found) == (5, 1, 1)


def test_an_authorized_read_asks_nothing_about_its_caller(service, granted):
    """A list of sessions reads the subject, its sessions and its authenticators."""
    subject = service.call("POST", "/v1/subjects/lookup", {"identifier": "alice"}).json["id"]
    path = f"/v1/subjects/{subject}/sessions"
    assert len(service.call("GET", path).json["items"]) == 1
    with heard(service) as found:
        service.call("GET", path)
    assert counts(found) == (3, 0, 0)
