"""What the chain covers of a leaf, and the line of the ledger about it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from crypto.canonical import canonical_json
from service.audit.store import Leaf
from service.domain.clock import rfc3339
from service.store.engine import AnyRow, Tx

_ACTS: Final = "lamina_acts"
"""Key in `Session.info` of the ledger entries of a transaction."""
LedgerEntry = dict[str, object]
"""A line of the ledger, as JSON stores it."""


def remember(tx: Tx, entry: LedgerEntry) -> None:
    """Add a ledger entry to those of a transaction."""
    tx.info.setdefault(_ACTS, []).append(entry)


def acts_of(info: Mapping[str, object]) -> list[LedgerEntry]:
    """Return the ledger entries of a transaction."""
    found = info.get(_ACTS, [])
    return list(found) if isinstance(found, list) else []


def ledger_entry(
    leaf: UUID, *, kind: str, at: datetime, subject: UUID | None, data: Mapping[str, object]
) -> LedgerEntry:
    """Return a leaf as a ledger entry."""
    return {
        "kind": "act",
        "id": str(leaf),
        "what": kind,
        "at": rfc3339(at),
        "subject": str(subject) if subject else None,
        "data": data,
    }


def covered(leaf: AnyRow | Leaf) -> bytes:
    """Return the bytes of a leaf that the chain covers; raises if no leaf of ours is like it."""
    return canonical_json(
        {
            "id": str(leaf.id),
            "at": leaf.at.isoformat(),
            "kind": leaf.kind,
            "subject": str(leaf.subject_id) if leaf.subject_id else None,
            "actor": leaf.actor,
            "data": leaf.data,
        }
    )


def content(leaf: AnyRow) -> bytes:
    """Return the bytes of a leaf, or none if it holds what no leaf of ours can hold."""
    try:
        return covered(leaf)
    except (AttributeError, TypeError, ValueError):
        return b""
