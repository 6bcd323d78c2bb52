"""What the leaves of a unit of work tell of the rows it changed, so that a missing one is found."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import orjson

from crypto import opaque
from crypto.rows import notes_mac

ROWS: Final = "rows"
MAC: Final = "rows_mac"
PURPOSE: Final = "row-notes"
CHANGED: Final = "rows.changed"
_AT_ONCE: Final = 500
Notes = Sequence[Sequence[Any]]


def attach(
    key: bytes, leaves: list[dict[str, Any]], notes: Notes, another: Callable[[], dict[str, Any]]
) -> None:
    """Tell in the last leaf what was changed, and in more leaves where it is much.

    Args:
        key: The purpose key of the notes.
        leaves: What the unit of work leaves in the log; more are added where they are needed.
        notes: What it changed.
        another: Makes a leaf.
    """
    pages = [notes[start : start + _AT_ONCE] for start in range(0, len(notes), _AT_ONCE)]
    while len(leaves) < len(pages):
        leaves.append(another())
    for leaf, page in zip(leaves[-len(pages) :], pages, strict=True):
        mac = notes_mac(key, leaf["id"], _form(page))
        leaf["data"] = {**leaf["data"], ROWS: page, MAC: mac.hex()}


def read(key: bytes, leaf: UUID, data: Mapping[str, Any]) -> Iterator[Sequence[Any]] | None:
    """Return what a leaf tells of rows, None where it was not this service that wrote it."""
    notes, claimed = data.get(ROWS), data.get(MAC)
    if notes is None and claimed is None:
        return iter(())
    if not isinstance(claimed, str) or not isinstance(notes, list):
        return None
    equal = opaque.equal(notes_mac(key, leaf, _form(notes)).hex().encode(), claimed.encode())
    return iter(notes) if equal else None


def _form(notes: Notes) -> bytes:
    return orjson.dumps(notes)
