"""Ages of the keys in use, for the monitoring of rotations."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from service.keys.model import KekStatus, SigningStatus
from service.keys.store import hierarchy as store
from service.store.engine import Tx


@dataclass(frozen=True, slots=True)
class Age:
    """The age of a key in use.

    Args:
        tier: `kek` or `signing`.
        key_class: Class of a KEK; `signing` for a signing key.
        age: Time since its creation.
    """

    tier: str
    key_class: str
    age: timedelta


def ages(tx: Tx, now: datetime) -> list[Age]:
    """Return the age of the active KEK of each class, and of the active signing key."""
    keks = [row for row in store.keks(tx) if row.status == KekStatus.ACTIVE]
    signing = [row for row in store.signing_keys(tx) if row.status == SigningStatus.ACTIVE]
    return [
        *(Age("kek", row.key_class, now - row.created_at) for row in keks),
        *(Age("signing", "signing", now - row.created_at) for row in signing),
    ]
