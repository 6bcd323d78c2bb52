"""The language that a person reads."""

from uuid import UUID

import orjson

from service.accounts import store
from service.store.engine import Tx


def locale(tx: Tx, subject: UUID) -> str:
    """Return the language that a person's profile names; empty where it names none."""
    row = store.get(tx, subject)
    profile = orjson.loads(row.profile) if row and row.profile else {}
    return str(profile.get("locale") or "")
