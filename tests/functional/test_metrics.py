"""What is measured: queues, work, keys, connections, hashes and refusals; and for whose eyes."""

import os
import re
import threading
import time
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from crypto.hashing import PasswordHasher
from service.telemetry.metrics import REASONS, Metrics
from service.telemetry.together import Together
from tests.functional.conftest import PASSWORD
from tests.functional.test_cli import lamina, ready, spawn  # noqa: F401 - fixtures
from tests.functional.test_serving import Server, exposed, families, two_ports

LABELS = {
    "channel",
    "class",
    "factor",
    "grant",
    "kind",
    "le",
    "method",
    "outcome",
    "reason",
    "route",
    "state",
    "status",
    "table",
    "task",
    "tier",
}
PUBLIC = {
    "lamina_http_request_seconds",
    "lamina_rows_refused",
    "lamina_rows_differ",
    "lamina_stored_faces",
    "lamina_audit_unsequenced",
    "lamina_audit_unsequenced_seconds",
    "lamina_audit_disagrees",
    "lamina_ledger_configured",
    "lamina_ledger_lost",
}


def value(service, name, **labels):
    """Return one value of the private address; None where there is none."""
    return service.container.metrics.private.get_sample_value(name, labels)


def test_labels_name_no_person_and_come_from_closed_sets(service):
    """After a day's work no value of a label is of a person, and the names are known."""
    person = service.register()
    service.login(person)
    service.http.get(f"/v1/subjects/{person.id}")
    service.container.jobs.run_due()
    text = service.measured()
    assert set(re.findall(r"[{,]([a-z_]+)=", text)) <= LABELS
    assert not re.search(
        rf"alice|{person.id}|{service.client_id}|[0-9a-f]{{8}}-[0-9a-f]{{4}}", text
    )


def test_whoever_reaches_the_api_reads_nothing_of_logins(service):
    """Nine families are on the public address; a right and a wrong password move the same ones."""
    person = service.register()
    moved = []
    for password in (PASSWORD, "a wrong one"):
        before = _public(service)
        flow = service.begin(person.name).json
        service.act(flow, "password", {"password": password})
        after = _public(service)
        moved.append({name for name in after if after[name] != before.get(name)})
    named = {re.sub("_(count|sum|total)$", "", name.split("{")[0]) for name in after}
    assert named == PUBLIC - {"lamina_rows_refused"}
    flows = 'lamina_http_request_seconds_count{route="/v1/flows"}'
    assert moved[0] == moved[1] >= {flows}


def _public(service):
    text = generate_latest(service.container.metrics.registry).decode()
    # How long each took falls into other buckets by chance, and when a series began is no event.
    lines = [line for line in text.splitlines() if not re.search("^#|_bucket{|_created{", line)]
    return {name: float(told) for name, told in (line.rsplit(" ", 1) for line in lines)}


def test_what_waits_and_how_old_keys_are_is_shown(service):
    """Messages, long jobs, keys, and who is alive, as the database has them."""
    container = service.container
    assert value(service, "lamina_worker_alive") == 0
    container.jobs.run_due()
    container.keys.instances.beat()
    with container.store.transaction() as tx:
        container.outbox.put(tx, kind="alarm.test", subject=None, payload={})
        container.key_admin.jobs.plan(tx, "verify", {}, "break_glass")
    waiting = value(service, "lamina_outbox_waiting")
    service.clock.advance(seconds=20)
    assert waiting >= 1
    assert value(service, "lamina_outbox_oldest_seconds") >= 20
    assert value(service, "lamina_long_jobs", state="waiting") == 1
    assert value(service, "lamina_long_jobs_oldest_seconds") == 20
    assert value(service, "lamina_worker_alive") == value(service, "lamina_instances_alive") == 1
    assert value(service, "lamina_key_age_seconds", tier="kek", **{"class": "contact"}) == 20
    assert value(service, "lamina_key_age_seconds", tier="signing", **{"class": "signing"}) == 20
    service.clock.advance(seconds=31)
    assert value(service, "lamina_worker_alive") == value(service, "lamina_instances_alive") == 0


