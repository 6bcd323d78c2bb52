"""The alarm about rows that this service did not write: over HTTP, on the host, by the worker."""

import json
import os

import pytest
from sqlalchemy import text

from tests import starts

pytestmark = pytest.mark.edits_rows


def edit(service, statement):
    with service.container.store.engine.begin() as db:
        assert db.execute(text(statement)).rowcount


def outgoing(service):
    with service.container.store.transaction(read=True) as tx:
        return [row["kind"] for row in service.container.outbox.waiting(tx)]


@pytest.fixture
def lamina(settings):
    """Run a command with the settings of the service, in a process of its own."""
    environment = os.environ | {
        "LAMINA_MODE": settings.mode,
        "LAMINA_DATABASE_URL": settings.database_url,
        "LAMINA_ROOT_KEY": settings.root_key,
        "LAMINA_FACE_ENGINE": "off",
    }

    def run(*words):
        return starts.run(environment, *words)

    return run


def test_a_refused_row_is_answered_logged_counted_and_told_once(service):
    """The client gets 503; table and key go to the log, the outbox and the metrics."""
    service.register("alice")
    edit(service, "UPDATE subject SET segment = 'vip'")
    for _ in range(3):
        answer = service.begin("alice")
        assert (answer.status_code, answer.json["code"]) == (503, "row_refused")
        assert answer.headers["Retry-After"]
    assert outgoing(service).count("alarm.row_refused") == 1
    metrics = service.http.get("/metrics").text
    assert 'lamina_rows_refused_total{table="subject"} 3.0' in metrics
    service.clock.advance(seconds=3601)
    service.bearer = service.access()
    service.begin("alice")
    assert outgoing(service).count("alarm.row_refused") == 2


def test_a_forged_client_token_row_never_becomes_a_500(service):
    """Whatever is refused, at whichever route, the answer is a problem document."""
    person = service.register("alice")
    done = service.login(person)
    tokens = service.exchange(done["completion_code"]).json
    statements = [
        "UPDATE refresh_token SET scope = 'x'",
        "UPDATE session SET idle_seconds = 9",
        "UPDATE authenticator SET type = 'face' WHERE type = 'totp'",
        "UPDATE consent SET purpose = 'x'",
        "UPDATE client SET name = 'x'",
    ]
    for statement in statements:
        with service.container.store.engine.begin() as db:
            db.execute(text(statement))
        base = f"/v1/subjects/{person.id}"
        answers = [
            service.call("GET", f"{base}/{name}")
            for name in ("sessions", "authenticators", "consents", "suspensions")
        ]
        answers.append(service.begin("alice"))
        answers.append(
            service.oauth(
                "token", grant_type="refresh_token", refresh_token=tokens["refresh_token"]
            )
        )
        assert all(answer.status_code != 500 for answer in answers)


def test_verify_names_what_differs(service, lamina):
    """Exit code 0 and the number of rows where all is well, 1 and each row where it is not."""
    service.register("alice")
    with service.container.store.transaction() as tx:
        service.container.audit.sequence_waiting(tx)
    fine = lamina("audit", "verify", "--state", "--json")
    assert fine.returncode == 0, fine.stderr
    assert json.loads(fine.stdout)["state"]["differ"] == 0
    edit(service, "DELETE FROM recovery_code")  # the ten of the decoy, too
    told = lamina("audit", "verify", "--state", "--json")
    assert told.returncode == 1
    found = json.loads(told.stdout)
    assert (found["intact"], found["state"]["differ"]) == (False, 20)
    assert {item["what"] for item in found["state"]["found"]} == {"missing"}
    plain = lamina("audit", "verify", "--state")
    assert "20 rows differ from the log" in plain.stdout
    assert "alarm.rows_differ" in outgoing(service)


def compare(jobs):
    """Do what is due beside the other work; return how often rows were compared."""
    begun = jobs.begin_apart()
    for thread in begun:
        thread.join()
    return sum(thread.name == "lamina-rows.compare" for thread in begun)


def test_the_worker_compares_at_its_start_and_every_day(service):
    """Beside its other work; what it finds is told and measured."""
    jobs = service.container.jobs
    service.register("alice")
    edit(service, "UPDATE authenticator SET confirmed_at = NULL WHERE type = 'totp'")
    compare(jobs)
    assert compare(jobs) == 0
    assert "alarm.rows_differ" in outgoing(service)
    assert "lamina_rows_differ 2.0" in service.http.get("/metrics").text
    service.clock.advance(seconds=86_400)
    assert compare(jobs) == 1


def test_a_comparison_that_fails_is_tried_again(service, monkeypatch):
    """It is logged, and its turn comes within a minute."""
    jobs = service.container.jobs
    with monkeypatch.context() as broken:
        broken.setattr(service.container.comparing, "_state", None)
        compare(jobs)
    service.clock.advance(seconds=61)
    assert compare(jobs) == 1


@pytest.mark.edits_rows
def test_a_cell_that_nobody_can_read_hides_no_other_row(service, lamina):
    """It is listed by its key, beside all others that differ; no traceback, and a start goes on."""
    service.register("alice")
    service.register("bob")
    service.act(service.begin("alice").json, "password", {"password": "not the right one"})
    if service.container.settings.sqlite:
        edit(service, "UPDATE throttle SET updated_at = 'never'")
    else:
        edit(service, "UPDATE throttle SET updated_at = 'infinity'")
    edit(service, "UPDATE client SET name = 'another'")
    for found in (service.container.comparing.all(), service.container.comparing.lately()):
        what = {(item["table"], item["what"]) for item in found.found}
        assert what >= {("throttle", "unreadable"), ("client", "edited")}
    done = lamina("audit", "verify", "--state")
    assert done.returncode != 0
    assert "unreadable" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
