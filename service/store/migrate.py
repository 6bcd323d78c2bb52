"""Migrate a database to the schema of this program, or check that it matches."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, Engine, MetaData, inspect, text
from sqlalchemy.exc import DBAPIError

from service.domain.errors import SetupError, Unavailable
from service.store.engine import refusal_of

if TYPE_CHECKING:
    from alembic.config import Config

HEAD: Final = "0025"
"""The schema revision that this program needs: the newest of `migrations`."""
STARTING: Final = text("SELECT pg_advisory_xact_lock(7811320119)")
"""Serializes schema changes and first starts; the lock ends with the transaction.

A session lock would stay on a connection that a pooler gives to another client.
"""
_WAIT_MS: Final = 120_000
_SCRIPTS: Final = "migrations:"


def _config(**attributes: object) -> "Config":
    from alembic.config import Config  # noqa: PLC0415 - a serving process needs no Alembic

    config = Config()
    config.set_main_option("script_location", _SCRIPTS)
    config.set_main_option("path_separator", "os")
    config.attributes.update(attributes)
    return config


def current(engine: Engine) -> str | None:
    """Return the schema revision of the database, None if empty; raises Unavailable."""
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    except DBAPIError:
        raise Unavailable("database_away", "The database does not answer.") from None


def is_empty(engine: Engine) -> bool:
    """Return whether the database has no tables yet; raises Unavailable."""
    try:
        return not inspect(engine).get_table_names()
    except DBAPIError:
        raise Unavailable("database_away", "The database does not answer.") from None


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Migrate up, in one transaction, one process at a time; raises Unavailable."""
    from alembic import command  # noqa: PLC0415 - as above

    with _alone(engine) as connection:
        command.upgrade(_config(connection=connection), revision)


def downgrade(engine: Engine, revision: str) -> None:
    """Migrate down, in one transaction, one process at a time; raises Unavailable."""
    from alembic import command  # noqa: PLC0415 - as above

    with _alone(engine) as connection:
        command.downgrade(_config(connection=connection), revision)


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that waits for concurrent schema changes and first starts.

    Alembic reads the revision inside it, so that a process that waited finds nothing left to do.
    """
    try:
        with engine.connect() as connection:
            raw = connection.connection.dbapi_connection
            if engine.dialect.name == "sqlite" and raw is not None:
                # BEGIN IMMEDIATE is the lock, and several migrations may run before this one.
                raw.cursor().execute(f"PRAGMA busy_timeout={_WAIT_MS}")
            with connection.begin():
                if engine.dialect.name == "postgresql":
                    connection.execute(STARTING)
                yield connection
            # Its timeout differs from that of pooled connections.
            connection.invalidate()
    except DBAPIError as error:
        raise refusal_of(error) or error from None


def differences(connection: Connection, metadata: MetaData) -> list[object]:
    """Return the differences between the database and the models; empty if there are none."""
    from alembic.autogenerate import compare_metadata  # noqa: PLC0415 - as above
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415 - as above

    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, metadata))


def require_current(engine: Engine) -> None:
    """Raise SetupError if the database has another schema revision.

    Raises:
        SetupError: It is older, newer or empty; the detail names the command to run.
    """
    found = current(engine)
    wanted = HEAD
    if found != wanted:
        detail = f"the database is at revision {found or 'none'}, this program needs {wanted}"
        raise SetupError("wrong_schema", f"{detail}; run: lamina db upgrade")