def test_background_work_is_counted_with_its_failures(service, monkeypatch):
    """Each task is shown from the start; one that fails, and a long job that does, are counted."""
    container = service.container
    assert value(service, "lamina_job_failures_total", task="keys.destroy") == 0
    assert value(service, "lamina_job_seconds_count", task="rows.compare") == 0
    monkeypatch.setattr(type(container.keys.lifecycle), "destroy_due", _fail)
    container.jobs.run_due()
    for thread in container.jobs.begin_apart():
        thread.join()
    assert value(service, "lamina_job_failures_total", task="keys.destroy") == 1
    assert value(service, "lamina_job_seconds_count", task="audit.sequence") == 1
    assert value(service, "lamina_job_seconds_count", task="rows.compare") == 1
    with container.store.transaction() as tx:
        done = container.key_admin.jobs.plan(tx, "verify", {}, "break_glass")
    container.key_admin.jobs.run(done)
    monkeypatch.setattr(type(container.keys.proving), "verify", _fail)
    with container.store.transaction() as tx:
        failing = container.key_admin.jobs.plan(tx, "verify", {}, "break_glass")
    container.key_admin.jobs.run(failing)
    assert value(service, "lamina_job_seconds_count", task="verify") == 2
    assert value(service, "lamina_job_failures_total", task="verify") == 1


def _fail(*_):
    raise RuntimeError("canary")


def test_connections_and_hashes_in_use_are_shown(service):
    """What is taken now, and how much there is."""
    most = value(service, "lamina_database_connections_most")
    before = value(service, "lamina_database_connections", state="in_use")
    with service.container.store.engine.connect():
        assert value(service, "lamina_database_connections", state="in_use") == before + 1
    assert most >= 8
    assert value(service, "lamina_hash_turns") == 4
    assert value(service, "lamina_hashes", state="running") == 0
    assert value(service, "lamina_database_up") == 1


def test_hashes_that_run_and_wait_are_counted():
    """One has the turn, the other waits for it; afterwards nobody does."""
    hasher, release, inside = (
        PasswordHasher.unsafe_for_tests(1),
        threading.Event(),
        threading.Event(),
    )

    def hold():
        with hasher._turn():
            inside.set()
            release.wait(120)

    threads = [threading.Thread(target=hold), threading.Thread(target=hasher.hash, args=("x",))]
    threads[0].start()
    assert inside.wait(120)
    threads[1].start()
    while not hasher.load().waiting:
        pass
    assert (hasher.load().turns, hasher.load().taken, hasher.load().waiting) == (1, 1, 1)
    release.set()
    for thread in threads:
        thread.join()
    assert (hasher.load().taken, hasher.load().waiting) == (0, 0)


def test_a_database_that_is_away_hides_no_other_metric(service, monkeypatch):
    """What needs it is missing, it is told to be away, and the rest is shown."""
    from service.domain.errors import Unavailable
    from service.notifications.actions.outbox import Outbox

    def away(_outbox, _tx):
        raise Unavailable("database_away", "The database does not answer.")

    monkeypatch.setattr(Outbox, "depth", away)
    assert value(service, "lamina_database_up") == 0
    assert value(service, "lamina_outbox_waiting") is None
    assert value(service, "lamina_hash_turns") == 4


def test_refusals_are_counted_by_reason(service):
    """Each 429 counts once; a reason that nobody knows is `other`."""
    assert value(service, "lamina_throttled_total", reason="too_many_attempts") == 0
    person = service.register()
    codes = []
    for _ in range(12):
        flow = service.begin(person.name).json
        codes.append(service.act(flow, "password", {"password": "a wrong one"}).status_code)
    counted = value(service, "lamina_throttled_total", reason="too_many_attempts")
    assert counted == codes.count(429) > 0
    service.container.metrics.throttle("x")
    assert value(service, "lamina_throttled_total", reason="other") == 1


def test_every_reason_is_known():
    """What the program refuses with 429 is in the closed set."""
    found = set()
    for path in (Path(__file__).parents[2] / "service").rglob("*.py"):
        found |= set(re.findall(r'(?:TooMany\(|Throttled\(\w+, )"(\w+)"', path.read_text("utf-8")))
    assert found | {"too_many_attempts", "too_many_requests"} == set(REASONS)


