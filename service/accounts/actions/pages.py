"""What lists of a subject show, a page at a time."""

from typing import Any
from uuid import UUID

from service.accounts import store
from service.accounts.store import Consent, Suspension
from service.domain.clock import rfc3339
from service.store.engine import Tx
from service.web.paging import Page


def consents(tx: Tx, subject: UUID, page: Page) -> dict[str, Any]:
    """Return a page of the consents, oldest first, the withdrawn ones too."""
    rows = store.consents(tx, subject, page.after, page.fetched)
    return page.answer(rows, lambda row: row.id, consent)


def suspensions(tx: Tx, subject: UUID, page: Page) -> dict[str, Any]:
    """Return a page of what a subject may not use, oldest first."""
    rows = store.suspensions(tx, subject, page.after, page.fetched)
    return page.answer(rows, lambda row: row.id, suspension)


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
