"""Databases for tests: empty ones, and ones with today's schema and no row in it."""

import filecmp
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

import service.app.container  # noqa: F401 - so that every table is known
from service.store import migrate
from service.store.base import Base
from service.store.engine import make_engine
from tests import warm
from tests.lacking import lacks

warm.keep()

_CATALOGS = (
    "pg_attrdef",
    "pg_attribute",
    "pg_class",
    "pg_constraint",
    "pg_extension",
    "pg_index",
    "pg_namespace",
    "pg_policy",
    "pg_proc",
    "pg_rewrite",
    "pg_trigger",
    "pg_type",
)
# Whatever changes a schema writes rows of the catalog with its transaction's number.
_SCHEMA = "SELECT concat_ws(' ', (SELECT string_agg(version_num, ' ') FROM alembic_version), {})"
_NEWEST = "(SELECT (count(*), max(xmin::text::bigint))::text FROM {})"
_OTHERS = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


def schema_of(connection: Connection) -> str:
    """Return a mark that is another after any change of the schema; rows do not move it."""
    newest = ", ".join(_NEWEST.format(catalog) for catalog in _CATALOGS)
    return str(connection.scalar(text(_SCHEMA.format(newest))))


@contextmanager
def database_url(kind: str, directory: Path) -> Iterator[str]:
    """Give the URL of an empty database, and drop it afterwards."""
    if kind == "sqlite":
        yield _sqlite(directory)
        return
    server = _server()
    name = _create(server)
    try:
        yield _at(server, name)
    finally:
        _drop(server, name)


class Migrated:
    """Databases with today's schema and no row, one after another for the tests of a process.

    Migrating costs more than most tests. A file of SQLite is migrated once and copied. On
    PostgreSQL making and dropping a database costs as much again, so it is kept: what a test wrote
    is deleted, and only a database whose schema it touched, or that is gone, is made anew.

    Args:
        directory: Where the file to copy lives.
    """

    def __init__(self, directory: Path) -> None:
        self._file = directory / "migrated.db"
        self._idle: list[_Kept] = []

    @contextmanager
    def url(self, kind: str, directory: Path) -> Iterator[str]:
        """Give the URL of one; nobody else has it meanwhile."""
        if kind == "sqlite":
            url = _sqlite(directory)
            shutil.copyfile(self._sqlite(), directory / "lamina.db")
            yield url
            return
        server = _server()
        kept = self._idle.pop() if self._idle else _Kept.make(server)
        try:
            yield kept.url
        finally:
            if kept.clear():
                self._idle.append(kept)
            else:
                _drop(server, kept.name)

    def untouched(self, file: Path) -> bool:
        """Tell whether a file of SQLite is the copy as it was given."""
        wal = file.with_name(f"{file.name}-wal")
        return not wal.exists() and filecmp.cmp(file, self._sqlite(), shallow=False)

    def close(self) -> None:
        """Drop those that were kept."""
        while self._idle:
            _drop(_server(), self._idle.pop().name)

    def _sqlite(self) -> Path:
        if not self._file.exists():
            _migrate(f"sqlite:///{self._file}")
            # The last to close it has written all of it into the one file.
            assert not self._file.with_name("migrated.db-wal").exists()
        return self._file


@dataclass(frozen=True)
class _Kept:
    """A database of PostgreSQL that one test after another gets."""

    name: str
    url: str
    engine: Engine
    schema: str

    @classmethod
    def make(cls, server: str) -> "_Kept":
        name = _create(server)
        try:
            url = _at(server, name)
            _migrate(url)
            engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
            with engine.connect() as connection:
                sequences = "SELECT count(*) FROM pg_class WHERE relkind = 'S'"
                assert connection.scalar(text(sequences)) == 0, "nothing sets sequences back"
                return cls(name, url, engine, schema_of(connection))
        except BaseException:
            _drop(server, name)
            raise

    def clear(self) -> bool:
        """Delete every row; return whether the next test may have it."""
        tables = reversed(Base.metadata.sorted_tables)
        deletes = "; ".join(str(table.delete()) for table in tables)
        try:
            with self.engine.connect() as connection:
                # Nobody whom a test left behind writes into the next one's.
                connection.execute(text(_OTHERS))
                if schema_of(connection) != self.schema:
                    return False
                connection.exec_driver_sql(f"DO $$ BEGIN {deletes}; END $$")
        except DBAPIError:
            return False
        return True


def _sqlite(directory: Path) -> str:
    return f"sqlite:///{directory / 'lamina.db'}"


def _migrate(url: str) -> None:
    engine = make_engine(url)
    migrate.upgrade(engine)
    engine.dispose()


def _server() -> str:
    server = os.environ.get("LAMINA_TEST_POSTGRES_URL")
    if not server:
        lacks("PostgreSQL", "set LAMINA_TEST_POSTGRES_URL to one where databases may be made")
    return server


def _at(server: str, name: str) -> str:
    return server.rsplit("/", 1)[0] + f"/{name}"


def _ask(server: str, *statements: str) -> None:
    admin = create_engine(server, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with admin.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))


def _create(server: str) -> str:
    """Make an empty database; no test takes the power away, so none waits for the disk."""
    name = f"lamina_{uuid.uuid4().hex}"
    _ask(server, f"CREATE DATABASE {name}", f"ALTER DATABASE {name} SET synchronous_commit = off")
    return name


def _drop(server: str, name: str) -> None:
    _ask(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
