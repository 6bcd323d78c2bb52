"""Pages of the log for whoever audits it: each entry, and whether it is as it was written."""

from collections.abc import Callable
from typing import Any

from crypto import chain, opaque
from service.audit import store
from service.audit.model import Wanted
from service.domain.clock import rfc3339
from service.store.engine import Tx
from service.web.paging import PageRequest

Bytes = Callable[[Any], bytes]


def entries(
    tx: Tx, page: PageRequest, wanted: Wanted, key: bytes | None, content: Bytes
) -> dict[str, Any]:
    """Return a page of the log, oldest first.

    Args:
        tx: A unit of work.
        page: Which page.
        wanted: Which entries.
        key: The key of the links; None where the log has none.
        content: Returns the bytes of an entry that the chain covers.
    """
    rows = store.entries(tx, wanted, page.after, page.fetched)
    return page.answer(rows, lambda row: row.id, lambda row: _view(row, key, content))


def _view(row: Any, key: bytes | None, content: Bytes) -> dict[str, Any]:  # noqa: ANN401 - a row of named columns
    return {
        "id": str(row.id),
        "position": row.position,
        "at": rfc3339(row.at),
        "name": row.kind,
        "subject": str(row.subject_id) if row.subject_id else None,
        "actor": row.actor,
        "data": store.decided(row.data),
        "head": row.head.hex() if row.head else None,
        "intact": _intact(row, key, content),
    }


def _intact(row: Any, key: bytes | None, content: Bytes) -> bool | None:  # noqa: ANN401 - a row of named columns
    """Tell whether an entry is what got its place in the chain; None where nothing says so yet."""
    if key is None or row.position is None:
        return None
    before = chain.GENESIS if row.position == 1 else row.before
    if before is None or chain.link(before, content(row)) != row.head:
        return False
    if row.mac is None:
        return None
    return opaque.equal(chain.link_mac(key, row.position, row.head), row.mac)
