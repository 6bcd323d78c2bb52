"""`lamina keys …` as an operator types it: exit codes, refusals, rotations, recovery."""

import base64
import json
import os
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from crypto.keyring import KEY_CLASSES
from service.cli import main
from service.domain.clock import SystemClock
from service.store.engine import make_engine
from tests import starts
from tests.databases import database_url


@pytest.fixture
def lamina(tmp_path, monkeypatch, set_up):
    """Run a command in a directory of its own, with keys, a schema and one client."""
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "LAMINA_MODE": "development",
        "LAMINA_DATABASE_URL": f"sqlite:///{tmp_path}/l.db",
        "LAMINA_ROOT_KEY": "file:keys",
        "LAMINA_FACE_ENGINE": "off",
    }.items():
        monkeypatch.setenv(name, value)

    def run(*arguments, code=0):
        answer = CliRunner().invoke(main, arguments)
        assert answer.exit_code == code, answer.output
        return answer

    shutil.copytree(set_up("l.db"), tmp_path, dirs_exist_ok=True)
    # What a first start makes is of this minute: the doctor tells of a log that waits for longer.
    run("clients", "create", "shop", "--scope", "all", "--first-party")
    return run


def ask(lamina, *arguments, code=0):
    """Run with --json and return what it printed."""
    return json.loads(lamina(*arguments, "--json", code=code).stdout)


def execute(statement, **values):
    """Run a statement on the database behind the service's back."""
    engine = make_engine(os.environ["LAMINA_DATABASE_URL"])
    with engine.begin() as connection:
        result = connection.execute(text(statement), values)
        rows = result.all() if result.returns_rows else []
    engine.dispose()
    return rows


def test_every_tier_rotates_by_command(lamina):
    """Root, KEK, data keys and index, each to its end, and everything opens."""
    assert ask(lamina, "keys", "generate", "--tier", "root")["keys"][0] == "root behavior 2"
    assert ask(lamina, "keys", "rewrap", "--tier", "root")["done"] == 10
    assert {row["root_version"] for row in ask(lamina, "keys", "list")} == {2}
    lamina("keys", "generate")
    lamina("keys", "promote")
    assert ask(lamina, "keys", "rewrap", "--dry-run")["rows"] >= 4
    assert ask(lamina, "keys", "rewrap")["status"] == "done"
    assert ask(lamina, "keys", "reencrypt", "--class", "factor")["done"] >= 1
    assert ask(lamina, "keys", "verify")["report"]["proof"]["failed"] == 0
    refused = lamina("keys", "retire", code=2)
    assert "is too recent" in refused.stderr
    found = ask(lamina, "keys", "doctor")
    assert all("lamina keys" in row["mend"] for row in found)


def test_an_old_root_goes_only_when_nothing_is_under_it(lamina, tmp_path):
    """The refusal names the command; afterwards the file is gone and everything still opens."""
    options = ("--tier", "root", "--class", "contact", "--version", "1")
    lamina("keys", "generate", "--tier", "root", "--class", "contact")
    assert "--yes" in lamina("keys", "destroy", *options, code=2).stderr
    used = lamina("keys", "destroy", *options, "--yes", code=2)
    assert "lamina keys rewrap --tier root --class contact" in used.stderr
    lamina("keys", "rewrap", "--tier", "root", "--class", "contact")
    lamina("keys", "destroy", *options, "--yes")
    assert not (tmp_path / "keys" / "contact.1.key").exists()
    assert ask(lamina, "keys", "verify")["status"] == "done"
    assert not ask(lamina, "keys", "status")["missing"]


