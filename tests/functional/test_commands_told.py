"""What commands print can be copied and acted on; what they do on the host is alarmed."""

import json
import re

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from service.cli import main
from service.cli.away import explain
from service.cli.base import counted
from service.store.engine import make_engine
from tests.functional.test_cli import lamina, ready  # noqa: F401 - fixtures

UNKNOWN = "00000000-0000-0000-0000-000000000009"


def alarms(ready):  # noqa: F811 - a fixture's value
    """Return the commands of which an alarm waits."""
    rows = json.loads(ready("outbox", "--reveal", "--json").stdout)
    return [row["payload"]["command"] for row in rows if row["kind"] == "alarm.break_glass"]


@pytest.mark.parametrize("columns", ["20", "80"])
def test_tables_keep_ids_and_versions_whole(ready, columns):  # noqa: F811 - a fixture
    """However narrow the terminal, each row is one line and each head one word."""
    made = json.loads(ready("clients", "create", "a shop", "--json").stdout)["client_id"]
    (policy,) = json.loads(ready("policy", "list", "--json").stdout)
    clients = ready("clients", "list", COLUMNS=columns).stdout.splitlines()
    assert (len(clients), clients[1].split()[0]) == (2, made)
    assert clients[0].split()[-1] == "old_jwks_until"
    policies = ready("policy", "list", COLUMNS=columns).stdout.splitlines()
    assert (len(policies), policies[1].split()[0]) == (2, policy["version"])
    waiting = ready("outbox", "--reveal", COLUMNS=columns).stdout.splitlines()
    assert re.match(r"[0-9a-f-]{36} ", waiting[1])


@pytest.mark.parametrize(
    ("number", "words", "said"),
    [
        (0, ("row",), "0 rows"),
        (1, ("row",), "1 row"),
        (2, ("leaf", "leaves"), "2 leaves"),
        (1, ("instance serves", "instances serve"), "1 instance serves"),
    ],
)
def test_numbers_have_their_nouns(number, words, said):
    """One is one, and all else is many."""
    assert counted(number, *words) == said


def test_what_is_revealed_or_unlocked_on_the_host_is_alarmed(ready):  # noqa: F811 - a fixture
    """Each raises the alarm, one at the reading too; what was not done raises none."""
    assert ready("subjects", "unlock", "nobody").exit_code == 1
    assert alarms(ready) == []
    assert alarms(ready) == ["outbox --reveal"]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_acts_on_a_subject_are_alarmed_and_name_it_in_the_log(service, settings):
    """By name, each leaves an alarm with the command and an entry of the host at the subject."""
    environment = {
        "LAMINA_MODE": "development",
        "LAMINA_DATABASE_URL": settings.database_url,
        "LAMINA_ROOT_KEY": settings.root_key,
        "LAMINA_FACE_ENGINE": "off",
    }
    person = service.register("alice")
    acts = {
        "subjects unlock": (),
        "subjects canary": (),
        "behavior reset": (),
        "subjects hold": ("--until", "2999-01-01", "--reason", "aml"),
    }
    for act, options in acts.items():
        done = CliRunner().invoke(main, [*act.split(), "alice", *options], env=environment)
        assert done.exit_code == 0, done.stderr
    with service.container.store.transaction(read=True) as tx:
        rows = service.container.outbox.waiting(tx, 1000, reveal=True)
        query = text("SELECT subject_id, actor FROM audit_leaf WHERE kind = 'break_glass'")
        leaves = set(tx.execute(query))
    told = [row["payload"]["command"] for row in rows if row["kind"] == "alarm.break_glass"]
    assert sorted(told) == sorted(acts)
    assert leaves == {(person.id.replace("-", ""), "break_glass")}


@pytest.mark.parametrize(
    "command",
    [
        ("subjects", "hold", "nobody", "--until", "2999-01-01", "--reason", "aml"),
        ("subjects", "canary", "nobody"),
        ("policy", "clear-risk", "nobody"),
        ("keys", "shred", "nobody", "--yes"),
        ("operators", "revoke", "nobody"),
        ("subjects", "unlock", "nobody"),
        ("face", "renew", "--subject", "nobody"),
    ],
)
def test_a_subject_is_named_by_id_or_identifier_everywhere(ready, command):  # noqa: F811 - a fixture
    """A name is looked up: that nobody has it is what is told, not that it is no id."""
    answer = ready(*command)
    assert answer.exit_code in {1, 2}
    assert answer.stderr == "lamina: No subject can sign in with this identifier.\n"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite:////nowhere/l.db", "/nowhere/l.db does not answer: no such directory"),
        ("postgresql+psycopg://u:canary@127.0.0.1:1/x", "127.0.0.1:1/x does not answer: connec"),
        ("postgresql+psycopg://u:canary@no.invalid/x", "no.invalid:5432/x does not answer: no "),
    ],
)
def test_a_database_that_is_away_is_told_with_its_place(lamina, url, says):  # noqa: F811 - a fixture
    """Every command says where it is, why and which setting; never who signs in to it."""
    lamina("keys", "init")
    for command in (("db", "current"), ("db", "upgrade"), ("clients", "list"), ("worker",)):
        answer = lamina(*command, LAMINA_DATABASE_URL=url)
        assert answer.exit_code == 1
        assert answer.stderr.startswith(f"lamina: the database {says}")
        assert answer.stderr.endswith("(LAMINA_DATABASE_URL)\n")
        assert answer.stderr.count("\n") == 1
        assert "canary" not in answer.stderr


@pytest.mark.parametrize(
    ("said", "told_as"),
    [
        ('FATAL:  database "lamina" does not exist', "no such database; create it: createdb x "),
        ('FATAL:  password authentication failed for user "canary"', "user or password refused"),
        ('FATAL:  role "my database" does not exist', "user or password refused"),
        ("connection timeout expired", "no answer in time"),
        ("cannot execute UPDATE in a read-only transaction", "it is read-only"),
        ("something else about canary", "the connection failed"),
    ],
)
def test_what_the_server_says_is_told_without_its_names(said, told_as):
    """The kind is told in words of ours; the driver's own hold the user."""
    from sqlalchemy.exc import OperationalError

    line = explain(OperationalError("", {}, Exception(said)), "postgresql+psycopg://canary:p@h/x")
    assert line.startswith(f"the database h:5432/x does not answer: {told_as}")
    assert "canary" not in line


def test_a_file_that_may_not_be_used_is_told(tmp_path):
    """A directory in its place is no database."""
    with pytest.raises(Exception, match=r".") as raised:
        make_engine(f"sqlite:///{tmp_path}").connect()
    assert f"{tmp_path} does not answer: " in explain(raised.value, f"sqlite:///{tmp_path}")
