"""Failing over: writes are 503 while nobody may write, nothing is 500, all comes back by itself."""

import os
from itertools import count

import pytest

from crypto.hashing import PasswordHasher
from crypto.keyring import KEY_CLASSES
from crypto.providers.file import FileRoot
from service.app import open_container
from service.domain.clock import FrozenClock
from service.settings import Settings
from service.store import migrate
from service.store.engine import make_engine
from tests.chaos.traffic import Traffic, until
from tests.functional.conftest import START, Service

ROUNDS = int(os.environ.get("LAMINA_TEST_STARTS", "2"))
pytestmark = pytest.mark.slow
_names = count()


def opened(url, tmp_path):
    """Return the service on a new database."""
    FileRoot.init(tmp_path / "keys", KEY_CLASSES)
    engine = make_engine(url)
    migrate.upgrade(engine)
    engine.dispose()
    settings = Settings(
        mode="development",
        database_url=url,
        root_key=f"file:{tmp_path / 'keys'}",
        log_level="error",
        face_engine="off",
    )
    clock = FrozenClock(START)
    return Service(open_container(settings, clock, PasswordHasher.unsafe_for_tests()), clock)


@pytest.fixture
def service(cluster, tmp_path):
    """The service on a server that may be turned off."""
    made = opened(cluster.url, tmp_path)
    yield made
    made.container.store.engine.dispose()


def write(service):
    """Register somebody new."""
    body = {"identifiers": {"username": f"writer{next(_names)}"}}
    return service.call("POST", "/v1/subjects", body)


def may_write(cluster, value):
    """Let the server take writes or not, as one that is failed over from."""
    told = f"ALTER SYSTEM SET default_transaction_read_only = {'off' if value else 'on'}"
    for statement in (told, "SELECT pg_reload_conf()"):
        cluster.run("psql", "-h", str(cluster.directory), "-U", "lamina", "-c", statement)


def whole(service, traffic):
    """Everybody of whom it was said that they are registered is there, under their own name."""
    for subject, name in traffic.registered.items():
        found = service.call("GET", f"/v1/subjects/{subject}").json
        assert found["identifiers"]["username"] == name
    return service.container.comparing.all().found == []


def ready(service):
    """Return what `/readyz` answers: status, whether it can be written, what is the matter."""
    answer = service.http.get("/readyz")
    return answer.status_code, answer.json["checks"]["room"], answer.json["findings"]


def test_a_server_that_takes_no_writes_for_a_while(service, cluster):
    """Writes are 503 `database_read_only`, reads go on, `/readyz` says so; then all is well."""
    took, person = [], write(service).json["id"]
    with Traffic(service) as traffic:
        for _ in range(ROUNDS):
            traffic.goes_on()
            may_write(cluster, value=False)
            until(lambda: ready(service)[0] == 503)
            assert ready(service)[1] is False
            assert "database_read_only" in ready(service)[2]
            refused = write(service)
            assert (refused.status_code, refused.json["code"]) == (503, "database_read_only")
            assert refused.headers["Retry-After"] == "5"
            assert service.call("GET", f"/v1/subjects/{person}").status_code == 200
            may_write(cluster, value=True)
            took.append(until(lambda: write(service).status_code == 201))
            took.append(until(lambda: ready(service)[0] == 200))
            assert "database_read_only" not in ready(service)[2]
    assert traffic.statuses() == {200, 201, 503}
    assert whole(service, traffic)
    print(f"{ROUNDS} failovers, back after {max(took):.2f} s at most: {dict(traffic.answers)}")  # noqa: T201 - counts, for who reads them


def test_a_server_that_crashes_and_comes_back(service, cluster):
    """Connections of before the crash are renewed by themselves."""
    took = []
    with Traffic(service) as traffic:
        for _ in range(ROUNDS):
            traffic.goes_on()
            cluster.kill()
            until(lambda: write(service).status_code == 503)
            cluster.start()
            took.append(until(lambda: write(service).status_code == 201))
            took.append(until(lambda: ready(service)[0] == 200))
    assert traffic.statuses() == {200, 201, 503}
    assert whole(service, traffic)
    print(f"{ROUNDS} crashes, back after {max(took):.2f} s at most: {dict(traffic.answers)}")  # noqa: T201 - counts, for who reads them


def test_a_standby_takes_over(cluster, tmp_path):
    """With both servers in the URL the one that is promoted is found, and its rows agree."""
    standby = cluster.follow()
    hosts = f"{cluster.directory},{standby.directory}"
    url = f"postgresql+psycopg://lamina@/lamina?host={hosts}&target_session_attrs=read-write"
    service = opened(url, tmp_path)
    try:
        with Traffic(service) as traffic:
            until(lambda: len(traffic.registered) > 5)
            cluster.kill()
            until(lambda: write(service).status_code == 503)
            standby.run("pg_ctl", "-D", str(standby.data), "-w", "promote")
            took = until(lambda: write(service).status_code == 201)
        assert traffic.statuses() == {200, 201, 503}
        assert whole(service, traffic)
        print(f"a stand-by took over within {took:.2f} s: {dict(traffic.answers)}")  # noqa: T201 - counts, for who reads them
    finally:
        service.container.store.engine.dispose()
        standby.kill()
