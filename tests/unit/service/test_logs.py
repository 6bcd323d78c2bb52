"""Logs: one JSON object a line, whose names are a closed list."""

import ast
import json
from datetime import datetime
from pathlib import Path

import pytest
import structlog

from service.telemetry import logs

ROOT = Path(__file__).parents[3]
SECRET = "canary"


@pytest.fixture
def written(capsys):
    """Return a function that gives what was logged as objects."""
    before = structlog.get_config()
    yield lambda: [json.loads(line) for line in capsys.readouterr().err.split("\n") if line]
    structlog.configure(**before)


def test_a_line_is_one_object_with_level_and_time(written):
    """Every line has its event, its level and an aware time."""
    logs.configure("info")
    logs.get().info("started", bind="127.0.0.1:8000", workers=2)
    (line,) = written()
    assert (line["event"], line["level"]) == ("started", "info")
    assert (line["bind"], line["workers"]) == ("127.0.0.1:8000", 2)
    assert datetime.fromisoformat(line["timestamp"]).utcoffset() is not None


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "secret",
        "token",
        "authorization",
        "body",
        "identifier",
        "email",
        "subject",
        "ip",
        "query",
        "path",
        "exception",
        "exc_info",
        "stack_info",
        "user",
        "detail",
    ],
)
def test_a_name_that_is_not_listed_is_dropped(written, name):
    """What cannot be logged cannot leak."""
    logs.configure("info")
    logs.get().warning("asked", **{name: SECRET, "route": "/v1/flows"})
    (line,) = written()
    assert set(line) == {"event", "level", "timestamp", "route"}
    assert SECRET not in json.dumps(line)


def test_a_raised_error_leaves_no_traceback(written):
    """Even inside an except block only listed names are written."""
    logs.configure("info")
    try:
        int(SECRET)
    except ValueError:
        logs.get().exception("failed", error="ValueError")
    (line,) = written()
    assert (line["event"], line["error"]) == ("failed", "ValueError")
    assert SECRET not in json.dumps(line)


def test_a_bound_name_is_held_to_the_list_too(written):
    """What is bound beforehand is filtered like what is said at once."""
    logs.configure("info")
    logs.get().bind(password=SECRET, trace_id="t").info("asked")
    (line,) = written()
    assert line["trace_id"] == "t"
    assert SECRET not in json.dumps(line)


def test_a_value_is_plain_and_short(written):
    """Numbers stay numbers, anything else becomes text of 200 characters at most."""
    logs.configure("info")
    logs.get().info("asked", status=200, ms=1.5, rows=None, route="r" * 1000, error=["a", 1])
    (line,) = written()
    assert (line["status"], line["ms"], line["rows"]) == (200, 1.5, None)
    assert line["route"] == "r" * 200
    assert line["error"] == "['a', 1]"


def test_a_line_break_makes_no_second_line(written):
    """A value cannot forge a line of its own."""
    logs.configure("info")
    logs.get().info("asked", route='x\n{"event": "forged"}\r\u2028')
    (line,) = written()
    assert line["event"] == "asked"


@pytest.mark.parametrize(
    ("level", "kept"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_the_level_decides_what_is_written(written, level, kept):
    """Lines below the level are not written at all."""
    logs.configure(level)
    for name in ("debug", "info", "warning", "error"):
        getattr(logs.get(), name)("happened")
    assert [line["level"] for line in written()] == kept


def test_no_listed_name_could_hold_a_secret():
    """The list has no name for a body, an identifier, an address or a credential."""
    tempting = ("pass", "secret", "token", "key", "body", "identifier", "email", "phone", "subject")
    assert not [name for name in logs.FIELDS if any(word in name for word in tempting)]


def test_no_line_has_a_field_that_is_dropped():
    """What is logged by its name is in the closed list: a line that lost it would tell nothing."""
    lost = {
        (path.name, word.arg)
        for path in (ROOT / "service").rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(call, ast.Call) and ast.unparse(call.func).startswith("logs.get().")
        for word in call.keywords
        if word.arg and word.arg not in logs.FIELDS
    }
    assert lost == set()
