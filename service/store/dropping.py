"""Delete what has come to its end, a page at a time, so that nobody waits for a whole table."""

from typing import Any, Final

from sqlalchemy import ColumnElement, Table, delete, select, tuple_

from service.store.authentic import forgotten
from service.store.engine import Tx
from service.store.shapes import told_of

PAGE: Final = 1000
"""Rows that one unit of work deletes at most."""


def drop_page(tx: Tx, table: Table, *conditions: ColumnElement[bool]) -> int:
    """Delete up to a page of the rows that meet every condition; return how many.

    On PostgreSQL a row that another transaction holds is left for the next time. The conditions
    are asked again as each row is deleted: one that came into use meanwhile stays. The log
    is told of each that must not be missing otherwise.

    Args:
        tx: The unit of work.
        table: Where.
        conditions: Which rows.
    """
    keys = tuple(table.primary_key.columns)
    page = select(*keys).where(*conditions).limit(PAGE)
    if tx.get_bind().dialect.name == "postgresql":
        page = page.with_for_update(skip_locked=True)
    key: ColumnElement[Any] = keys[0] if len(keys) == 1 else tuple_(*keys)
    gone = delete(table).where(key.in_(page), *conditions)
    told = told_of(table)
    if told is not None and not told.may_vanish:
        return forgotten(tx, told.model, gone)
    return len(tx.execute(gone.returning(keys[0])).all())


def drop_all(tx: Tx, table: Table) -> int:
    """Delete every row, as a restore must, and tell the log of each; return how many."""
    told = told_of(table)
    if told is not None:
        return forgotten(tx, told.model, delete(table))
    return len(tx.execute(delete(table).returning(*table.primary_key.columns)).all())
