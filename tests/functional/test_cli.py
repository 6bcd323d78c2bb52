"""The commands, as an operator types them."""

import json
import os
import shutil
import signal
import sqlite3
import time

import pytest
from click.testing import CliRunner

from crypto.signing import SigningKey
from service.cli import main
from service.cli.demo import _wait
from service.domain.errors import SetupError
from service.store import migrate
from tests.starts import begins_others, program, start


@pytest.fixture
def lamina(tmp_path):
    """Run a command on a database and keys of its own."""
    environment = {
        "LAMINA_MODE": "development",
        "LAMINA_DATABASE_URL": f"sqlite:///{tmp_path / 'lamina.db'}",
        "LAMINA_ROOT_KEY": f"file:{tmp_path / 'keys'}",
        "LAMINA_FACE_ENGINE": "off",
    }

    def run(*arguments, **changes):
        return CliRunner().invoke(main, arguments, env=environment | changes)

    run.environment = environment
    return run


@pytest.fixture
def ready(lamina, set_up, tmp_path):
    """The command after keys and schema were made."""
    shutil.copytree(set_up("lamina.db"), tmp_path, dirs_exist_ok=True)
    return lamina


def test_keys_are_made_once(lamina):
    """A second init refuses, and status tells what is held."""
    made = lamina("keys", "init", "--json")
    assert len(json.loads(made.stdout)["classes"]) == 10
    again = lamina("keys", "init")
    assert again.exit_code == 1
    assert "never overwritten" in again.stderr
    kept = json.loads(lamina("keys", "init", "--if-absent", "--json").stdout)
    assert kept["classes"] == []
    lamina("db", "upgrade")
    status = json.loads(lamina("keys", "status", "--json").stdout)
    assert (len(status["held"]), status["missing"], len(status["signing"])) == (10, [], 1)
    assert status["findings"] == []
    assert {row["status"] for row in json.loads(lamina("keys", "list", "--json").stdout)} == {
        "active"
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"LAMINA_ROOT_KEY": "file:nowhere"}, "lamina keys init"),
        ({"LAMINA_MODE": "production"}, "https in production"),
        ({"LAMINA_DATABASE": "x"}, "LAMINA_DATABASE: no such setting"),
        ({"LAMINA_WORKERS": "many"}, "LAMINA_WORKERS"),
        ({"LAMINA_DATABASE_URL": "mysql://x"}, "LAMINA_DATABASE_URL"),
    ],
)
def test_a_wrong_setup_stops_with_one_clear_line(ready, changes, said):
    """The line names what to mend, and the exit code is 2."""
    answer = ready("keys", "status", **changes)
    assert answer.exit_code == 2
    assert said in answer.stderr
    assert answer.stderr.count("\n") == 1


def test_an_old_schema_stops_the_start(lamina):
    """Commands on a database without the schema name the upgrade."""
    lamina("keys", "init")
    answer = lamina("clients", "list")
    assert answer.exit_code == 2
    assert "lamina db upgrade" in answer.stderr
    assert lamina("db", "current").exit_code == 1
    lamina("db", "upgrade")
    assert json.loads(lamina("db", "current", "--json").stdout)["current"] == migrate.HEAD


def test_a_key_file_that_others_can_read_stops_the_start(ready, tmp_path):
    """The line says which file and which chmod."""
    (tmp_path / "keys" / "factor.1.key").chmod(0o644)
    answer = ready("keys", "status")
    assert answer.exit_code == 2
    assert "chmod 600 factor.1.key" in answer.stderr


def test_keys_of_another_database_are_refused(ready, tmp_path):
    """The database opens only with the root keys it was made with."""
    ready("keys", "status")
    other = {"LAMINA_ROOT_KEY": f"file:{tmp_path / 'other'}"}
    ready("keys", "init", **other)
    answer = ready("keys", "status", **other)
    assert answer.exit_code == 2
    assert "not those of this database" in answer.stderr


def test_clients_are_managed(ready, tmp_path):
    """Created with keys and flags, listed, rotated, revoked; each leaves a mark in the log."""
    keys = tmp_path / "jwks.json"
    keys.write_text('{"keys": []}')
    made = json.loads(
        ready(
            "clients",
            "create",
            "shop",
            "--scope",
            "flows:write",
            "--first-party",
            "--jwks",
            str(keys),
            "--json",
        ).stdout
    )
    assert made["client_secret"].startswith("lsec_")
    rotated = json.loads(ready("clients", "rotate-secret", made["client_id"], "--json").stdout)
    assert rotated["client_secret"] != made["client_secret"]
    assert ready("clients", "revoke", made["client_id"]).stdout == "revoked\n"
    listed = json.loads(ready("clients", "list", "--json").stdout)
    assert [(row["name"], row["status"]) for row in listed] == [("shop", "revoked")]
    assert "shop" in ready("clients", "list").stdout
    assert ready("clients", "create", "shop", "--scope", "everything").exit_code == 1
    unknown = ready("clients", "revoke", "00000000-0000-0000-0000-000000000001")
    assert unknown.exit_code == 1
    assert unknown.stderr == "lamina: There is no such client; see: lamina clients list\n"
    assert ready("clients", "revoke", "nobody").exit_code == 2


