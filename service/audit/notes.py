"""Row notes: records of row changes in the leaves of a transaction, to detect missing rows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final
from uuid import UUID

import orjson

from crypto import opaque
from crypto.rows import notes_mac
from service.audit.model import LeafValues
from service.store.authentic import Touched

ROWS: Final = "rows"
MAC: Final = "rows_mac"
PURPOSE: Final = "row-notes"
CHANGED: Final = "rows.changed"
_AT_ONCE: Final = 500
Notes = Sequence[Touched]


def attach(
    key: bytes, leaves: list[LeafValues], notes: Notes, another: Callable[[], LeafValues]
) -> None:
    """Add notes to the last leaf of a transaction, and to more leaves if there are many.

    Args:
        key: The MAC key of notes.
        leaves: The leaves of the transaction; more are appended as needed.
        notes: The row changes.
        another: Creates a leaf.
    """
    pages = [notes[start : start + _AT_ONCE] for start in range(0, len(notes), _AT_ONCE)]
    while len(leaves) < len(pages):
        leaves.append(another())
    for leaf, page in zip(leaves[-len(pages) :], pages, strict=True):
        mac = notes_mac(key, leaf["id"], _form(page))
        leaf["data"] = {**leaf["data"], ROWS: page, MAC: mac.hex()}


def read(key: bytes, leaf: UUID, data: object) -> Iterator[Touched] | None:
    """Return the row notes of a leaf, or None if their MAC is invalid."""
    if not isinstance(data, Mapping):
        return None  # no leaf of ours: written by SQL
    notes = data.get(ROWS)
    claimed = data.get(MAC)
    if notes is None and claimed is None:
        return iter(())
    if not isinstance(claimed, str) or not isinstance(notes, list):
        return None
    equal = opaque.equal(notes_mac(key, leaf, _form(notes)).hex().encode(), claimed.encode())
    return iter(notes) if equal else None


def _form(notes: Notes) -> bytes:
    return orjson.dumps(notes)
