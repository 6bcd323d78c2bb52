"""Delete expired rows a page at a time, so that no request waits for a whole table."""

from typing import Final

from sqlalchemy import ColumnElement, Table, delete, select, tuple_

from service.store.authentic import forgotten
from service.store.engine import Tx
from service.store.shapes import noted_shape

PAGE: Final = 1000
"""Maximum number of rows that one transaction deletes."""


def drop_page(tx: Tx, table: Table, *conditions: ColumnElement[bool]) -> int:
    """Delete up to a page of the rows that match all conditions; return how many.

    On PostgreSQL, rows locked by other transactions are left for the next run. The conditions are
    checked again at the deletion of each row: one that came into use meanwhile stays. The log
    records each deletion that it would otherwise report as a missing row.

    Args:
        tx: The transaction.
        table: The table.
        conditions: The conditions.
    """
    keys = tuple(table.primary_key.columns)
    page = select(*keys).where(*conditions).limit(PAGE)
    if tx.get_bind().dialect.name == "postgresql":
        page = page.with_for_update(skip_locked=True)
    key = keys[0] if len(keys) == 1 else tuple_(*keys)
    gone = delete(table).where(key.in_(page), *conditions)
    shape = noted_shape(table)
    if shape is not None and not shape.may_vanish:
        return forgotten(tx, shape.model, gone)
    return len(tx.execute(gone.returning(keys[0])).all())


def drop_all(tx: Tx, table: Table) -> int:
    """Delete every row, as a restore requires, and record each deletion; return how many."""
    shape = noted_shape(table)
    if shape is not None:
        return forgotten(tx, shape.model, delete(table))
    return len(tx.execute(delete(table).returning(*table.primary_key.columns)).all())
