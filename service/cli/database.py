"""`lamina db`: the database schema."""

import click

from service.cli.base import command, json_option, settings, show


@click.group("db")
def database() -> None:
    """Show or upgrade the database schema."""


@database.command()
@json_option
@command
def upgrade(*, as_json: bool) -> None:
    """Migrate the database to the schema of this version.

    Example: lamina db upgrade
    """
    from service.store import migrate
    from service.store.engine import make_engine

    engine = make_engine(settings().database_url)
    before = migrate.current(engine)
    migrate.upgrade(engine)
    after = migrate.current(engine)
    found = {"before": before, "after": after}
    show(found, as_json=as_json, text=f"revision {before or 'none'} -> {after}")


@database.command()
@json_option
@command
def current(*, as_json: bool) -> None:
    """Show the schema revision of the database and the one that this version needs.

    Example: lamina db current --json
    """
    from service.store import migrate
    from service.store.engine import make_engine

    engine = make_engine(settings().database_url)
    found = {"current": migrate.current(engine), "needed": migrate.HEAD}
    show(found, as_json=as_json, text=f"{found['current'] or 'none'} (needed: {found['needed']})")
    if found["current"] != found["needed"]:
        raise SystemExit(1)
