"""Bring a database to the schema of this program, or tell that it is not there."""

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Engine, MetaData, inspect, text
from sqlalchemy.exc import DBAPIError

from service.domain.errors import SetupError, Unavailable

if TYPE_CHECKING:
    from alembic.config import Config

HEAD: Final = "0021"
"""The revision that this program needs; the newest of `migrations`."""
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
    """Migrate up, in one transaction."""
    from alembic import command  # noqa: PLC0415 - as above

    with engine.begin() as connection:
        command.upgrade(_config(connection=connection), revision)


def downgrade(engine: Engine, revision: str) -> None:
    """Migrate down, in one transaction."""
    from alembic import command  # noqa: PLC0415 - as above

    with engine.begin() as connection:
        command.downgrade(_config(connection=connection), revision)


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
