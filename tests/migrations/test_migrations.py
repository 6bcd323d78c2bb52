"""Migrations lead from nothing to the models, and back."""

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

import service.app  # noqa: F401 - so that every table is known
from service.domain.errors import SetupError
from service.store import migrate
from service.store.base import Base
from service.store.engine import make_engine
from tests.databases import database_url


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request, tmp_path):
    """An engine over an empty database."""
    with database_url(request.param, tmp_path) as url:
        made = make_engine(url)
        yield made
        made.dispose()


def test_the_schema_equals_the_models(engine):
    """After the last migration nothing is missing and nothing is left over."""
    migrate.upgrade(engine)
    with engine.connect() as connection:
        assert migrate.differences(connection, Base.metadata) == []
    newest = ScriptDirectory.from_config(migrate._config()).get_current_head()
    assert migrate.current(engine) == migrate.HEAD == newest


def test_down_and_up_again(engine):
    """Every migration can be taken back and done again."""
    migrate.upgrade(engine)
    migrate.downgrade(engine, "base")
    assert set(inspect(engine).get_table_names()) <= {"alembic_version"}
    migrate.upgrade(engine)
    migrate.require_current(engine)


def test_rows_survive_a_step_down_and_up(engine):
    """What an earlier migration holds is there after a later one is taken back."""
    migrate.upgrade(engine)
    row = "INSERT INTO throttle (id, bucket, lane, knowledge, other, face, total, updated_at) "
    values = (
        "VALUES ('00000000000000000000000000000001', 'b', 'stranger', 1, 2, 3, 6, '2026-11-24')"
    )
    with engine.begin() as connection:
        connection.execute(text(row + values))
    migrate.downgrade(engine, "0001")
    migrate.upgrade(engine)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT total FROM throttle")).scalar() == 6


def test_another_schema_is_refused(engine):
    """An empty and an old database stop the start with the command that mends it."""
    with pytest.raises(SetupError) as empty:
        migrate.require_current(engine)
    assert "lamina db upgrade" in empty.value.detail
    migrate.upgrade(engine, "0001")
    with pytest.raises(SetupError) as old:
        migrate.require_current(engine)
    assert "revision 0001" in old.value.detail
