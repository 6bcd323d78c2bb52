"""The preferred language of a subject."""

from uuid import UUID

import orjson

from service.accounts.store import subjects as store
from service.store.engine import Tx


def locale(tx: Tx, subject: UUID) -> str:
    """Return the locale in a subject's profile; empty if there is none."""
    row = store.get(tx, subject)
    profile = orjson.loads(row.profile) if row and row.profile else {}
    return str(profile.get("locale") or "")
