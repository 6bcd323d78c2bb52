"""What is answered when something that the service leans on is away."""

import os
import secrets
import uuid

import pytest
from sqlalchemy import event, text

from crypto.errors import HasherBusy
from service.app import create_app, open_container
from service.domain.errors import Busy
from service.risk.model import Assessment
from service.store import engine, room
from service.store.engine import make_engine
from tests.functional.conftest import PASSWORD
from tests.lacking import lacks


@pytest.mark.edits_rows
def test_a_lost_database_is_unavailable_and_allows_nothing(service, settings):
    """503 with Retry-After, on guarded and public routes alike, and not ready."""
    if settings.sqlite:
        pytest.skip("a database in a file of this machine is not lost while it runs")
    service.register()
    name = settings.database_url.rsplit("/", 1)[1]
    admin = make_engine(settings.database_url.rsplit("/", 1)[0] + "/postgres")
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        try:
            flow = service.begin()
            assert flow.status_code == 503
            assert flow.headers["Retry-After"] == "5"
            assert flow.json["code"] == "database_away"
            # A client that showed its secret a moment ago has its token without the database.
            service.container.clients.forget()
            assert service.oauth("token", grant_type="client_credentials").status_code == 503
            ready = service.http.get("/readyz")
            assert (ready.status_code, ready.json["checks"]["database"]) == (503, False)
            assert service.http.get("/healthz").status_code == 200
        finally:
            connection.execute(text(f"CREATE DATABASE {name}"))
    admin.dispose()


def test_a_busy_database_is_asked_again_and_then_503(service, monkeypatch):
    """What others ended is done again by itself; after five times the caller is told when."""
    person, runs = service.register(), []
    changed, left = service.container.accounts.update, 4

    def update(*arguments, **named):
        runs.append(1)
        if len(runs) <= left:
            raise Busy(again=True)
        return changed(*arguments, **named)

    monkeypatch.setattr(engine, "_PAUSE_MS", 1.0)
    monkeypatch.setattr(service.container.accounts, "update", update)
    body = {"profile": {"name": "Alice"}}
    answer = service.call("PATCH", f"/v1/subjects/{person.id}", body)
    assert (answer.status_code, len(runs)) == (200, 5)
    runs.clear()
    left = 5
    answer = service.call("PATCH", f"/v1/subjects/{person.id}", body)
    assert (answer.status_code, answer.json["code"], len(runs)) == (503, "database_busy", 5)
    assert answer.headers["Retry-After"] == "1"


@pytest.fixture
def redis_url() -> str:
    """A Redis at hand; the keys of a test are of an address that nobody else has."""
    url = os.environ.get("LAMINA_TEST_REDIS_URL", "")
    if not url:
        lacks("Redis", "set LAMINA_TEST_REDIS_URL to one")
    return url


def test_processes_with_redis_count_a_caller_together(settings, clock, redis_url):
    """What one process allowed is spent in the other; another caller has all of it."""
    container = open_container(settings.model_copy(update={"redis_url": redis_url}), clock)
    both = [create_app(container).test_client() for _ in range(2)]
    site = f"2001:db8:{secrets.token_hex(2)}:"
    caller, another = (f"{site}{number}::1" for number in (1, 2))

    def ask(http, address):
        origin = {"REMOTE_ADDR": address}
        return http.get("/.well-known/jwks.json", environ_base=origin).status_code

    assert {ask(both[number % 2], caller) for number in range(1200)} == {200}
    assert [ask(http, caller) for http in both] == [429, 429]
    assert [ask(http, another) for http in both] == [200, 200]
    container.store.engine.dispose()


def test_the_edge_limit_says_when_to_come_back(service):
    """After its requests of a minute a caller gets 429 with Retry-After."""
    answers = [service.http.get("/.well-known/jwks.json") for _ in range(1201)]
    assert {answer.status_code for answer in answers[:1200]} == {200}
    assert answers[-1].status_code == 429
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
    assert answers[-1].headers["RateLimit-Remaining"] == "0"
    assert answers[-1].content_type == "application/problem+json"


def test_too_many_hashes_at_once_are_told_to_wait(service):
    """A password that finds no turn is 503 and no attempt."""
    service.register()
    flow = service.begin().json

    class Busy:
        def verify(self, encoded, password):
            raise HasherBusy

    service.container.password._hasher = Busy()
    answer = service.act(flow, "password", {"password": PASSWORD})
    assert (answer.status_code, answer.json["code"]) == (503, "overloaded")
    seen = service.call("GET", f"/v1/flows/{flow['id']}", Flow_Token=flow["flow_token"]).json
    assert seen["attempts_left"] == flow["attempts_left"]


@pytest.mark.edits_rows
def test_a_value_that_was_tampered_with_is_refused(service):
    """A flow whose revision was turned back in the database does not open: 503, no 500."""
    service.register()
    flow = service.begin().json
    service.act(flow, "password", {"password": "not the right one"})
    with service.container.store.transaction() as tx:
        tx.execute(text("UPDATE flow SET revision = 1"))
    answer = service.act(flow, "password", {"password": PASSWORD})
    assert (answer.status_code, answer.json["code"]) == (503, "sealed_value_refused")


