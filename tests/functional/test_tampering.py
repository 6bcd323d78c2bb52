"""What every start, the probes and the command say of a log that somebody has written to."""

import os
from datetime import timedelta
from functools import partial

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from service.app import open_container, open_desk
from service.audit.actions.audit_log import AuditLog
from service.cli import main
from service.domain.errors import SetupError
from service.keys.ledger import Ledger
from service.privacy import model
from tests.functional.conftest import START
from tests.integration.test_checkpoints import recompute


def sequence(service):
    """Do what the worker does every second."""
    with service.container.store.transaction() as tx:
        service.container.audit.sequence_waiting(tx)
    with service.container.store.transaction() as tx:
        return service.container.erasure.remember(tx)


def grow(service, rounds=22, leaves=3):
    """Let the log grow over minutes, with a line of the ledger for each round."""
    for _ in range(rounds):
        with service.container.store.transaction() as tx:
            for number in range(leaves):
                service.container.audit.append(tx, "test.done", number=number)
        sequence(service)
        service.clock.advance(minutes=2)


def run(service, *statements, **values):
    """Do what somebody does who can write the database."""
    with service.container.store.transaction() as tx:
        for statement in statements:
            tx.execute(text(statement), values)


def length(service):
    """Return how far the log has come."""
    with service.container.store.transaction(read=True) as tx:
        return service.container.audit.checkpoint(tx)[0]


def alarms(container):
    """Return the kinds of what waits for delivery."""
    with container.store.transaction(read=True) as tx:
        return [row["kind"] for row in container.outbox.waiting(tx, 1000)]


@pytest.fixture
def opened(monkeypatch):
    """Houses and desks opened on the way, so that their connections are closed at the end."""
    houses = []

    def keeping(how, *given):
        houses.append(how(*given))
        return houses[-1]

    for how in (open_container, open_desk):
        monkeypatch.setattr(f"service.app.{how.__name__}", partial(keeping, how))
    yield partial(keeping, open_container)
    for container in houses:
        container.store.engine.dispose()


@pytest.fixture
def restart(opened, settings, clock):
    """Return a function that starts the service anew on the same database."""

    def start(**other):
        container = opened(settings.model_copy(update=other), clock)
        return container, container.erasure.compare()

    return start


@pytest.fixture
def lamina(opened, settings, monkeypatch, tmp_path):
    """Run the command on the same database."""
    monkeypatch.chdir(tmp_path)
    env = {
        "LAMINA_MODE": "development",
        "LAMINA_DATABASE_URL": settings.database_url,
        "LAMINA_ROOT_KEY": settings.root_key,
        "LAMINA_FACE_ENGINE": "off",
    }
    return lambda *line, **more: CliRunner().invoke(main, list(line), env=env | more)


def probe(container):
    """Return the answer to a probe of a process with this house."""
    from service.app import create_app

    return create_app(container).test_client().get("/readyz")


def test_both_databases_have_a_ledger_by_default(settings, tmp_path):
    """Beside the file, or beside the root keys, named as the database; `off` is a choice."""
    name = settings.database_url.rsplit("/", 1)[1]
    assert settings.ledger_path == tmp_path / f"{name}.ledger"
    assert settings.model_copy(update={"ledger": "off"}).ledger_path is None
    elsewhere = settings.model_copy(update={"root_key": "vault:x", "ledger": "file:/x/y"})
    assert str(elsewhere.ledger_path) == "/x/y"


def test_without_a_ledger_doctor_metrics_and_start_say_so(service, restart, lamina):
    """Its lack is a finding everywhere, but no reason not to serve."""
    assert b"lamina_ledger_configured 1.0" in service.http.get("/metrics").data
    container, _ = restart(ledger="off")
    assert b"lamina_ledger_configured 0.0" in container.metrics.render()
    answer = probe(container)
    assert "ledger_not_configured" in answer.json["findings"]
    told = lamina("keys", "doctor", "--json", LAMINA_LEDGER="off").stdout
    assert "is not configured" in told
    assert "LAMINA_LEDGER" in lamina("audit", "verify", LAMINA_LEDGER="off").stdout
    assert "is not configured" not in lamina("keys", "doctor", "--json").stdout


