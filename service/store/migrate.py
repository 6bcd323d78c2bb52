"""Bring a database to the schema of this program, or tell that it is not there."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Engine, MetaData, inspect, text
from sqlalchemy.exc import DBAPIError

from service.domain.errors import SetupError, Unavailable
from service.store.engine import refusal_of

if TYPE_CHECKING:
    from alembic.config import Config

HEAD: Final = "0024"
"""The revision that this program needs; the newest of `migrations`."""
STARTING: Final = text("SELECT pg_advisory_xact_lock(7811320119)")
"""Waits for others that change the schema or do what a first start does; ends with the transaction.

A lock of the session would stay with a connection that a pooler gives to somebody else.
"""
_WAIT_MS: Final = 120_000
_SCRIPTS: Final = "migrations:"


def _config(**attributes: Any) -> "Config":  # noqa: ANN401 - what env.py takes
    from alembic.config import Config  # noqa: PLC0415 - a serving process needs no Alembic

    config = Config()
    config.set_main_option("script_location", _SCRIPTS)
    config.set_main_option("path_separator", "os")
    config.attributes.update(attributes)
    return config


def current(engine: Engine) -> str | None:
    """Return the revision of the database, None for an empty one; raises Unavailable."""
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    except DBAPIError:
        raise Unavailable("database_away", "The database does not answer.") from None


def is_empty(engine: Engine) -> bool:
    """Tell whether the database holds no table yet; raises Unavailable."""
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
    """Open a transaction that waits for those of others that change the schema, or start.

    Alembic reads the revision inside it: who has waited finds that nothing is left to do.
    """
    try:
        with engine.connect() as connection:
            raw = connection.connection.dbapi_connection
            if engine.dialect.name == "sqlite" and raw is not None:
                # BEGIN IMMEDIATE is the lock, and several migrations may go first.
                raw.cursor().execute(f"PRAGMA busy_timeout={_WAIT_MS}")
            with connection.begin():
                if engine.dialect.name == "postgresql":
                    connection.execute(STARTING)
                yield connection
            # It has another patience than those that the pool makes.
            connection.invalidate()
    except DBAPIError as error:
        raise refusal_of(error) or error from None


def differences(connection: Connection, metadata: MetaData) -> list[Any]:
    """Return how the database differs from the models; empty when it does not."""
    from alembic.autogenerate import compare_metadata  # noqa: PLC0415 - as above
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415 - as above

    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, metadata))


def require_current(engine: Engine) -> None:
    """Refuse a database of another schema.

    Raises:
        SetupError: It is older, newer or empty; the detail names the command that mends it.
    """
    found, wanted = current(engine), HEAD
    if found != wanted:
        detail = f"the database is at revision {found or 'none'}, this program needs {wanted}"
        raise SetupError("wrong_schema", f"{detail}; run: lamina db upgrade")
