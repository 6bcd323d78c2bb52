"""`lamina doctor`: a healthy setup has no finding; each fault is named with what mends it."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from service.app import open_container
from service.cli import checks, main
from service.domain.clock import SystemClock
from service.store import migrate
from tests.letterbox import letterbox

HEALTHY = {
    "database",
    "schema",
    "disk.database",
    "disk.ledger",
    "roots",
    "redis",
    "hashing",
    "serving",
    "worker",
    "jobs",
    "clock.monotonic",
    "clock.log",
    "ledger",
    "keys",
    "age.kek",
    "age.signing",
    "outbox",
}


@pytest.fixture
def environment(settings):
    """The settings of a deployment, as a shell gives them."""
    return {
        "LAMINA_MODE": "development",
        "LAMINA_DATABASE_URL": settings.database_url,
        "LAMINA_ROOT_KEY": settings.root_key,
        "LAMINA_FACE_ENGINE": "off",
    }


@pytest.fixture
def alive(settings):
    """A process that serves and works, as far as the database tells."""
    container = open_container(settings)
    container.erasure.compare()
    container.keys.instances.beat()
    container.jobs.run_due()
    yield container
    container.store.engine.dispose()


@pytest.fixture
def doctor(environment, monkeypatch, tmp_path):
    """Run the command; return its exit code and its rows."""
    monkeypatch.chdir(tmp_path)
    opened = []

    def keeping(*given):
        opened.append(open_container(*given))
        return opened[-1]

    monkeypatch.setattr(checks, "open_container", keeping)

    def run(**changes):
        answer = CliRunner().invoke(main, ["doctor", "--json"], env=environment | changes)
        assert answer.exception is None or isinstance(answer.exception, SystemExit), answer
        return answer.exit_code, json.loads(answer.stdout)

    yield run
    for container in opened:
        container.store.engine.dispose()


def findings(answer):
    """Return what is to be mended, by check; the exit code tells whether there is any."""
    code, rows = answer
    wrong = [row for row in rows if row["ok"] is False]
    # Of several findings of one check the first counts.
    found = {row["check"]: (row["told"], row["mend"]) for row in reversed(wrong)}
    assert code == bool(found), rows
    assert all(mend for _, mend in found.values()), found
    return found


def execute(container, statement, **values):
    """Do what the service would not."""
    with container.store.transaction() as tx:
        tx.execute(text(statement), values)


def test_a_healthy_setup_has_no_finding(alive, doctor, settings, environment):
    """Exit code 0, one line for each check, and what cannot be known from here is told so."""
    code, rows = doctor()
    assert findings((code, rows)) == {}
    assert {row["check"] for row in rows} >= HEALTHY
    delivery = {"delivery.email", "delivery.sms", "delivery.alarms"}
    assert {row["check"] for row in rows if row["ok"] is None} == delivery | (
        {"clock.database"} if settings.sqlite else {"disk.database"}
    )
    told = CliRunner().invoke(main, ["doctor"], env=environment)
    assert (told.exit_code, told.stderr) == (0, "")
    assert len(told.stdout.splitlines()) == len(rows)
    assert {line.split()[0] for line in told.stdout.splitlines()} == {"ok", "unknown"}


def test_a_text_has_a_line_with_the_mend(doctor, environment):
    """Nothing serves: the lines say so, the exit code is 1, and stderr counts the findings."""
    told = CliRunner().invoke(main, ["doctor"], env=environment)
    lines = [line for line in told.stdout.splitlines() if line.startswith("finding")]
    assert (told.exit_code, told.stderr.endswith("lamina: 2 findings\n")) == (1, True)
    assert "mend: run: lamina serve" in lines[0]
    assert "no worker has ever run here" in lines[1]


def test_no_database_is_told_and_none_is_made(doctor, tmp_path):
    """The mend is the command that makes it; what needs it is unknown, not in order."""
    code, rows = doctor(LAMINA_DATABASE_URL=f"sqlite:///{tmp_path}/none.db")
    assert findings((code, rows))["database"][1] == "run: lamina db upgrade"
    assert not (tmp_path / "none.db").exists()
    assert {row["ok"] for row in rows if row["check"] in {"worker", "keys", "outbox"}} == {None}
    away = "postgresql+psycopg://lamina:canary@127.0.0.1:1/x"
    code, rows = doctor(LAMINA_DATABASE_URL=away)
    told, mend = findings((code, rows))["database"]
    assert ("127.0.0.1:1/x" in told, "LAMINA_DATABASE_URL" in mend) == (True, True)
    assert "canary" not in str(rows)


@pytest.mark.edits_rows
@pytest.mark.parametrize(
    ("revision", "mend"),
    [("0018", "run: lamina db upgrade"), ("9999", "install a newer version")],
)
def test_a_schema_of_another_program_is_told(alive, doctor, revision, mend):
    """An older one is upgraded; a newer one needs its program."""
    execute(alive, "UPDATE alembic_version SET version_num = :to", to=revision)
    try:
        found = findings(doctor())
    finally:
        execute(alive, "UPDATE alembic_version SET version_num = '0019'")
    assert found == {"schema": (f"at revision {revision}, this program needs {migrate.HEAD}", mend)}


def test_redis_that_is_away_is_told(alive, doctor):
    """Its place is named, and no password."""
    found = findings(doctor(LAMINA_REDIS_URL="redis://u:canary@127.0.0.1:1/0"))
    assert found["redis"][0] == "127.0.0.1:1 does not answer"
    assert "LAMINA_REDIS_URL" in found["redis"][1]
    assert "canary" not in str(found)


@pytest.mark.edits_rows
def test_a_dead_worker_is_told(alive, doctor):
    """Its lease ran out, or ends later than any does."""
    now = SystemClock().now().replace(tzinfo=None)
    for until, said in ((now - timedelta(hours=1), "for 3600"), (now.replace(year=2999), "clock")):
        execute(alive, "UPDATE job_lease SET until = :until", until=until.isoformat(" "))
        told, mend = findings(doctor())["worker"]
        assert said[:6] in told
        assert mend.startswith(("run: lamina serve", "correct the clocks"))


def test_jobs_that_nobody_begins_are_told(alive, doctor):
    """A long job that waits for more than a minute needs a worker."""
    with alive.store.transaction() as tx:
        alive.key_admin.jobs.plan(tx, "verify", {}, "break_glass")
    assert "jobs" not in findings(doctor())
    execute(alive, "UPDATE long_job SET created_at = '2020-01-01 00:00:00'")
    assert "1 long job waits, 0 run; the oldest for" in findings(doctor())["jobs"][0]


def test_a_ledger_that_is_gone_or_elsewhere_is_told(alive, doctor, settings, tmp_path):
    """Lost, off, or in a place where none can be made."""
    assert "run: mkdir" in findings(doctor(LAMINA_LEDGER=f"file:{tmp_path}/no/x"))["ledger"][1]
    assert "LAMINA_LEDGER" in findings(doctor(LAMINA_LEDGER="off"))["ledger"][1]
    settings.ledger_path.unlink()
    told, mend = findings(doctor())["ledger"]
    assert told == "ledger is not the one that there was"
    assert "bring it back" in mend


def test_a_ledger_that_cannot_be_written_is_told(alive, doctor, settings, monkeypatch):
    """The user who asks may not, or its file system takes no writes."""
    allowed = checks.os.access
    monkeypatch.setattr(
        checks.os,
        "access",
        lambda place, mode: place != settings.ledger_path and allowed(place, mode),
    )
    told, mend = findings(doctor())["ledger"]
    assert (told.endswith("cannot be written by this user"), "chown" in mend) == (True, True)


def test_a_damaged_ledger_is_told(alive, doctor, settings):
    """The line that was changed is named."""
    lines = settings.ledger_path.read_text().splitlines()
    settings.ledger_path.write_text("\n".join(["x", *lines[1:], ""]))
    assert "is damaged at line 1" in findings(doctor())["ledger"][0]


@pytest.mark.edits_rows
def test_a_clock_that_is_off_is_told(alive, doctor):
    """The log holds an entry of the future."""
    execute(alive, "UPDATE audit_leaf SET at = '2999-01-01 00:00:00'")
    assert "timedatectl" in findings(doctor())["clock.log"][1]


def test_a_disk_that_fills_is_told(alive, doctor, settings, monkeypatch):
    """Below 640 MiB beside a SQLite file, 64 MiB beside a ledger; a server tells by its writes."""
    monkeypatch.setattr(checks, "free_bytes", lambda _directory: checks.LEAST_FREE)
    found = findings(doctor())
    assert set(found) == ({"disk.database"} if settings.sqlite else set())
    monkeypatch.setattr(checks, "free_bytes", lambda _directory: 0)
    found = findings(doctor())
    assert found["disk.ledger"][1].startswith("free space in")
    if not settings.sqlite:
        monkeypatch.setattr(checks, "DiskSpace", lambda *_: lambda: False)
        assert findings(doctor())["disk.database"][0] == "the server accepts no writes"


def test_a_root_key_that_cannot_be_read_is_told(alive, doctor, settings):
    """The file is named, with what mends it."""
    directory = Path(settings.root_key.removeprefix("file:"))
    (directory / "contact.1.key").rename(directory / "gone")
    told, mend = findings(doctor())["roots"]
    assert "contact.1.key: missing" in told
    assert "lamina keys init" in mend


def test_other_root_keys_are_told(alive, doctor, settings):
    """The files are well, but are not those that the database was made with."""
    directory = Path(settings.root_key.removeprefix("file:"))
    directory.rename(directory.with_name("former"))
    assert (
        CliRunner()
        .invoke(
            main,
            ["keys", "init"],
            env={
                "LAMINA_MODE": "development",
                "LAMINA_ROOT_KEY": settings.root_key,
            },
        )
        .exit_code
        == 0
    )
    assert "not those of this database" in findings(doctor())["start"][0]


@pytest.mark.edits_rows
def test_old_keys_and_destructions_that_are_due_are_told(alive, doctor):
    """A KEK past its year, a signing key past its quarter, a rotation half done."""
    execute(alive, "UPDATE kek SET created_at = '2020-01-01 00:00:00' WHERE key_class = 'contact'")
    execute(alive, "UPDATE signing_key SET created_at = '2020-01-01 00:00:00'")
    execute(
        alive, "UPDATE kek SET destroy_after = '2020-01-01 00:00:00' WHERE key_class = 'factor'"
    )
    with alive.store.transaction() as tx:
        alive.key_admin.generate(tx, "kek", "receipt", "break_glass")
    found = findings(doctor())
    assert found["age.kek"][0].startswith("the oldest active key, kek contact, is 2")
    assert found["age.signing"][0].startswith("the oldest active key, signing, is 2")
    assert found["destruction"][0].startswith("kek factor 1 goes after 2020-01-01T00:00:00Z")
    assert found["keys"] == (
        "kek receipt 2 is pending",
        "lamina keys promote --tier kek --class receipt",
    )


def test_a_pooler_that_drops_the_time_out_is_told(alive, doctor, settings, monkeypatch):
    """Without it a process that was stopped could commit what it decided long before."""
    if settings.sqlite:
        pytest.skip("there is no pooler in front of a file")
    monkeypatch.setattr(checks, "make_engine", _without_options)
    code, rows = doctor()
    assert [row["ok"] for row in rows if row["check"] == "pooler"] == [True, False]
    assert "ALTER ROLE" in findings((code, rows))["pooler"][1]


def _without_options(url):
    from sqlalchemy import create_engine

    return create_engine(url)


def test_another_check_is_one_more_line(alive, doctor, monkeypatch):
    """What it raises is a finding too."""

    def ours(_container, _tx):
        yield checks.CheckResult("ours", "in order")

    def raising(_container, _tx):
        raise checks.Unavailable("x", "It does not answer.")

    more = (*checks.CHECKS, ("ours", ours), ("theirs", raising))
    monkeypatch.setattr(checks, "CHECKS", more)
    assert findings(doctor())["theirs"][0] == "It does not answer."


def test_a_mail_server_that_is_away_or_refuses_is_a_finding(alive, doctor):
    """With the reason; one that takes mail is in order, and gets none."""
    with letterbox() as (box, port):
        mail = {
            "LAMINA_SMTP_URL": f"smtp://127.0.0.1:{port}?tls=off",
            "LAMINA_SMTP_FROM": "a@bank.example",
        }
        code, rows = doctor(**mail)
        (row,) = [row for row in rows if row["check"] == "delivery.email"]
        assert (code, row["ok"], box.letters) == (0, True, [])
        without = {"LAMINA_SMTP_URL": f"smtp://127.0.0.1:{port}"}
        assert "smtp_no_tls" in findings(doctor(**mail | without))["delivery.email"][0]
    assert "unreachable" in findings(doctor(**mail))["delivery.email"][0]


def test_what_cannot_be_delivered_is_a_finding(alive, doctor):
    """A dead delivery, or one that has waited for an hour, with where to look."""
    with alive.store.transaction() as tx:
        alive.outbox.put(
            tx, kind="subject.suspended", subject=None, payload={"to": "a@example.com"}
        )
    alive.delivery.delivering._route()
    past = SystemClock().now() - timedelta(hours=2)
    execute(alive, "UPDATE outbox SET at = :past", past=past.replace(tzinfo=None))
    assert "lamina outbox list" in findings(doctor())["outbox"][1]
    execute(alive, "UPDATE delivery SET state = 'dead'")
    assert "1 delivery is dead" in findings(doctor())["outbox"][0]