@pytest.mark.edits_rows
def test_evidence_written_into_the_database_does_not_open(service):
    """A session that is given to another subject has no level at all."""
    alice, bob = service.register("alice"), service.register("bob")
    tokens = service.exchange(service.login(alice)["completion_code"]).json
    other = uuid.UUID(bob.id)
    value = other.hex if service.container.settings.sqlite else other
    with service.container.store.transaction() as tx:
        tx.execute(text("UPDATE session SET subject_id = :id"), {"id": value})
    assert service.oauth("introspect", token=tokens["access_token"]).status_code == 503


def test_a_critical_signal_denies_after_a_factor(service):
    """The signal is asked once something has verified, and ends the flow."""

    class Alarm:
        name = "alarm"
        worst = -9.0

        def assess(self, _tx, facts):
            return Assessment(signal=self.name, llr=-9.0)

        def failed(self, _tx, facts):
            raise AssertionError("nothing fails here")

    service.container.login._dependencies.signals.signals = (Alarm(),)
    service.register()
    flow = service.begin()
    assert flow.status_code == 201
    answer = service.act(flow.json, "password", {"password": PASSWORD})
    assert (answer.status_code, answer.json["code"]) == (403, "critical_risk")


def test_an_unexpected_error_tells_nothing(service):
    """500 with a trace and no word of what happened."""

    def broken(*_arguments):
        raise ZeroDivisionError("secret detail")

    service.container.login.begin = broken
    answer = service.begin()
    assert (answer.status_code, answer.json["code"]) == (500, "internal_error")
    assert "secret" not in answer.text


def test_a_full_disk_is_not_ready(service, settings, monkeypatch):
    """SQLite: too little room, no file left to make, or a directory that is gone; and back."""
    if not settings.sqlite:
        pytest.skip("the disk of a server is asked by writing to it")

    class Disk:
        f_frsize, f_bavail, f_files, f_favail = 4096, 1000, 10, 10

    ask = service.http.get
    assert ask("/readyz").json["checks"]["room"] is True
    monkeypatch.setattr(room.os, "statvfs", lambda _path: Disk)
    full = ask("/readyz")
    assert (full.status_code, full.json["checks"]["room"]) == (503, False)
    assert (full.json["status"], full.headers["Retry-After"]) == ("not_ready", "5")
    Disk.f_bavail = 10**9
    assert ask("/readyz").status_code == 200
    Disk.f_favail = 0
    assert ask("/readyz").json["checks"]["room"] is False

    def gone(_path):
        raise FileNotFoundError

    monkeypatch.setattr(room.os, "statvfs", gone)
    assert ask("/readyz").json["checks"]["room"] is False
    assert ask("/healthz").status_code == 200


def test_a_server_that_cannot_be_written_is_not_ready(service, settings, monkeypatch):
    """PostgreSQL: read-only, as a full disk or a stand-by is; asked anew after a while."""
    if settings.sqlite:
        pytest.skip("SQLite has no server")
    assert service.http.get("/readyz").json["checks"]["room"] is True
    name = settings.database_url.rsplit("/", 1)[1]
    with service.container.store.engine.begin() as connection:
        connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
    service.container.store.engine.dispose()
    try:
        assert service.http.get("/readyz").json["checks"]["room"] is True
        monkeypatch.setattr(room, "_KEPT", -1.0)
        refused = service.http.get("/readyz")
        assert (refused.status_code, refused.json["checks"]["room"]) == (503, False)
        assert service.begin().status_code == 503
    finally:
        with service.container.store.engine.connect() as connection:
            connection.execute(text("SET default_transaction_read_only = off"))
            connection.commit()
            connection.execute(text(f"ALTER DATABASE {name} RESET default_transaction_read_only"))
            connection.commit()
        service.container.store.engine.dispose()
    assert service.http.get("/readyz").json["checks"]["room"] is True


@pytest.mark.edits_rows
def test_a_write_that_finds_no_room_is_unavailable(service, settings):
    """SQLite's file may grow no more: 503 with Retry-After, and nothing is half written."""
    if not settings.sqlite:
        pytest.skip("the limit of a file is SQLite's")
    pool = service.container.store.engine
    with pool.connect() as connection:
        raw = connection.connection.dbapi_connection
        pages = raw.execute("PRAGMA page_count").fetchone()[0]

    def bound(opened, *_of):
        # The limit is one of a connection, and a write takes any.
        opened.execute(f"PRAGMA max_page_count={pages}")

    event.listen(pool, "checkout", bound)
    answers = [
        service.call("POST", "/v1/subjects", {"identifiers": {"username": f"name{n}"}})
        for n in range(60)
    ]
    assert {answer.status_code for answer in answers} <= {201, 503}
    full = answers[-1]
    assert (full.status_code, full.json["code"]) == (503, "database_away")
