"""Erasure by destroying data keys, with certificates, and its repetition after a restore."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from service.audit.actions.audit_log import AuditLog
from service.domain.clock import Clock, rfc3339
from service.domain.errors import Conflict
from service.domain.ids import new_id
from service.keys.actions.record_signing import RecordKeys
from service.keys.ledger import Entry
from service.keys.store import erasures as store
from service.keys.store import rotation
from service.keys.store.erasures import Canary, LegalHold, Tombstone
from service.keys.views import ErasureView
from service.store.engine import Tx
from service.store.fields import sealed_tables

SUBJECT_CLASSES: Final = (
    "contact",
    "identity",
    "factor",
    "biometric",
    "behavior",
    "transaction",
)


@dataclass(kw_only=True, frozen=True, slots=True)
class Erased:
    """The result of an erasure."""

    id: UUID
    subject: UUID
    classes: tuple[str, ...]
    data_keys: int
    erased_at: datetime
    horizon: datetime
    certificate: str

    def to_json(self) -> ErasureView:
        """Return the response to the requester; its certificate is a JWS over the rest."""
        return {
            "id": str(self.id),
            "subject": str(self.subject),
            "classes": list(self.classes),
            "data_keys_destroyed": self.data_keys,
            "erased_at": rfc3339(self.erased_at),
            "erase_horizon": rfc3339(self.horizon),
            "certificate": self.certificate,
        }

    def entry(self) -> Entry:
        """Return the ledger entry of the erasure."""
        return tombstone_entry(
            self.id,
            subject=self.subject,
            classes=self.classes,
            erased_at=self.erased_at,
            horizon=self.horizon,
        )


def tombstone_entry(
    tombstone: UUID,
    *,
    subject: UUID,
    classes: Iterable[str],
    erased_at: datetime,
    horizon: datetime,
) -> Entry:
    """Return the ledger entry of an erasure."""
    return {
        "kind": "tombstone",
        "id": str(tombstone),
        "subject": str(subject),
        "classes": list(classes),
        "erased_at": rfc3339(erased_at),
        "horizon": rfc3339(horizon),
    }


class Shredding:
    """Destroys the data keys of subjects.

    Args:
        retention: Maximum age of a database backup; until then a backup could restore the data.
        lock: Locks a subject for a change; raises NotFound if there is none. It serializes holds
            and erasures, so that the second one sees the first.
    """

    def __init__(
        self,
        *,
        records: RecordKeys,
        audit: AuditLog,
        clock: Clock,
        retention: timedelta,
        lock: Callable[[Tx, UUID], object],
    ) -> None:
        self._records = records
        self._audit = audit
        self._clock = clock
        self._retention = retention
        self._lock = lock

    def hold(self, tx: Tx, subject: UUID, *, until: datetime, reason: str, actor: str) -> None:
        """Place a legal hold that refuses every erasure of a subject until a date.

        Raises:
            NotFound: The subject does not exist or was erased.
        """
        self._lock(tx, subject)
        now = self._clock.now()
        row = tx.get(LegalHold, subject)
        if row is None:
            tx.add(LegalHold(subject_id=subject, until=until, reason=reason, set_at=now))
        else:
            row.until = until
            row.reason = reason
            row.set_at = now
        self._audit.append(
            tx, "subject.held", subject=subject, actor=actor, until=rfc3339(until), reason=reason
        )

    def watch(self, tx: Tx, subject: UUID, actor: str) -> None:
        """Make a subject a canary: opening any of its fields raises an alarm."""
        tx.merge(Canary(subject_id=subject, created_at=self._clock.now()))
        self._audit.append(tx, "canary.set", subject=subject, actor=actor)

    def require_free(self, tx: Tx, subject: UUID) -> None:
        """Raise Conflict if a legal hold is active; prevent a new one until the transaction ends.

        Raises:
            NotFound: The subject does not exist or was erased.
            Conflict: A hold is active; the detail names its end.
        """
        self._lock(tx, subject)
        row = tx.get(LegalHold, subject)
        if row is not None and row.until > self._clock.now():
            until = rfc3339(row.until)
            detail = f"A legal hold keeps this data until {until} ({row.reason})."
            raise Conflict("legal_hold", detail, until=until)

    def shred(self, tx: Tx, subject: UUID, classes: Collection[str], actor: str | None) -> Erased:
        """Destroy a subject's data keys of some classes, and blank the fields sealed under them.

        The caller has called `require_free` and ended everything that depends on the data.
        """
        tx.flush()
        keys = store.drop_subject_deks(tx, subject, classes)
        for table in sealed_tables():
            rotation.blank(tx, table, subject, classes)
        tx.expire_all()
        now = self._clock.now()
        chosen = tuple(sorted(classes))
        number = new_id(now)
        horizon = now + self._retention
        claims = {
            "sub": str(subject),
            "tombstone": str(number),
            "classes": list(chosen),
            "data_keys_destroyed": keys,
            "erased_at": rfc3339(now),
            "erase_horizon": rfc3339(horizon),
            "basis": f"backups are kept for {self._retention.days} days at most",
        }
        certificate = self._records.sign(tx, "erasure", claims)
        tx.add(
            Tombstone(
                id=number,
                subject_id=subject,
                classes=list(chosen),
                erased_at=now,
                horizon=horizon,
                certificate=certificate,
            )
        )
        self._audit.append(
            tx,
            "subject.shredded",
            subject=subject,
            actor=actor,
            classes=list(chosen),
            data_keys=keys,
        )
        erased = Erased(
            id=number,
            subject=subject,
            classes=chosen,
            data_keys=keys,
            erased_at=now,
            horizon=horizon,
            certificate=certificate,
        )
        self._audit.keep(tx, erased.entry())
        return erased

    def repeat(self, tx: Tx, entry: Entry) -> bool:
        """Repeat an erasure that a restored backup has undone; return False if it is in effect."""
        number = UUID(entry["id"])
        subject = UUID(entry["subject"])
        if tx.get(Tombstone, number) is not None:
            return False
        erased_at = datetime.fromisoformat(entry["erased_at"])
        # Keys created after the erasure belong to a new enrollment under a new consent.
        store.drop_subject_deks(tx, subject, entry["classes"], before=erased_at)
        for table in sealed_tables():
            rotation.blank(tx, table, subject, entry["classes"], unless_keyed=True)
        tx.add(
            Tombstone(
                id=number,
                subject_id=subject,
                classes=entry["classes"],
                erased_at=erased_at,
                horizon=datetime.fromisoformat(entry["horizon"]),
                certificate="",
            )
        )
        self._audit.append(
            tx, "subject.shredded_again", subject=subject, actor="ledger", tombstone=str(number)
        )
        return True

    def since(self, tx: Tx, subject: UUID, moment: datetime) -> bool:
        """Return whether any data of a subject was erased at or after a time."""
        return store.erased_since(tx, subject, moment)

    def entries(self, tx: Tx) -> list[Entry]:
        """Return a ledger entry for each erasure in the database."""
        return [
            tombstone_entry(
                row.id,
                subject=row.subject_id,
                classes=row.classes,
                erased_at=row.erased_at,
                horizon=row.horizon,
            )
            for row in store.tombstones(tx)
        ]
