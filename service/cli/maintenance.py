"""`lamina maintenance`: how large the tables are, and whether clean-up keeps up."""

from typing import TYPE_CHECKING, Final

import click

from service.cli.base import command, json_option, settings, show, show_rows

_WORTH: Final = 1 << 20

if TYPE_CHECKING:
    from service.store.sizes import IndexUse, TableUse


@click.command()
@json_option
@command
def maintenance(*, as_json: bool) -> None:
    """Show rows and bytes of each table, bytes a login, overdue rows and unused indexes.

    A login is a session that began; what it adds is counted by the newest 1,000. OVERDUE is by how
    many seconds the oldest row is past its end: minutes are usual, a number that grows is a worker
    that does not run or cannot keep up. Without --json empty tables are left out, and unused
    indexes below a mebibyte. On SQLite bytes need a library with `dbstat`, and no index counts its
    use.

    Example: lamina maintenance --json
    """
    from service.domain.clock import SystemClock
    from service.store import migrate, sizes
    from service.store.engine import make_engine

    engine = make_engine(settings().database_url)
    try:
        migrate.require_current(engine)
        with engine.connect() as connection:
            found = sizes.tables(connection, SystemClock().now())
            used = sizes.indexes(connection)
    finally:
        engine.dispose()
    rows = [_table(item) for item in found]
    unused = [_index(item) for item in used if not item.reads and item.size >= _WORTH]
    together = sum(item.bytes_a_login or 0 for item in found)
    if as_json:
        all_indexes = [_index(item) for item in used]
        value = {"bytes_a_login": together, "tables": rows, "indexes": all_indexes}
        show(value, as_json=True)
        return
    show_rows([row for row in rows if row["rows"]], as_json=False, empty="There is no table.")
    click.echo(f"\nbytes a login: {together}")
    if unused:
        click.echo("\nindexes that nobody has read since the server's statistics began:")
        show_rows(unused, as_json=False, empty="")


def _table(item: "TableUse") -> dict[str, object]:
    each = item.rows_a_login
    return {
        "table": item.table,
        "rows": item.rows,
        "bytes": item.size,
        "index_bytes": item.index_size,
        "rows_a_login": None if each is None else round(each, 2),
        "bytes_a_login": item.bytes_a_login,
        "overdue": None if item.overdue is None else round(item.overdue.total_seconds()),
    }


def _index(item: "IndexUse") -> dict[str, object]:
    return {"table": item.table, "index": item.index, "reads": item.reads, "bytes": item.size}
