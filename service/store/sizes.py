"""How large each table is, what a login adds to it, and whether what has ended is dropped."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, Uuid, column, func, inspect, select, table, text
from sqlalchemy.exc import OperationalError

from service.store.base import UtcDateTime

LOGINS: Final = 1000
"""The newest sessions, by whose time rows are counted."""
_EXACTLY: Final = 100_000
"""Rows up to which a table of PostgreSQL is counted; larger ones have the planner's estimate."""
_UNORDERED: Final = frozenset({"flow"})
"""Tables with random ids, which do not begin with a time."""
_ALIKE: Final = {"audit_link": "audit_leaf"}
"""A table with as many rows as another one, whose ids begin with a time."""
_PG_SIZES: Final = text(
    "SELECT relname, reltuples, pg_table_size(oid) AS own, pg_indexes_size(oid) AS indexes "
    "FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
)
_PG_INDEXES: Final = text(
    "SELECT relname, indexrelname, idx_scan, pg_relation_size(indexrelid) AS own "
    "FROM pg_stat_user_indexes WHERE schemaname = 'public' ORDER BY relname, indexrelname"
)
_LITE_SIZES: Final = text(
    "SELECT m.tbl_name AS relname, m.type AS kind, sum(d.pgsize) AS own FROM dbstat d "
    "JOIN sqlite_master m ON m.name = d.name GROUP BY m.tbl_name, m.type"
)


@dataclass(kw_only=True, frozen=True, slots=True)
class TableUse:
    """The size of a table.

    Args:
        rows: Number of rows, of a large table about.
        size: Bytes of its rows; None where the database does not tell.
        index_size: Bytes of its indexes.
        rows_a_login: Rows added for each of the newest logins; None without a time in its ids.
        bytes_a_login: These rows with their share of the indexes.
        overdue: Time by which the oldest row is past its end; None if rows state no end.
    """

    table: str
    rows: int
    size: int | None
    index_size: int | None
    rows_a_login: float | None
    bytes_a_login: int | None
    overdue: timedelta | None


@dataclass(kw_only=True, frozen=True, slots=True)
class IndexUse:
    """How often an index was read since the statistics of the server began, and its bytes."""

    table: str
    index: str
    reads: int
    size: int


def tables(connection: Connection, now: datetime) -> list[TableUse]:
    """Return the size of each table, the largest first."""
    sizes = _sizes(connection)
    since, logins = _newest_logins(connection)
    found = []
    for name in inspect(connection).get_table_names():
        rows, size, index_size = sizes.get(name, (0, None, None))
        if rows < _EXACTLY:
            rows = connection.execute(select(func.count()).select_from(table(name))).scalar_one()
        each = _each(connection, name, since, logins)
        whole = None if size is None else size + (index_size or 0)
        a_login = round(each * whole / rows) if each is not None and whole and rows else None
        found.append(
            TableUse(
                table=name,
                rows=rows,
                size=size,
                index_size=index_size,
                rows_a_login=each,
                bytes_a_login=a_login,
                overdue=_overdue(connection, name, now),
            )
        )
    return sorted(found, key=lambda item: (-(item.size or 0), -item.rows, item.table))


def indexes(connection: Connection) -> list[IndexUse]:
    """Return the use of each index; SQLite counts none."""
    if connection.dialect.name != "postgresql":
        return []
    return [
        IndexUse(table=row.relname, index=row.indexrelname, reads=row.idx_scan, size=row.own)
        for row in connection.execute(_PG_INDEXES)
    ]


def _sizes(connection: Connection) -> dict[str, tuple[int, int | None, int | None]]:
    if connection.dialect.name == "postgresql":
        return {
            row.relname: (int(row.reltuples), row.own, row.indexes)
            for row in connection.execute(_PG_SIZES)
        }
    try:
        rows = connection.execute(_LITE_SIZES).all()
    except OperationalError:
        # A library of SQLite without `dbstat` tells no sizes.
        return {}
    own = {row.relname: row.own for row in rows if row.kind == "table"}
    beside = {row.relname: row.own for row in rows if row.kind == "index"}
    return {name: (0, size, beside.get(name, 0)) for name, size in own.items()}


def _newest_logins(connection: Connection) -> tuple[UUID | None, int]:
    """Return the id of the oldest of the newest sessions, and how many these are."""
    number = column("id", Uuid())
    newest = select(number).select_from(table("session", number)).order_by(number.desc())
    found = connection.execute(newest.limit(LOGINS)).scalars().all()
    return (found[-1], len(found)) if found else (None, 0)


def _each(connection: Connection, name: str, since: UUID | None, logins: int) -> float | None:
    """Return the rows that a table has got since an id was made, for each login."""
    counted = _ALIKE.get(name, name)
    key = inspect(connection).get_pk_constraint(counted)["constrained_columns"]
    if since is None or key != ["id"] or counted in _UNORDERED:
        return None
    number = column("id", Uuid())
    query = select(func.count()).select_from(table(counted, number)).where(number >= since)
    return connection.execute(query).scalar_one() / logins


def _overdue(connection: Connection, name: str, now: datetime) -> timedelta | None:
    names = {item["name"] for item in inspect(connection).get_columns(name)}
    if "expires_at" not in names:
        return None
    end = column("expires_at", UtcDateTime())
    oldest = connection.execute(select(func.min(end)).select_from(table(name, end))).scalar()
    return max(timedelta(0), now - oldest) if oldest else timedelta(0)
