"""What commands print can be copied whole and compared: ids are never cut, times have one form."""

import json
import re

import click
import pytest
from click.testing import CliRunner

from service.cli import main
from service.cli.base import show_rows

TIME = re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d[^\s\"',]*")
ONE_FORM = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
NAMED = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{64}")


def others(text):
    """Return how many times a text tells, and those of another form."""
    found = [told.rstrip(".") for told in TIME.findall(text)]
    return len(found), [told for told in found if not ONE_FORM.fullmatch(told)]


def lists():
    """Return every command that lists something, as it is typed."""

    def walk(command, path):
        if isinstance(command, click.Group):
            for name, child in command.commands.items():
                yield from walk(child, [*path, name])
        else:
            yield path

    named = [path for path in walk(main, []) if path[-1] in {"list", "doctor", "info"}]
    return named if any(path[0] == "outbox" for path in named) else [*named, ["outbox"]]


@pytest.fixture
def filled(service, settings):
    """Run a command on a database in which every list has something to show."""
    environment = {
        "LAMINA_MODE": "development",
        "LAMINA_DATABASE_URL": settings.database_url,
        "LAMINA_ROOT_KEY": settings.root_key,
        "LAMINA_FACE_ENGINE": "off",
    }
    person = service.register("alice")

    def run(*arguments, **changes):
        done = CliRunner().invoke(main, arguments, env=environment | changes)
        assert done.exit_code in {0, 1}, done.stderr
        return done.stdout

    made = json.loads(run("clients", "create", "a shop with quite a long name", "--json"))
    run("clients", "rotate-secret", made["client_id"], "--overlap", "24h")
    run("operators", "grant", "alice", "security_officer")
    run.client, run.person = made["client_id"], person.id
    return run


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("command", lists(), ids=" ".join)
def test_a_table_is_the_same_on_every_screen(filled, command):
    """Wide, narrow or a pipe: every id of the JSON stands whole in one line, every time too."""
    rows = filled(*command, "--json")
    screens = ("10", "80", "400")
    # Ages in seconds go on between one command and the next.
    tables = {re.sub(r"\b\d+ s\b", "N s", filled(*command, COLUMNS=wide)) for wide in screens}
    assert len(tables) == 1 or command == ["doctor"], tables
    table = tables.pop()
    assert set(NAMED.findall(rows)) <= set(NAMED.findall(table))
    assert others(rows + table)[1] == []
    if command[-1] == "list" and command[0] in {"clients", "keys", "operators", "policy"}:
        assert ONE_FORM.search(table)
        assert len(table.splitlines()) == len(json.loads(rows)) + 1


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_times_have_one_form_in_every_command(filled):
    """RFC 3339 in UTC with a Z, in JSON and in text, whatever a command tells of."""
    (policy,) = json.loads(filled("policy", "list", "--json"))
    commands = [
        ("keys", "status"),
        ("policy", "show", policy["version"]),
        ("policy", "tighten", "1.0"),
        ("clients", "rotate-secret", filled.client, "--overlap", "24h"),
        ("audit", "verify"),
        ("keys", "shred", filled.person, "--class", "behavior", "--yes"),
        ("subjects", "hold", "alice", "--until", "2999-01-01", "--reason", "aml"),
    ]
    told = [filled(*command, *form) for command in commands for form in ((), ("--json",))]
    count, wrong = others("\n".join(told))
    assert (count > 10, wrong) == (True, [])


def test_a_cell_is_one_line_and_columns_stand_below_each_other(capsys):
    """Signs that would move the cursor are written out; wide ones count as two."""
    rows = [
        {"name": "a\nb\x1b[2J", "id": 1},
        {"name": "名前", "id": None},
        {"name": "e\u0301", "id": [1, 2]},
    ]
    show_rows(rows, as_json=False, empty="")
    assert capsys.readouterr().out.splitlines() == [
        "name         id",
        "a\\nb\\x1b[2J  1",
        "名前",
        "e\u0301            1 2",
    ]
