"""A command waits for what it uses, and for nothing else."""

import gc
import os
import sqlite3
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from lab.behavior.datasets import LAYOUTS
from service.cli import choices, main
from service.cli.base import reading
from service.domain.errors import SetupError
from service.key_admin.actions import TIERS
from service.keys.actions.crypto_shredding import SUBJECT_CLASSES
from service.policy.model.document import FACTORS
from tests.functional.test_cli import lamina, ready  # noqa: F401 - fixtures

HEAVY = {
    "alembic",
    "argon2",
    "asyncio",
    "biometrics",
    "cryptography",
    "cv2",
    "dotenv",
    "flask",
    "granian",
    "httpx",
    "joserfc",
    "limits",
    "numpy",
    "onnxruntime",
    "phonenumbers",
    "precis_i18n",
    "prometheus_client",
    "psycopg",
    "pydantic",
    "pyotp",
    "redis",
    "rich",
    "service.app",
    "service.settings",
    "service.store",
    "sqlalchemy",
    "structlog",
    "werkzeug",
    "yaml",
}
WEB = {
    "alembic",
    "biometrics",
    "cv2",
    "flask",
    "granian",
    "httpx",
    "joserfc",
    "numpy",
    "onnxruntime",
    "prometheus_client",
    "psycopg",
    "redis",
    "rich",
    "service.app.container",
    "structlog",
}
GROUPS = ["audit", "behavior", "clients", "db", "face", "keys", "operators", "policy", "subjects"]
TELL = """
import atexit, sys
atexit.register(lambda: print("\\nMODULES", *sys.modules))
from service.cli import main
main(prog_name="lamina")
"""


def imported(*arguments, **environment):
    """Return what a process has imported when it ends that ran one command."""
    done = subprocess.run(
        [sys.executable, "-c", TELL, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rsplit("MODULES ", 1)[1].split())


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], *([name, "--help"] for name in GROUPS), ["clients", "list", "-h"]],
    ids=" ".join,
)
def test_help_imports_nothing_heavy(arguments):
    """Neither the list of commands nor that of a group waits for what commands work with."""
    assert imported(*arguments) & HEAVY == set()


def test_names_are_completed_without_the_commands():
    """A shell that asks for the names of commands waits for none of them."""
    asked = {"_LAMINA_COMPLETE": "bash_complete", "COMP_WORDS": "lamina c", "COMP_CWORD": "1"}
    assert imported(**asked) & HEAVY == set()


@pytest.mark.parametrize(
    "arguments",
    ["clients list", "keys list", "operators list", "outbox", "policy list", "webhooks list"],
)
def test_a_list_opens_what_it_reads(ready, arguments):  # noqa: F811 - a fixture
    """Without web, models and background work, once the rows of the database have their MACs."""
    assert ready("clients", "list").exit_code == 0
    found = imported(*arguments.split(), **ready.environment)
    assert found & (WEB - ({"biometrics"} if arguments == "policy list" else set())) == set()


def test_rows_get_their_first_macs_with_every_table_known(ready, tmp_path):  # noqa: F811 - a fixture
    """A list that is the first command on a database opens the whole house for that, once."""
    with sqlite3.connect(tmp_path / "lamina.db") as connection:
        assert connection.execute("SELECT count(*) FROM row_mark").fetchone() == (0,)
    assert "service.app.container" in imported("clients", "list", **ready.environment)
    assert "service.app.container" not in imported("clients", "list", **ready.environment)
    assert ready("clients", "create", "shop").exit_code == 0
    assert ready("audit", "verify", "--state").exit_code == 0


def test_what_is_said_of_a_command_is_what_it_says_itself():
    """The list of commands reads as if each had been imported for it."""
    plain = click.Group("lamina", commands=dict(main.commands), help=main.help)
    listed = CliRunner().invoke(main, ["--help"]).stdout.split("Commands:")[1]
    assert listed == CliRunner().invoke(plain, ["--help"]).stdout.split("Commands:")[1]
    for name, command in main.commands.items():
        assert main.commands.places[name].summary == command.get_short_help_str(limit=200)


def test_options_offer_what_there_is():
    """What is written down for `--help` is what the features know."""
    assert choices.TIERS == TIERS
    assert choices.SUBJECT_CLASSES == SUBJECT_CLASSES
    assert choices.FACTORS == FACTORS
    assert tuple(LAYOUTS) == choices.LAYOUTS


def test_a_command_that_there_is_not_is_told():
    """The line names what was asked for, and a misspelled one what may have been meant."""
    answer = CliRunner().invoke(main, ["client", "list"])
    assert answer.exit_code == 2
    assert "client" in answer.stderr


def test_a_list_raises_the_alarm_of_an_edited_row(ready, tmp_path):  # noqa: F811 - a fixture
    """A row that was not written by the service is left out there as everywhere, and told."""
    assert ready("clients", "create", "shop").exit_code == 0
    with sqlite3.connect(tmp_path / "lamina.db") as connection:
        connection.execute("UPDATE client SET first_party = 1")
    assert ready("clients", "list").stdout == "no clients yet\n"
    assert "alarm.row_refused" in ready("outbox").stdout


def test_a_list_searches_for_no_garbage_and_leaves_that_to_others(ready, monkeypatch):  # noqa: F811 - a fixture
    """What it imports is not looked through meanwhile; afterwards all is as before."""
    for name, value in ready.environment.items():
        monkeypatch.setenv(name, value)
    told = []
    gc.callbacks.append(lambda phase, _: told.append(phase))
    try:
        with reading() as desk, desk.store.transaction(read=True) as tx:
            told.clear()
            desk.clients.listing(tx)
            assert (gc.isenabled(), told) == (False, [])
    finally:
        gc.callbacks.pop()
    assert gc.isenabled()
    monkeypatch.setenv("LAMINA_ROOT_KEY", "file:nowhere")
    with pytest.raises(SetupError), reading():
        pass
    assert gc.isenabled()