def test_a_lost_root_is_recovered_from_an_export(lamina, tmp_path):
    """With new roots and the recipient's key everything opens again; without, nothing does."""
    lamina("keys", "recipient", "recovery.key")
    assert (tmp_path / "recovery.key").stat().st_mode & 0o077 == 0
    export = ("keys", "export-recovery", "--recipient", "recovery.key.pub", "--out", "export.json")
    lamina(*export)
    assert "File exists" in lamina(*export, code=1).stderr
    shutil.rmtree(tmp_path / "keys")
    lamina("keys", "init")
    assert "not those" in lamina("keys", "verify", code=2).stderr
    lamina("keys", "recipient", "other.key")
    assert (
        "does not open"
        in lamina("keys", "recover", "export.json", "--private", "other.key", code=1).stderr
    )
    assert ask(lamina, "keys", "recover", "export.json", "--private", "recovery.key")["keys"] == 10
    assert ask(lamina, "keys", "verify")["status"] == "done"


def test_an_export_past_its_time_is_taken_only_when_told(lamina):
    """It should have been destroyed; with --expired it is taken all the same."""
    lamina("keys", "recipient", "recovery.key")
    options = ("--recipient", "recovery.key.pub", "--out", "export.json", "--days", "1")
    lamina("keys", "export-recovery", *options)
    recover = ("keys", "recover", "export.json", "--private", "recovery.key")
    with pytest.MonkeyPatch.context() as later:
        real = SystemClock.now
        later.setattr(SystemClock, "now", lambda self: real(self) + timedelta(days=1))
        refused = lamina(*recover, code=1)
        assert "expired at" in refused.stderr
        assert "--expired" in refused.stderr
        assert ask(lamina, *recover, "--expired")["keys"] == 10
    assert ask(lamina, *recover)["keys"] == 10


def test_what_a_class_not_held_here_hides_is_not_proven(lamina, monkeypatch):
    """The report says so and is signed as incomplete; the exit code is 4."""
    lamina("keys", "generate")
    held = [name for name in KEY_CLASSES if name != "factor"]
    monkeypatch.setenv("LAMINA_KEY_CLASSES", " ".join(held))
    found = ask(lamina, "keys", "verify", code=4)
    proof = found["report"]["proof"]
    assert found["status"] == "partial"
    assert (proof["failed"], proof["complete"]) == (0, False)
    assert set(proof["not_held"]) == {"factor"}
    assert found["report"]["failed"] == len(proof["not_held"]) > 0
    assert all("does not hold" in row["reason"] for row in found["report"]["bad"])
    payload = found["report"]["signed"].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["report"]["complete"] is False
    monkeypatch.delenv("LAMINA_KEY_CLASSES")
    whole = ask(lamina, "keys", "verify")["report"]["proof"]
    assert (whole["complete"], whole["not_held"]) == (True, {})


def test_a_pipe_as_a_key_file_is_refused_and_never_waited_for(lamina, tmp_path):
    """So is one as the private line of a recovery: each start ends at once with one line."""
    key = tmp_path / "keys" / "service.1.key"
    kept = key.rename(tmp_path / "kept")
    os.mkfifo(key, 0o600)
    assert "is no regular file" in lamina("keys", "status", code=2).stderr
    key.unlink()
    kept.rename(key)
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "export.json").write_text("{}")
    refused = lamina("keys", "recover", "export.json", "--private", "pipe", code=1)
    assert "is no regular file" in refused.stderr


def test_a_value_that_does_not_open_is_exit_code_4_and_a_job_that_leaves_it_3(lamina):
    """The report names table, row, column and key, and the rest is done."""
    (row,) = execute("SELECT id, secret FROM client")
    execute("UPDATE client SET secret = :v WHERE id = :i", v=row.secret[:-1], i=row.id)
    found = ask(lamina, "keys", "verify", code=4)
    (bad,) = found["report"]["proof"]["bad"]
    assert (bad["table"], bad["column"], bad["key"]) == ("client", "secret", "service/1")
    assert bad["row"].replace("-", "") == row.id
    assert "1 failed" in lamina("keys", "verify", code=4).stdout
    assert ask(lamina, "keys", "reencrypt", "--class", "service", code=3)["status"] == "partial"


