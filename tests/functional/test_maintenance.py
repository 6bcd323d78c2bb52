"""`lamina maintenance`: what a login adds, what is past its end, and what nobody reads."""

import json

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from service.cli import main
from service.domain.clock import SystemClock
from service.store import sizes


@pytest.fixture
def signed_in(service):
    """A person who has signed in three times, to tokens."""
    person = service.register()
    for _ in range(3):
        service.clock.advance(minutes=1)
        service.exchange(service.login(person)["completion_code"])
    return person


def tables(service, now=None):
    """Return the use of each table by name."""
    with service.container.store.engine.connect() as connection:
        found = sizes.tables(connection, now or service.clock.now())
    return {item.table: item for item in found}


def test_rows_of_a_login_are_counted_by_the_newest_sessions(service, signed_in):
    """One decision, session and token of each; the log has several; random ids tell nothing."""
    service.container.jobs.run_due()
    found = tables(service)
    for name in ("session", "refresh_token", "policy_decision", "known_device"):
        assert (found[name].rows, found[name].rows_a_login) == (3, pytest.approx(1, abs=0.4)), name
        assert found[name].bytes_a_login > 100
    # The first of the entries of the oldest login are older than its session.
    assert 3 < found["audit_leaf"].rows_a_login <= 8
    assert found["audit_link"].rows_a_login == found["audit_leaf"].rows_a_login
    assert found["flow"].rows_a_login is None
    assert found["audit_leaf"].size > 0
    assert found["audit_leaf"].index_size > 0


def test_the_oldest_row_past_its_end_is_told(service, signed_in):
    """None is before its end; a day later the flows and codes are, until they are dropped."""
    assert tables(service)["refresh_token"].overdue.total_seconds() == 0
    assert tables(service)["audit_leaf"].overdue is None
    service.clock.advance(days=2)
    assert tables(service)["flow"].overdue.total_seconds() > 86_400
    service.container.jobs.run_due()
    assert tables(service)["flow"].overdue.total_seconds() == 0


def test_an_empty_database_has_no_logins(service):
    """Nothing is divided by none."""
    found = tables(service, SystemClock().now())
    assert found["session"].rows_a_login is None
    assert found["session"].bytes_a_login is None


def test_the_command_prints_both_forms(service, signed_in, settings, monkeypatch):
    """A table for people, every index for programs."""
    monkeypatch.setenv("LAMINA_MODE", "development")
    monkeypatch.setenv("LAMINA_DATABASE_URL", settings.database_url)
    shown = CliRunner().invoke(main, ["maintenance"])
    assert shown.exit_code == 0, shown.output
    assert "bytes a login: " in shown.stdout
    assert "webhook" not in shown.stdout
    value = json.loads(CliRunner().invoke(main, ["maintenance", "--json"]).stdout)
    assert value["bytes_a_login"] > 1000
    assert {item["table"] for item in value["tables"]} >= {"session", "webhook"}
    postgres = service.container.store.engine.dialect.name == "postgresql"
    assert bool(value["indexes"]) is postgres


def test_where_the_library_tells_no_sizes_the_rest_is_shown(service, signed_in, monkeypatch):
    """SQLite may be built without `dbstat`."""
    if service.container.store.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL always tells sizes")
    monkeypatch.setattr(sizes, "_LITE_SIZES", text("SELECT * FROM no_such_table"))
    found = tables(service)["session"]
    assert (found.rows, found.size, found.bytes_a_login) == (3, None, None)
