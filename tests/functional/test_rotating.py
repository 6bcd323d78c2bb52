"""`lamina keys rotate`: every tier to its end, and after a kill from where it was left."""

import json
import os
import signal
from datetime import timedelta

import pytest

from service.app import open_container
from service.keys.actions import lifecycle, rotation
from tests.functional.test_key_commands import ask, execute, lamina  # noqa: F401 - fixtures
from tests.starts import run, start

# What must stand for a minute or five in a deployment stands for two seconds here.
SHORT = """
from datetime import timedelta
from service.keys.actions import lifecycle, rotation
for module in (lifecycle, rotation):
    module.SETTLE = timedelta(seconds=2)
lifecycle.JWKS_LIFE = lifecycle.TOKEN_LIFE = timedelta(seconds=2)
"""


@pytest.fixture
def short(monkeypatch):
    """Let states settle at once."""
    for module in (lifecycle, rotation):
        monkeypatch.setattr(module, "SETTLE", timedelta())
    monkeypatch.setattr(lifecycle, "JWKS_LIFE", timedelta())
    monkeypatch.setattr(lifecycle, "TOKEN_LIFE", timedelta())


def half_done(lamina):  # noqa: F811
    """Return what is wrong with keys; that no worker runs here is another matter."""
    return [row for row in ask(lamina, "keys", "doctor") if row["what"] != "audit log"]


@pytest.mark.parametrize(
    ("tier", "steps"),
    [
        ("kek", ["generate", "promote", "rewrap", "retire"]),
        ("data", ["reencrypt", "retire"]),
        ("signing", ["generate", "promote", "retire"]),
        ("index", ["generate", "promote", "reindex", "promote", "promote", "reindex"]),
        ("root", [*["generate"] * 10, "rewrap"]),
    ],
)
def test_every_tier_is_rotated_by_one_command(lamina, short, tier, steps):  # noqa: F811
    """The steps are told in order; nothing is half done, and everything opens."""
    done = ask(lamina, "keys", "rotate", "--tier", tier, "--wait")
    assert [step["step"] for step in done["steps"]] == steps
    assert done["tier"] == tier
    assert half_done(lamina) == []
    assert ask(lamina, "keys", "verify")["status"] == "done"


def test_without_waiting_it_ends_at_what_must_stand(lamina):  # noqa: F811
    """Exit code 2 and the seconds; what was done stands, and the next run does no step twice."""
    refused = lamina("keys", "rotate", "--tier", "kek", "--class", "contact", code=2)
    assert "is too recent" in refused.stderr
    again = lamina("keys", "rotate", "--tier", "kek", "--class", "contact", code=2)
    assert "generate" not in again.stderr
    rows = [row for row in ask(lamina, "keys", "list") if row["version"] > 1]
    assert [(row["class"], row["version"], row["status"]) for row in rows] == [
        ("contact", 2, "active")
    ]
    wrong = lamina("keys", "rotate", "--tier", "index", "--class", "contact", code=2)
    assert "no class" in wrong.stderr


def test_it_waits_for_an_instance_that_lacks_the_new_key(lamina, short, monkeypatch):  # noqa: F811
    """The line names what it waits for; with the next sign of life it goes on."""
    from service.cli import rotating
    from service.settings import load

    container = open_container(load())
    container.keys.instances.beat()
    monkeypatch.setattr(rotating.time, "sleep", lambda _seconds: container.keys.instances.beat())
    told = lamina("keys", "rotate", "--wait")
    assert "waiting: kek:" in told.stderr
    assert "is not known everywhere yet" in told.stderr
    container.store.engine.dispose()


def test_a_root_rotation_goes_on_with_the_classes_that_are_left(lamina):  # noqa: F811
    """One that made two of ten roots ends with every class under its second root, not a third."""
    for name in ("behavior", "contact"):
        lamina("keys", "generate", "--tier", "root", "--class", name)
    done = ask(lamina, "keys", "rotate", "--tier", "root", "--wait")
    assert [step["step"] for step in done["steps"]] == [*["generate"] * 8, "rewrap"]
    assert {row["root_version"] for row in ask(lamina, "keys", "list")} == {2}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tier", "after"),
    [
        ("kek", "generate"),
        ("kek", "promote"),
        ("kek", "rewrap"),
        ("signing", "promote"),
        ("index", "reindex"),
        ("data", "reencrypt"),
    ],
)
def test_a_rotation_that_was_killed_goes_on(lamina, tier, after):  # noqa: F811
    """No key is made twice, every state comes to its end, and everything opens."""
    command = ("keys", "rotate", "--tier", tier, "--wait", "--json")
    first = start(os.environ, *command, before=SHORT)
    for line in first.stderr:
        if line.startswith(f"{after}:"):
            break
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert first.returncode == -signal.SIGKILL
    second = run(os.environ, *command, before=SHORT)
    assert second.returncode == 0, second.stderr
    steps = [step["step"] for step in json.loads(second.stdout)["steps"]]
    assert "generate" not in steps
    assert half_done(lamina) == []
    assert ask(lamina, "keys", "verify")["status"] == "done"
    assert max(row["version"] for row in ask(lamina, "keys", "list")) == 1 + (tier == "kek")
    assert len(execute("SELECT kid FROM signing_key")) == 1
    generations = [it[0] for it in execute("SELECT max(generation) FROM dek GROUP BY key_class")]
    assert max(generations) == 1 + (tier in {"data", "index"})