def test_secrets_and_keys_of_a_client_change_with_an_overlap(ready, tmp_path):
    """The answer and the list tell how long the old ones count; each change is alarmed."""
    made = json.loads(ready("clients", "create", "shop", "--json").stdout)["client_id"]
    told = ready("clients", "rotate-secret", made, "--overlap", "24h").stdout
    assert "The old secret is valid until " in told
    keys = tmp_path / "jwks.json"
    keys.write_text(json.dumps({"keys": [SigningKey.generate().public_jwk()]}))
    first = ready("clients", "set-jwks", made, "--jwks", str(keys), "--overlap", "90s")
    assert first.stdout == "1 key registered\nThe old key set is no longer valid.\n"
    again = ready("clients", "set-jwks", made, "--jwks", str(keys), "--overlap", "7d", "--json")
    assert json.loads(again.stdout)["old_jwks_until"]
    (row,) = json.loads(ready("clients", "list", "--json").stdout)
    assert (row["keys"], bool(row["old_secret_until"]), bool(row["old_jwks_until"])) == (1, 1, 1)
    gone = ready("clients", "set-jwks", made, "--remove", "--json")
    assert json.loads(gone.stdout) == {
        "client_id": made,
        "keys": 0,
        "old_secret_until": row["old_secret_until"],
        "old_jwks_until": None,
    }
    ended = ready("clients", "rotate-secret", made, "--overlap", "0").stdout
    assert ended.endswith("The old secret is no longer valid.\n")
    waiting = json.loads(ready("outbox", "--json").stdout)
    assert [row["kind"] for row in waiting].count("alarm.break_glass") == 6


def test_a_private_or_broken_key_set_is_refused_with_one_line(ready, tmp_path):
    """Nothing is stored, nothing of the key is repeated, and the exit code is 1."""
    made = json.loads(ready("clients", "create", "shop", "--json").stdout)["client_id"]
    private = SigningKey.generate().jwk.as_dict(private=True)
    keys = tmp_path / "jwks.json"
    for content, said in (
        (json.dumps({"keys": [private]}), "holds a private or shared key"),
        (json.dumps({"keys": [{"kty": "oct", "k": "AA"}]}), "holds a private or shared key"),
        (json.dumps(private), "must be a JWK set"),
        ("[", "is not JSON"),
        ("", "is not JSON"),
        ("NaN", "is not taken"),
        (" " * 70_000, "at most 65536 bytes"),
    ):
        keys.write_text(content)
        for command in (["set-jwks", made], ["create", "other"]):
            answer = ready("clients", *command, "--jwks", str(keys))
            assert (answer.exit_code, answer.stdout) == (1, ""), answer
            assert said in answer.stderr
            assert private["d"] not in answer.stderr
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for place in (pipe, "/dev/null"):
        answer = ready("clients", "set-jwks", made, "--jwks", str(place))
        assert (answer.exit_code, "is not a regular file" in answer.stderr) == (1, True)
    for wrong in (["--overlap", "31d"], ["--overlap", "soon"], ["--overlap", "-1h"]):
        assert ready("clients", "rotate-secret", made, *wrong).exit_code in {1, 2}
    assert ready("clients", "set-jwks", made).exit_code == 1
    (row,) = json.loads(ready("clients", "list", "--json").stdout)
    assert (row["name"], row["keys"], row["old_secret_until"]) == ("shop", 0, None)


def test_a_client_is_updated_in_what_is_given(ready):
    """The rest stays; each use raises an alarm; what is wrong or revoked is refused in one line."""
    made = json.loads(ready("clients", "create", "shop", "--scope", "flows:write", "--json").stdout)
    client = made["client_id"]
    ready("clients", "update", client, "--name", "market")
    options = ("--scope", "flows:write", "--scope", "risk:read", "--segment", "staff")
    told = json.loads(ready("clients", "update", client, *options, "--json").stdout)
    assert (told["name"], told["segments"]) == ("market", ["staff"])
    assert told["scopes"] == ["flows:write", "risk:read"]
    (row,) = json.loads(ready("clients", "list", "--json").stdout)
    assert row == told
    for wrong in ((), ("--name", " "), ("--name", "x" * 121), ("--scope", "none")):
        answer = ready("clients", "update", client, *wrong)
        assert (answer.exit_code, answer.stderr.count("\n")) == (1, 1), answer.stderr
    assert json.loads(ready("clients", "list", "--json").stdout) == [told]
    ready("clients", "revoke", client)
    assert "was revoked" in ready("clients", "update", client, "--name", "x").stderr
    kinds = [row["kind"] for row in json.loads(ready("outbox", "--json").stdout)]
    assert kinds.count("alarm.break_glass") == 4


