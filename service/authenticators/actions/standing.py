"""Which authenticators are active, for a statement of another feature."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import ColumnElement

from service.authenticators.store import authenticators as store
from service.store.driver_sql import Cells
from service.store.engine import Tx
from service.store.part import Part


def beside(subject: ColumnElement[UUID]) -> Part:
    """Return what a statement adds to read the active authenticators of a subject."""
    return store.beside(subject)


def standing(tx: Tx, found: Iterable[Cells]) -> frozenset[UUID]:
    """Return the ids of the authenticators that such a statement read."""
    return store.standing(tx, found)
