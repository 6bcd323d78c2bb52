"""List subjects by segment."""

from collections.abc import Collection, Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import Integer, Uuid, bindparam

from service.accounts.store.subjects import Subject
from service.store.authentic import holds, reading
from service.store.base import table_of
from service.store.engine import AnyRow, Tx

_SUBJECTS: Final = table_of(Subject)
_PAGE: Final = (
    reading(Subject)
    .where(
        _SUBJECTS.c.segment == bindparam("b_segment"),
        _SUBJECTS.c.status == bindparam("b_status"),
        _SUBJECTS.c.id > bindparam("b_after", type_=Uuid()),
    )
    .order_by(_SUBJECTS.c.id)
    .limit(bindparam("b_limit", type_=Integer))
)


def page(
    tx: Tx, *, segments: Collection[str], status: str, after: UUID, limit: int
) -> Sequence[AnyRow]:
    """Return subjects of some segments after an id, by id, including rows that fail authentication.

    Each segment is read through the index, at most one page: one condition over several segments
    would read whole segments first.
    """
    values = {"b_status": status, "b_after": after, "b_limit": limit}
    found = [
        row
        for segment in set(segments)
        for row in tx.execute(_PAGE, values | {"b_segment": segment})
    ]
    return sorted(found, key=lambda row: row.id)[:limit]


def is_sound(tx: Tx, row: AnyRow) -> bool:
    """Return whether a row of a page is authentic; if it is not, raise the alarm."""
    return holds(tx, Subject, row)