def test_the_outbox_the_log_and_unlocking(ready):
    """Nothing waits, nobody is found, and the log of an untouched service holds."""
    assert "nothing waits" in ready("outbox").stdout
    assert json.loads(ready("outbox", "--reveal", "--json").stdout) == []
    assert ready("subjects", "unlock", "nobody").exit_code == 1
    answer = json.loads(ready("audit", "verify", "--json").stdout)
    assert (answer["leaves"], answer["intact"], answer["late"]) == (0, True, 0)
    told = ready("audit", "verify")
    assert told.exit_code == 0
    assert told.stdout.startswith(
        f"0 leaves in the chain; {answer['waiting']} wait for their positions"
    )


def test_the_doctor_compares_clocks(ready, tmp_path):
    """In order while they agree; an entry of the log from next year is told, with exit code 1."""

    def clocks(found):
        rows = {row["check"]: row["ok"] for row in json.loads(found.stdout)}
        return {name: ok for name, ok in rows.items() if name.startswith("clock.")}

    assert clocks(ready("doctor", "--json")) == {"clock.monotonic": True, "clock.database": None}
    assert ready("subjects", "unlock", "nobody").exit_code == 1
    with sqlite3.connect(tmp_path / "lamina.db") as connection:
        connection.execute(
            "INSERT INTO audit_leaf (id, at, kind, data, position) "
            "VALUES ('00000000000000000000000000000001', '2999-01-01 00:00:00', 'x', '{}', 1)"
        )
        connection.execute(
            "INSERT INTO audit_link (position, leaf_id, head) "
            "VALUES (1, '00000000000000000000000000000001', x'00')"
        )
    found = ready("doctor", "--json")
    assert found.exit_code == 1
    assert clocks(found) == {"clock.monotonic": True, "clock.log": False, "clock.database": None}


def test_the_face_engine_is_prepared_ahead(lamina, tmp_path):
    """The converted weights lie where they were asked for; info names their license."""
    made = json.loads(lamina("face", "prepare", "--to", str(tmp_path / "m"), "--json").stdout)
    assert len(made["files"]) == 3
    blocked = tmp_path / "file"
    blocked.write_text("x")
    assert lamina("face", "prepare", "--to", str(blocked)).exit_code == 2
    info = json.loads(lamina("face", "info", "--json").stdout)["weights"]
    assert {row["license"] for row in info} == {"CC0-1.0"}


def test_every_command_has_help_with_an_example():
    """`--help` of each command shows how it is called."""

    def walk(command, path):
        if hasattr(command, "commands"):
            for name, child in command.commands.items():
                yield from walk(child, [*path, name])
        else:
            yield path

    for path in walk(main, []):
        text = CliRunner().invoke(main, [*path, "--help"]).stdout
        assert "Example:" in text, path


def spawn(environment, *arguments):
    """Start a command as a process of its own."""
    return start(os.environ | environment, *arguments)


@pytest.mark.slow
def test_the_worker_stops_when_told(ready):
    """SIGTERM ends it with exit code 0."""
    process = spawn(ready.environment, "worker")
    assert "working" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors


@pytest.mark.slow
def test_serve_finishes_what_it_has_and_stops(ready, tmp_path):
    """An empty database is migrated, requests are answered, SIGTERM ends it with exit code 0."""
    import httpx

    bind = {
        "LAMINA_BIND": "127.0.0.1:18423",
        "LAMINA_ISSUER": "http://localhost:18423",
        "LAMINA_DATABASE_URL": f"sqlite:///{tmp_path / 'empty.db'}",
    }
    process = spawn(ready.environment | bind, "serve")
    deadline = time.monotonic() + 120
    answer = None
    while answer is None and time.monotonic() < deadline:
        try:
            answer = httpx.get("http://127.0.0.1:18423/readyz", timeout=60)
        except httpx.HTTPError:
            time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert answer is not None, errors
    assert answer.json()["status"] == "ready"
    assert process.returncode == 0, errors


def test_the_demo_tells_of_a_service_that_ended(lamina):
    """It does not wait for one that is gone."""
    ended = spawn(lamina.environment, "serve")
    ended.communicate()
    assert ended.returncode == 2
    with pytest.raises(SetupError) as told:
        _wait("http://127.0.0.1:1", ended)
    assert told.value.detail == "the service ended with exit code 2"


@pytest.mark.slow
def test_the_demo_passes(tmp_path):
    """Every step does what it should, and the exit code says so."""
    program(tmp_path / "lamina")
    before = begins_others(tmp_path / "lamina")
    process = start(os.environ, "demo", "--json", before=before)
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    found = json.loads(output)
    assert found["passed"] is True
    assert len(found["steps"]) == 25
