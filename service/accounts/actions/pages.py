"""Views of a subject and of its lists, one page at a time."""

from collections.abc import Collection
from typing import Final
from uuid import UUID

import orjson

from service.accounts.model import ADDRESSES, segment_of
from service.accounts.store import listed
from service.accounts.store import subjects as store
from service.accounts.store.subjects import Consent, Subject, Suspension
from service.accounts.views import (
    ConsentView,
    IdentifiersView,
    ListedSubject,
    SubjectView,
    SuspensionView,
)
from service.domain.caller import Caller
from service.domain.clock import rfc3339
from service.domain.formats import FaultView
from service.store.engine import AnyRow, Tx
from service.web.paging import Page, PageRequest

_FIRST: Final = UUID(int=0)
_IDLE: Final = "This address is not verified for this subject: it cannot be used to sign in."
_BY_CLAIM: Final = (
    "This address is not verified: by policy it signs in until another subject claims it."
)


def subjects(
    tx: Tx, caller: Caller, *, page: PageRequest, status: str, segment: str | None
) -> Page[ListedSubject]:
    """Return a page of the subjects that a caller serves, oldest first, without sealed data.

    Args:
        tx: A transaction.
        caller: The requesting client.
        page: The requested page.
        status: The status of the subjects.
        segment: The segment; None for all that the caller serves.

    Raises:
        Forbidden: The caller does not serve the segment.
    """
    segments = (segment_of(caller, segment),) if segment else caller.segments
    rows = listed.page(
        tx, segments=segments, status=status, after=page.after or _FIRST, limit=page.fetched
    )

    def view(row: AnyRow) -> ListedSubject | None:
        return _subject(row) if listed.is_sound(tx, row) else None

    return page.answer(rows, lambda row: row.id, view)


def subject(row: Subject, proven: Collection[str], leading: Collection[str]) -> SubjectView:
    """Return all data of a subject that `subjects:read` may see.

    Args:
        row: The subject.
        proven: The verified identifiers; a username is verified by being registered first.
        leading: The identifiers that sign in.
    """
    known = _identifiers(row)
    view: SubjectView = {
        "id": str(row.id),
        "status": row.status,
        "segment": row.segment,
        "identifiers": known,
        "verified": [name.value for name in ADDRESSES if name in proven],
        "sign_in": [name for name in known if name in leading],
        "profile": orjson.loads(row.profile) if row.profile else {},
        "created_at": rfc3339(row.created_at),
        "updated_at": rfc3339(row.updated_at),
    }
    notices: list[FaultView] = [
        {
            "pointer": f"/identifiers/{name}",
            "code": f"{name}_unverified",
            "detail": _BY_CLAIM if name in leading else _IDLE,
        }
        for name in ADDRESSES
        if name in known and name not in proven
    ]
    if notices:
        view["notices"] = notices
    return view


def _identifiers(row: Subject) -> IdentifiersView:
    found: IdentifiersView = {}
    if row.username:
        found["username"] = row.username
    if row.email:
        found["email"] = row.email
    if row.phone:
        found["phone"] = row.phone
    return found


def consents(tx: Tx, subject: UUID, page: PageRequest) -> Page[ConsentView]:
    """Return a page of the consents, oldest first, including withdrawn ones."""
    rows = store.consents(tx, subject, page.after, page.fetched)
    return page.answer(rows, lambda row: row.id, consent)


def suspensions(tx: Tx, subject: UUID, page: PageRequest) -> Page[SuspensionView]:
    """Return a page of the suspensions, oldest first."""
    rows = store.suspensions(tx, subject, page.after, page.fetched)
    return page.answer(rows, lambda row: row.id, suspension)


def _subject(row: AnyRow) -> ListedSubject:
    return {
        "id": str(row.id),
        "status": row.status,
        "segment": row.segment,
        "created_at": rfc3339(row.created_at),
    }


def consent(row: Consent) -> ConsentView:
    """Return the view of a consent."""
    return {
        "purpose": row.purpose,
        "version": row.version,
        "text_hash": row.text_hash,
        "locale": row.locale,
        "channel": row.channel,
        "given_at": rfc3339(row.given_at),
        "withdrawn_at": rfc3339(row.withdrawn_at) if row.withdrawn_at else None,
    }


def suspension(row: Suspension) -> SuspensionView:
    """Return the view of a suspension."""
    return {"capability": row.capability, "reason": row.reason, "since": rfc3339(row.since)}
