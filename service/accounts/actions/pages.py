"""What a subject shows, and what its lists show, a page at a time."""

from collections.abc import Collection
from typing import Any, Final
from uuid import UUID

import orjson

from service.accounts import store
from service.accounts.model import ADDRESSES, IdentifierType, segment_of
from service.accounts.store import Consent, Subject, Suspension, listed
from service.domain.caller import Caller
from service.domain.clock import rfc3339
from service.domain.errors import Fault, noticed
from service.store.engine import Tx
from service.web.paging import PageRequest

_FIRST: Final = UUID(int=0)
_IDLE: Final = "Nobody has verified this address for this subject: it does not sign in."
_BY_CLAIM: Final = (
    "Nobody has verified this address: by policy it signs in until somebody else claims it."
)


def subjects(
    tx: Tx, caller: Caller, page: PageRequest, status: str, segment: str | None
) -> dict[str, Any]:
    """Return a page of the subjects that a caller serves, oldest first: nothing that is sealed.

    Args:
        tx: A unit of work.
        caller: Who asks.
        page: Which page.
        status: Of which status.
        segment: Of which segment; None for all that the caller serves.

    Raises:
        Forbidden: The caller does not serve the segment.
    """
    segments = (segment_of(caller, segment),) if segment else caller.segments
    rows = listed.page(tx, segments, status, page.after or _FIRST, page.fetched)

    def view(row: Any) -> dict[str, Any] | None:  # noqa: ANN401 - a row of named columns
        return _subject(row) if listed.is_sound(tx, row) else None

    answer = page.answer(rows, lambda row: row.id, view)
    return answer | {"items": [item for item in answer["items"] if item]}


def subject(row: Subject, proven: Collection[str], leading: Collection[str]) -> dict[str, Any]:
    """Return everything a client with `subjects:read` may see of a subject.

    Args:
        row: The subject.
        proven: The identifiers that are verified; a username is by being the first.
        leading: Those that sign in.
    """
    held = {name.value: text for name in IdentifierType if (text := getattr(row, name.value))}
    notices = [
        Fault(f"/identifiers/{name}", f"{name}_unverified", _BY_CLAIM if name in leading else _IDLE)
        for name in ADDRESSES
        if name in held and name not in proven
    ]
    return {
        "id": str(row.id),
        "status": row.status,
        "segment": row.segment,
        "identifiers": held,
        "verified": [name.value for name in ADDRESSES if name in proven],
        "sign_in": [name for name in held if name in leading],
        "profile": orjson.loads(row.profile) if row.profile else {},
        "created_at": rfc3339(row.created_at),
        "updated_at": rfc3339(row.updated_at),
    } | noticed(notices)


def consents(tx: Tx, subject: UUID, page: PageRequest) -> dict[str, Any]:
    """Return a page of the consents, oldest first, the withdrawn ones too."""
    rows = store.consents(tx, subject, page.after, page.fetched)
    return page.answer(rows, lambda row: row.id, consent)


def suspensions(tx: Tx, subject: UUID, page: PageRequest) -> dict[str, Any]:
    """Return a page of what a subject may not use, oldest first."""
    rows = store.suspensions(tx, subject, page.after, page.fetched)
    return page.answer(rows, lambda row: row.id, suspension)


def _subject(row: Any) -> dict[str, Any]:  # noqa: ANN401 - a row of named columns
    return {
        "id": str(row.id),
        "status": row.status,
        "segment": row.segment,
        "created_at": rfc3339(row.created_at),
    }


def consent(row: Consent) -> dict[str, Any]:
    """Return a consent as a list shows it."""
    return {
        "purpose": row.purpose,
        "version": row.version,
        "text_hash": row.text_hash,
        "locale": row.locale,
        "channel": row.channel,
        "given_at": rfc3339(row.given_at),
        "withdrawn_at": rfc3339(row.withdrawn_at) if row.withdrawn_at else None,
    }


def suspension(row: Suspension) -> dict[str, Any]:
    """Return a suspension as a list shows it."""
    return {"capability": row.capability, "reason": row.reason, "since": rfc3339(row.since)}