@pytest.mark.parametrize("remove", [False, True])
def test_an_end_that_is_cut_off_is_told_by_everything(service, restart, lamina, remove):
    """The last 20 leaves, with and without the checkpoints of the database."""
    grow(service)
    before = length(service)
    left = before - 20
    run(
        service,
        "DELETE FROM audit_link WHERE position > :left",
        "DELETE FROM audit_leaf WHERE position > :left",
        "DELETE FROM audit_checkpoint WHERE position > :left" if remove else "SELECT 1",
        left=left,
    )
    told = lamina("audit", "verify", "--json")
    assert told.exit_code == 1
    assert f"at position {left + 1}" in told.stderr or remove
    container, found = restart()
    assert found["acts_repeated"] == 0
    assert {"alarm.audit_disagrees", "alarm.database_restored"} <= set(alarms(container))
    assert "audit_disagrees" in probe(container).json["findings"]
    assert b"lamina_audit_disagrees 1.0" in container.metrics.render()
    again, found = restart()
    assert set(found.values()) == {0}
    assert alarms(again).count("alarm.database_restored") == 1
    assert lamina("audit", "verify").exit_code == 1
    assert "audit log at" in lamina("keys", "doctor").stdout
    assert lamina("audit", "accept-ledger", "--reason", "explained").exit_code == 0
    assert lamina("audit", "verify").exit_code == 0
    calm, _ = restart()
    assert probe(calm).json["findings"] == []
    assert probe(again).status_code == 200


def test_a_cut_at_a_checkpoint_is_told_by_the_ledger(service, restart, lamina):
    """The database fits itself: it is one of before. Its sessions end, once."""
    person = service.register()
    service.login(person)
    grow(service)
    left = length(service) - 21
    run(
        service,
        "DELETE FROM audit_link WHERE position > :left",
        "DELETE FROM audit_leaf WHERE position > :left",
        "DELETE FROM audit_checkpoint WHERE position > :left",
        left=left,
    )
    told = lamina("audit", "verify")
    assert told.exit_code == 1
    assert f"at position {left + 1}" in told.stderr
    container, found = restart()
    assert found["sessions_ended"] == 1
    answer = probe(container)
    assert (answer.status_code, answer.json["findings"]) == (200, ["audit_disagrees"])
    with container.store.transaction() as tx:
        container.audit.append(tx, "test.done")
        container.audit.sequence_waiting(tx)
        container.erasure.remember(tx)
    assert set(restart()[1].values()) == {0}


def test_a_leaf_edited_with_the_chain_recomputed_is_told(service, restart, lamina):
    """The process is not ready until an operator has said so."""
    grow(service)
    run(service, "UPDATE audit_leaf SET actor = 'nobody' WHERE position = 30")
    recompute(service.container, 30)
    told = lamina("audit", "verify")
    assert told.exit_code == 1
    assert "at position 30:" in told.stderr
    container, _ = restart()
    answer = probe(container)
    assert answer.status_code == 503
    assert answer.json["checks"]["audit"] is False
    assert "alarm.audit_disagrees" in alarms(container)
    lamina("audit", "accept-ledger", "--reason", "a test")
    assert probe(container).status_code == 200
    assert lamina("audit", "verify").exit_code == 0


def test_checkpoints_that_are_gone_are_told(service, restart, lamina):
    """All of those in the database; the ledger has its own."""
    grow(service, 3)
    run(service, "DELETE FROM audit_checkpoint")
    assert lamina("audit", "verify").exit_code == 1
    sequence(service)
    assert lamina("audit", "verify").exit_code == 1
    container, _ = restart()
    assert probe(container).status_code == 503


def test_leaves_that_wait_are_told_by_everything(service, restart, lamina):
    """No worker runs: the command says how many and fails, probes, metrics and doctor tell."""
    run(service, "UPDATE audit_leaf SET position = NULL")
    run(service, "DELETE FROM audit_link", "DELETE FROM audit_checkpoint")
    assert "audit_unsequenced" not in probe(service.container).json["findings"]
    service.clock.advance(seconds=11)
    told = lamina("audit", "verify")
    assert told.exit_code == 1
    assert "intact" not in told.stdout.replace("not intact", "")
    assert "wait for their positions" in told.stdout
    answer = probe(service.container)
    assert answer.json["findings"] == ["audit_unsequenced"]
    assert "run: lamina worker" in lamina("keys", "doctor").stdout
    waits = b"lamina_audit_unsequenced_seconds 11.0"
    assert waits in service.container.metrics.render()
    service.container.watch.once()
    service.container.watch.once()
    assert alarms(service.container).count("alarm.audit_unsequenced") == 1
    sequence(service)
    assert probe(service.container).json["findings"] == []


