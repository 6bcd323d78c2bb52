"""Lock the owner of a row in one statement, without reading its id first."""

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from sqlalchemy import ScalarSelect, select

from service.accounts.store.subjects import Subject, added
from service.store.base import table_of
from service.store.engine import AnySelect, Tx

_SUBJECTS: Final = table_of(Subject)


def locking(owner: ScalarSelect[UUID]) -> AnySelect:
    """Return a statement for `lock_by` that locks the subject which a query names."""
    return select(_SUBJECTS.c.id).where(_SUBJECTS.c.id == owner).with_for_update(key_share=True)


def lock_by(tx: Tx, statement: AnySelect, values: Mapping[str, object]) -> None:
    """Lock the subject that a statement of `locking` finds, as `lock` does."""
    if tx.get_bind().dialect.name != "postgresql":
        return
    tx.flush()
    found = tx.execute(statement, values).scalar()
    tx.expire_all()
    if found is not None:
        added(tx, found)