def test_counts_of_workers_add_up_and_outlive_one(tmp_path):
    """Each shows the sum of all; who takes the place of a dead one goes on from its counts."""
    first, second = _worker(tmp_path), _worker(tmp_path)
    for (metrics, _), times in ((first, 3), (second, 4)):
        for _ in range(times):
            metrics.seconds.labels("/x").observe(0.02)
    first[0].refused.labels("subject").inc()
    first[0].differing.set(7)
    for _, together in (first, second):
        together.write()
    for _, together in (first, second):
        assert _sum(together, "lamina_http_request_seconds_count") == 7
        assert _sum(together, "lamina_rows_refused_total") == 1
    # A gauge is of who was asked.
    assert [_sum(it[1], "lamina_rows_differ") for it in (first, second)] == [7, 0]
    created = [_sum(it[1], "lamina_http_request_seconds_created") for it in (first, second)]
    assert created[0] == created[1]
    first[1].end()
    third = _worker(tmp_path)
    third[0].seconds.labels("/x").observe(0.02)
    third[1].write()
    assert _sum(second[1], "lamina_http_request_seconds_count") == 8
    assert _sum(third[1], "lamina_http_request_seconds_count") == 8
    text = generate_latest(third[1]).decode()
    assert 'lamina_http_request_seconds_bucket{le="0.03",route="/x"} 8.0' in text
    for _, together in (second, third):
        together.end()


def _worker(directory):
    metrics = Metrics()
    return metrics, Together(directory, 2, metrics.registry)


def _sum(together, name):
    return sum(
        it.value for family in together.collect() for it in family.samples if it.name == name
    )


def test_where_there_is_no_place_a_worker_counts_alone(tmp_path):
    """It is logged, and it serves."""
    metrics = Metrics()
    metrics.share(tmp_path / "none", 2)
    metrics.seconds.labels("/x").observe(1)
    assert b'lamina_http_request_seconds_count{route="/x"} 1.0' in metrics.render()


@pytest.mark.slow
def test_metrics_of_several_workers_are_the_sum(tmp_path):
    """Whichever worker answers, and after one was killed, no request is missing."""
    with two_ports() as port:
        server = Server(tmp_path, "--workers", "2", LAMINA_METRICS_BIND=f"127.0.0.1:{port}")
        try:
            exposed(port), exposed(port + 1)
            _settle(server, 1)
            for _ in range(40):
                assert server.get().status_code == 200
            served = sum(_requests(exposed(port + number)) for number in (0, 1))
            assert served >= 41
            _settle(server, served)
            # Each is asked: none of ten answers in a row knows less.
            assert min(_requests(server.get("/metrics").text) for _ in range(10)) == served
            os.kill(server.workers()[-1], 9)
            server.wait()
            _settle(server, served + 1)
        finally:
            server.end()


def _settle(server, least):
    """Ask until every worker has told of so many requests."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if min(_requests(server.get("/metrics").text) for _ in range(5)) >= least:
            return
        time.sleep(0.2)
    raise AssertionError("requests are missing")


def _requests(text):
    found = re.search(r'lamina_http_request_seconds_count\{route="/healthz"\} ([0-9.]+)', text)
    return float(found[1]) if found else 0


@pytest.mark.slow
def test_the_worker_shows_its_metrics_after_the_ports_of_the_server(ready):  # noqa: F811 - a fixture
    """With all families, and its work counted; the ports of the server's workers stay free."""
    with two_ports() as port:
        ahead = {"LAMINA_METRICS_BIND": f"127.0.0.1:{port}", "LAMINA_WORKERS": "1"}
        process = spawn(ready.environment | ahead, "worker")
        try:
            assert "working" in process.stderr.readline()
            text = exposed(port + 1)
            while 'lamina_job_seconds_count{task="audit.sequence"} 0.0' in text:
                text = exposed(port + 1)
        finally:
            process.terminate()
            process.communicate()
    assert families(text) >= {"lamina_job_seconds", "lamina_job_failures", "lamina_key_age_seconds"}
    assert "lamina_worker_alive 1.0" in text