def test_a_lost_ledger_is_told_until_it_is_accepted(service, settings, restart, lamina):
    """Where there was one, none or an empty one is no reason to go on as if nothing were."""
    service.container.erasure.compare()
    settings.ledger_path.unlink()
    container, _ = restart()
    answer = probe(container)
    assert (answer.status_code, answer.json["checks"]["ledger"]) == (503, False)
    assert "alarm.ledger_lost" in alarms(container)
    assert b"lamina_ledger_lost 1.0" in container.metrics.render()
    sequence(service)
    container, _ = restart()
    assert probe(container).status_code == 503
    assert probe(restart(ledger="off")[0]).status_code == 503
    assert "is not the one that there was" in lamina("keys", "doctor").stdout
    assert lamina("audit", "accept-ledger", "--reason", "disk died").exit_code == 0
    assert probe(container).status_code == 200
    assert probe(restart()[0]).status_code == 200


def test_a_restore_under_a_running_process_is_noticed(service, settings, clock, opened):
    """A look every few seconds does what a start does."""
    person = service.register()
    grow(service, 4)
    service.bearer = service.access()
    tokens = service.exchange(service.login(person)["completion_code"]).json
    assert service.oauth("introspect", token=tokens["access_token"]).json["active"]
    assert service.container.watch.once() is False
    left = length(service) - 6
    run(
        service,
        "DELETE FROM audit_link WHERE position > :left",
        "DELETE FROM audit_checkpoint WHERE position > :left",
        "DELETE FROM audit_leaf WHERE position > :left",
        left=left,
    )
    assert service.container.watch.once() is True
    assert service.container.watch.once() is False
    assert probe(service.container).json["findings"] == ["audit_disagrees"]
    container = opened(settings, clock)
    assert container.watch.once() is False
    assert probe(container).json["findings"] == ["audit_disagrees"]
    assert service.oauth("introspect", token=tokens["access_token"]).json == {"active": False}
    assert "alarm.database_restored" in alarms(service.container)


def test_a_ledger_that_has_grown_is_folded(tmp_path, monkeypatch):
    """Old checkpoints thin out; erasures and the newest line stay; another process goes on."""
    monkeypatch.setattr("service.keys.ledger.LARGE", 20_000)
    path = tmp_path / "ledger"
    now = START + timedelta(days=2)

    def keep(known):
        return model.folded(known, now, timedelta(days=35))

    one, two = Ledger(path, bytes(32), keep), Ledger(path, bytes(32), keep)

    def line(number):
        at = (START + timedelta(seconds=number)).isoformat()
        return {"kind": "checkpoint", "position": number, "head": "00", "at": at, "number": 1}

    one.append([{"kind": "begun"}, {"kind": "tombstone", "id": "1"}])
    for number in range(400):
        (one if number % 2 else two).append([line(number)])
    size = path.stat().st_size
    assert one.fold()
    assert path.stat().st_size < size / 20
    assert [entry["kind"] for entry in two.entries()][:3] == ["snapshot", "begun", "tombstone"]
    assert two.entries()[0]["lines"] == 402
    assert two.entries()[-1]["position"] == 399
    two.append([line(400)])
    assert [entry["position"] for entry in one.entries() if "position" in entry][-2:] == [399, 400]
    assert not one.fold()
    assert Ledger(path, bytes(32)).entries() == one.entries()


def test_a_ledger_that_is_no_file_stops_the_start_at_once(tmp_path):
    """A pipe in its place is not waited for."""
    path = tmp_path / "ledger"
    os.mkfifo(path)
    with pytest.raises(SetupError, match="ledger_unreadable"):
        Ledger(path, bytes(32)).entries()


def test_a_ledger_rewritten_while_it_is_open_is_read_anew(tmp_path):
    """What was read before is trusted only while nobody else has written the file."""
    path = tmp_path / "ledger"
    ledger = Ledger(path, bytes(32))
    ledger.append([{"kind": "a"}, {"kind": "b"}])
    assert len(ledger.entries()) == 2
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"b"', b'"c"'))
    with pytest.raises(SetupError, match="ledger_damaged"):
        ledger.entries()


def test_whoever_verifies_first_after_an_upgrade_adopts(service):
    """`lamina audit verify` between `db upgrade` and the first start accuses nobody."""
    service.register()
    with service.container.store.transaction() as tx:
        links = AuditLog(service.clock).sequence(tx)
    told = service.container.memory.verify()
    assert (told.broken, told.leaves) == (None, links)
