"""Behind PgBouncer in transaction mode: each unit of work may be on another connection."""

import os
import shutil
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from sqlalchemy import text

from tests.chaos.conftest import USER
from tests.chaos.test_failover import opened, ready
from tests.chaos.traffic import Traffic, until
from tests.functional.conftest import PASSWORD
from tests.functional.test_key_rotation import rotate_kek, verified
from tests.lacking import lacks

pytestmark = pytest.mark.slow
SETTINGS = """
[databases]
lamina = host={place} dbname=lamina user=lamina
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
max_client_conn = 100
server_login_retry = 1
query_wait_timeout = 5
"""


@contextmanager
def pooled(cluster):
    """Start a PgBouncer with two connections to a server; give the URL to use."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        lacks("pgbouncer", "install it, so that a server is tested behind it", optional=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = cluster.directory / "pgbouncer.ini"
    settings.write_text(SETTINGS.format(place=cluster.directory, port=port))
    user = USER if os.geteuid() == 0 else None
    if user:
        shutil.chown(settings, user)
    with (cluster.directory / "pgbouncer.log").open("w") as log:
        process = subprocess.Popen([program, settings], user=user, stdout=log, stderr=log)
        try:
            until(lambda: process.poll() is not None or _answers(port))
            assert process.poll() is None, (cluster.directory / "pgbouncer.log").read_text()
            yield f"postgresql+psycopg://lamina@127.0.0.1:{port}/lamina"
        finally:
            process.kill()
            process.wait()


def _answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def service(cluster, tmp_path):
    """The service behind a pooler."""
    with pooled(cluster) as url:
        made = opened(url, tmp_path)
        yield made
        made.container.store.engine.dispose()


def test_twenty_at_once_share_two_connections(service):
    """Registrations, logins, refreshes and a rotation are all right, and nobody is another."""
    people = [service.register(f"person{number}") for number in range(4)]

    def register(number):
        client = service.app.test_client()
        bearer = {"Authorization": f"Bearer {service.bearer}"}
        body = {"identifiers": {"username": f"many{number}"}, "password": PASSWORD}
        made = client.post("/v1/subjects", json=body, headers=bearer)
        seen = client.get(f"/v1/subjects/{made.json['id']}", headers=bearer)
        return made.status_code, made.json["id"], seen.json["id"], seen.json["identifiers"]

    def live(person):
        tokens = service.exchange(service.login(person)["completion_code"]).json
        for _ in range(8):
            answer = service.oauth(
                "token", grant_type="refresh_token", refresh_token=tokens["refresh_token"]
            )
            assert answer.status_code == 200, answer.json
            tokens = answer.json
        told = service.oauth("introspect", token=tokens["access_token"]).json
        return told["sub"] == person.id

    with ThreadPoolExecutor(25) as pool:
        lives = [pool.submit(live, person) for person in people]
        rotation = pool.submit(rotate_kek, service, "factor")
        made = list(pool.map(register, range(20)))
        assert [each.result() for each in lives] == [True] * 4
        assert rotation.result() >= 1
    for number, (status, written, read, names) in enumerate(made):
        assert (status, read, names) == (201, written, {"username": f"many{number}"})
    assert len({written for _, written, *_ in made}) == 20
    assert verified(service).failed == 0
    assert service.container.comparing.all().found == []


def test_what_is_set_ends_with_the_transaction(service):
    """A unit of work that is stopped ends after a while; the next one has its own settings."""
    engine = service.container.store.engine
    asked = text("SHOW idle_in_transaction_session_timeout")
    with service.container.store.transaction() as tx:
        assert tx.scalar(asked) == "30s"
    with service.container.store.transaction(steady=True) as tx:
        assert tx.scalar(asked) == "30s"
        assert tx.scalar(text("SHOW transaction_isolation")) == "repeatable read"
    for _ in range(4):
        with service.container.store.transaction(read=True) as tx:
            assert tx.scalar(asked) == "0"
            assert tx.scalar(text("SHOW transaction_isolation")) == "read committed"
    with engine.connect() as connection:
        kinds = "SELECT count(*) FROM pg_prepared_statements"
        assert connection.scalar(text(kinds)) == 0


def test_the_server_behind_the_pooler_comes_back(service, cluster):
    """A crash behind it is 503 while it lasts, and nothing is 500."""
    with Traffic(service) as traffic:
        until(lambda: len(traffic.registered) > 5)
        cluster.kill()
        until(lambda: ready(service)[0] == 503)
        cluster.start()
        until(lambda: ready(service)[0] == 200)
        known = len(traffic.registered)
        until(lambda: len(traffic.registered) > known)
    assert traffic.statuses() == {200, 201, 503}
    assert service.container.comparing.all().found == []
