"""Pages of the log for whoever audits it: each entry, and whether it is as it was written."""

from collections.abc import Callable
from typing import Final, NamedTuple

from crypto import chain, opaque
from service.audit import store
from service.audit.model import Wanted
from service.audit.views import AuditEntry
from service.domain.clock import rfc3339
from service.store.engine import AnyRow, Tx
from service.web.paging import Page, PageRequest

_NOT_SHOWN: Final = frozenset({"rows", "rows_mac"})
"""Notes of row changes: `lamina audit verify --state` reads them."""


class LinkProof(NamedTuple):
    """What proves that an entry is as it was written.

    Args:
        key: The key of the links; None where the log has none.
        bare: The position up to which links have no MAC, as an upgrade or an operator adopted them.
        content: Returns the bytes of an entry that the chain covers; none for what is no entry.
    """

    key: bytes | None
    bare: int
    content: Callable[[AnyRow], bytes]


def entries(tx: Tx, page: PageRequest, wanted: Wanted, proof: LinkProof) -> Page[AuditEntry]:
    """Return a page of the log, oldest first.

    Args:
        tx: A unit of work.
        page: Which page.
        wanted: Which entries.
        proof: What each entry is held against.
    """
    rows = store.entries(tx, wanted, page.after, page.fetched)
    return page.answer(rows, lambda row: row.id, lambda row: _view(row, proof))


def _view(row: AnyRow, proof: LinkProof) -> AuditEntry:
    return {
        "id": str(row.id),
        "position": row.position,
        "at": rfc3339(row.at),
        "name": row.kind,
        "subject": str(row.subject_id) if row.subject_id else None,
        "actor": row.actor,
        "data": _shown(row.data),
        "head": row.head.hex() if row.head else None,
        "intact": _intact(row, proof),
    }


def _shown(data: object) -> dict[str, object] | None:
    if not isinstance(data, dict):
        return None  # written by SQL
    return {name: value for name, value in data.items() if name not in _NOT_SHOWN}


def _intact(row: AnyRow, proof: LinkProof) -> bool | None:
    """Return whether an entry is what was placed in the chain; None if nothing proves it yet."""
    if proof.key is None or row.position is None:
        return None
    before = chain.GENESIS if row.position == 1 else row.before
    if before is None or chain.link(before, proof.content(row)) != row.head:
        return False
    if row.mac is None:
        return None if row.position <= proof.bare else False
    return opaque.equal(chain.link_mac(proof.key, row.position, row.head), row.mac)