def test_a_damaged_data_key_is_named_and_the_rest_is_rewrapped(lamina):
    """A wrapped key that does not open is counted by its row and version."""
    lamina("keys", "generate")
    lamina("keys", "promote")
    rows = execute("SELECT id, wrapped FROM dek WHERE key_class = 'factor' LIMIT 1")
    broken = rows[0].wrapped[:-1] + b"\0"
    execute("UPDATE dek SET wrapped = :v WHERE id = :i", v=broken, i=rows[0].id)
    found = ask(lamina, "keys", "rewrap", code=3)
    assert [line["table"] for line in found["report"]["bad"]] == ["dek"]
    assert found["report"]["bad"][0]["key"] == "kek 1"
    assert found["done"] >= 1


def test_what_cannot_be_is_refused_with_exit_code_2(lamina):
    """Nothing changes, and the one line says what would help."""
    for arguments, said in (
        (("keys", "promote"), "lamina keys generate"),
        (("keys", "promote", "--tier", "index"), "not being rotated"),
        (("keys", "promote", "--tier", "signing"), "no signing key is pending"),
        (("keys", "reindex"), ""),
        (("keys", "rewrap", "--workers", "2"), "one writer"),
        (("keys", "generate", "--class", "nothing"), "held:"),
        (("keys", "shred", "00000000-0000-0000-0000-000000000009"), "--yes"),
        (("keys", "shred", "00000000-0000-0000-0000-000000000009", "--yes"), "no such subject"),
        (
            ("operators", "revoke", "00000000-0000-0000-0000-000000000009", "--role", "auditor"),
            "does not have",
        ),
    ):
        code = 0 if arguments == ("keys", "reindex") else 2
        assert said in lamina(*arguments, code=code).stderr
    lamina("keys", "generate", "--tier", "index")
    pending = ask(lamina, "keys", "reindex", code=2)
    assert "lamina keys promote --tier index" in pending["report"]["detail"]


def test_operators_begin_with_a_token(lamina):
    """The token is printed once for the first operator; the list is empty until then."""
    found = ask(lamina, "operators", "bootstrap")
    assert found["post"] == "http://localhost:8000/v1/operators/bootstrap"
    assert found["token"] == found["operators"][0]["token"]
    assert ask(lamina, "operators", "list") == []
    kinds = [row["kind"] for row in ask(lamina, "outbox")]
    assert "alarm.break_glass" in kinds


def test_several_workers_share_a_job(tmp_path, monkeypatch):
    """On PostgreSQL two processes move each row once, and everything opens after."""
    with database_url("postgresql", tmp_path) as url:
        monkeypatch.chdir(tmp_path)
        for name, value in {
            "LAMINA_MODE": "development",
            "LAMINA_DATABASE_URL": url,
            "LAMINA_ROOT_KEY": "file:keys",
            "LAMINA_FACE_ENGINE": "off",
        }.items():
            monkeypatch.setenv(name, value)

        def run(*arguments):
            done = starts.run(os.environ, *arguments, "--json", cwd=tmp_path)
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)

        run("keys", "init")
        run("db", "upgrade")
        place = Path(__file__).parents[2]
        people = "from tests.chaos import actors; from service.settings import load; "
        people += "actors.populate(load(), 1200)"
        monkeypatch.setenv("PYTHONPATH", str(place))
        subprocess.run([sys.executable, "-c", people], check=True, timeout=120)
        assert run("keys", "reencrypt", "--class", "contact", "--dry-run")["rows"] == 1200
        done = run("keys", "reencrypt", "--class", "contact", "--workers", "2")
        assert (done["status"], done["report"]["failed"]) == ("done", 0)
        # The record is that of the process which held the lock: it did its share of the rows.
        assert 0 < done["done"] <= 1210  # the notice of the break-glass act is a row too
        assert run("keys", "verify")["report"]["failed"] == 0
        old = "SELECT count(*) FROM subject WHERE substr(username, 3, 2) <> '\\x0002'::bytea"
        assert execute(old) == [(0,)]
