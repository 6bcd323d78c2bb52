"""The verified e-mail address of a subject, and when it was verified."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from service.accounts.actions.claims import address
from service.accounts.model import IdentifierType
from service.accounts.store import claims
from service.accounts.store import subjects as store
from service.store.engine import Tx


class EmailAddress(NamedTuple):
    """An e-mail address in its normal form."""

    address: str
    verified_at: datetime


def mailbox(tx: Tx, subject: UUID) -> EmailAddress | None:
    """Return the verified e-mail address of a subject; None if there is none."""
    row = store.get(tx, subject)
    proven = claims.verified_since(tx, subject, IdentifierType.EMAIL.value)
    to = address(row, IdentifierType.EMAIL) if row is not None else None
    return EmailAddress(to, proven) if to and proven else None
