"""What one test writes the next never finds, though both get the same database."""

import pytest
from sqlalchemy import create_engine, func, select, text
from sqlalchemy.exc import DBAPIError

from service.store import migrate
from service.store.base import Base
from service.store.engine import make_engine
from tests.databases import Migrated, schema_of

ROW = (
    "INSERT INTO throttle (id, bucket, lane, knowledge, other, face, total, updated_at) VALUES "
    "('00000000000000000000000000000001', 'b', 'stranger', 1, 2, 3, 6, '2026-11-24')"
)

CHANGES = [
    "ALTER TABLE throttle DROP COLUMN face",
    "ALTER TABLE throttle ALTER COLUMN face DROP NOT NULL",
    "ALTER TABLE throttle ALTER COLUMN face SET DEFAULT 7",
    "ALTER TABLE throttle ADD CONSTRAINT another CHECK (face < 9)",
    "CREATE INDEX another ON throttle (face)",
    "CREATE TABLE another (id int)",
    "CREATE SCHEMA another",
    "CREATE SEQUENCE another",
    "CREATE FUNCTION another() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE RULE another AS ON DELETE TO throttle DO INSTEAD NOTHING",
    "DROP TABLE throttle",
    "UPDATE alembic_version SET version_num = '0001'",
]


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Databases that no other test has."""
    kept = Migrated(tmp_path_factory.mktemp("own"))
    yield kept
    kept.close()


def does(url, *statements):
    """Run statements as a test would."""
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))
    finally:
        engine.dispose()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_rows_are_gone_and_the_schema_is_there(own, kind, tmp_path):
    """The next has every table, the newest revision and no row."""
    with own.url(kind, tmp_path) as url:
        does(url, ROW)
    with own.url(kind, tmp_path) as url:
        engine = make_engine(url)
        migrate.require_current(engine)
        with engine.connect() as connection:
            assert migrate.differences(connection, Base.metadata) == []
            for table in Base.metadata.tables.values():
                assert connection.scalar(select(func.count()).select_from(table)) == 0
        engine.dispose()


def test_every_change_of_the_schema_is_seen(own, tmp_path):
    """Whatever the statement; and of the revision, which is a row."""
    with own.url("postgresql", tmp_path) as url:
        engine = create_engine(url)
        with engine.connect() as connection:
            before = schema_of(connection)
            for change in CHANGES:
                connection.execute(text(change))
                assert schema_of(connection) != before, change
                connection.rollback()
                assert schema_of(connection) == before
        engine.dispose()


def test_a_database_whose_schema_was_touched_is_not_given_again(own, tmp_path):
    """It is dropped, and the next test gets a new one."""
    with own.url("postgresql", tmp_path) as first:
        does(first, "ALTER TABLE throttle DROP COLUMN face")
    with pytest.raises(DBAPIError, match="does not exist"):
        does(first, "SELECT 1")
    with own.url("postgresql", tmp_path) as second:
        assert second != first
        does(second, ROW)


def test_one_that_nobody_changed_is_given_again(own, tmp_path):
    """Reading, writing and deleting are no change of the schema."""
    with own.url("postgresql", tmp_path) as first:
        does(first, ROW, "UPDATE throttle SET face = 4", "DELETE FROM throttle", "ANALYZE")
    with own.url("postgresql", tmp_path) as second:
        assert second == first


def test_who_was_left_behind_writes_into_nobodys_database(own, tmp_path):
    """A connection that a test forgot is ended, with what it had not committed."""
    with own.url("postgresql", tmp_path) as first:
        engine = create_engine(first)
        forgotten = engine.connect()
        forgotten.execute(text(ROW))
    with own.url("postgresql", tmp_path) as second:
        assert second == first
        with pytest.raises(DBAPIError):
            forgotten.execute(text(ROW))
        does(second, ROW)
    forgotten.invalidate()
    engine.dispose()


def test_two_at_once_are_two(own, tmp_path):
    """Nobody shares a database with anybody who has it."""
    with own.url("postgresql", tmp_path) as first, own.url("postgresql", tmp_path) as second:
        assert first != second
