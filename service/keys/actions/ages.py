"""How old the keys in use are: what rotation is about to replace, or has left behind."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from service.keys import store
from service.keys.model import KekStatus, SigningStatus
from service.store.engine import Tx


@dataclass(frozen=True, slots=True)
class Age:
    """The age of one key that is in use.

    Args:
        tier: `kek` or `signing`.
        key_class: Of a KEK; `signing` for a signing key.
        age: Since it was made.
    """

    tier: str
    key_class: str
    age: timedelta


def ages(tx: Tx, now: datetime) -> list[Age]:
    """Return the age of the KEK in use of every class, and of the key that signs tokens."""
    keks = [row for row in store.keks(tx) if row.status == KekStatus.ACTIVE]
    signing = [row for row in store.signing_keys(tx) if row.status == SigningStatus.ACTIVE]
    return [
        *(Age("kek", row.key_class, now - row.created_at) for row in keks),
        *(Age("signing", "signing", now - row.created_at) for row in signing),
    ]
