"""Claims to identifiers: several subjects may claim an address, but only one verifies it.

A username belongs to the first who registers it. A claim to an unverified address excludes no one:
whoever verifies the address first owns it, and the other claims lapse at that moment. A verified
address is refused only to a caller that serves its owner; to any other client it looks free, may
be claimed, and never verifies as long as its owner holds it.
"""

from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from crypto.errors import CryptoError
from service.accounts.model import ADDRESSES, NORMAL_FORM, IdentifierType, kept, normalize
from service.accounts.store import claims
from service.accounts.store import subjects as store
from service.accounts.store.claims import Claimant
from service.accounts.store.subjects import Digests, Subject
from service.audit.actions.audit_log import AuditLog
from service.domain.caller import Caller
from service.domain.clock import Clock
from service.domain.errors import BadInput, Conflict, RowRefused, VerificationFailed
from service.domain.ids import new_id
from service.keys.actions import KeyStore
from service.notifications.actions.outbox import Outbox
from service.store.engine import Tx
from service.throttling.actions import Limits
from service.throttling.model import AttemptLimit

_PAGE: Final = 200
NOTICES: Final = AttemptLimit(
    name="notice:address", most=20, span=timedelta(days=1), gaps=(*[0] * 8, 3600)
)
"""For an address that is not verified: eight at once, then one an hour."""


class Claims:
    """The identifiers of subjects, by keyed digests of their normal forms."""

    def __init__(
        self, *, key_store: KeyStore, limits: Limits, outbox: Outbox, audit: AuditLog, clock: Clock
    ) -> None:
        self._key_store = key_store
        self._limits = limits
        self._outbox = outbox
        self._audit = audit
        self._clock = clock
        self._looked_at = claims.FIRST

    def digests(self, tx: Tx, field: IdentifierType, normal: str) -> Digests:
        """Return the digests of a normal form, one per live version of the index key."""
        return [
            (index.version, index.digest("subject", field.value, normal))
            for index in self._key_store.blind_indexes(tx)
        ]

    def of(self, tx: Tx, field: IdentifierType, text: str) -> Digests:
        """Return the digests of a stored text; empty if the current rules reject it."""
        normal = normal_of(field, text)
        return self.digests(tx, field, normal) if normal else []

    def add(
        self, tx: Tx, caller: Caller, *, subject: UUID, field: IdentifierType, value: str
    ) -> None:
        """Claim an identifier for a subject that has none of this kind.

        Raises:
            BadInput: The value is not valid for this kind.
            Conflict: Another subject that the caller serves verified it; or a username is taken.
        """
        now = self._clock.now()
        digests = self._digests_of(tx, field, value)
        if field in ADDRESSES:
            known = claims.claiming(tx, field.value, digests, caller.segments)
            if any(row.verified and row.id != subject for row in known):
                raise _taken(field)
        if not self._write(
            tx, subject, field=field, digests=digests, proven=None if field in ADDRESSES else now
        ):
            raise _taken(field)

    def replace(
        self, tx: Tx, caller: Caller, *, row: Subject, field: IdentifierType, value: str | None
    ) -> bool:
        """Replace an identifier; return False if the normal form stays the same."""
        old = getattr(row, field.value)
        if value is not None and old and normalize(field, value) == normal_of(field, old):
            return False
        if value is None and old is None:
            return False
        verified = claims.verified_fields(tx, row.id)
        claims.drop_claim(tx, row.id, field.value)
        if value is not None:
            self.add(tx, caller, subject=row.id, field=field, value=value)
        setattr(row, field.value, value and kept(field, value))
        if old:
            self._changed(tx, row, field, old, proven=field.value in verified)
        return True

    def find(self, tx: Tx, caller: Caller, field: IdentifierType, normal: str) -> UUID | None:
        """Return the subject that an identifier means to a client, within the client's segments.

        The one that verified it, else the only one that claims it, else the only claimant that this
        client registered.
        """
        found = claims.claiming(tx, field.value, self.digests(tx, field, normal), caller.segments)
        if not found:
            return None
        if found[0].verified or len(found) == 1:
            return _id(found)
        mine = [row for row in found if row.client_id == caller.client]
        return _id(mine) if len(mine) == 1 else None

    def owner(self, tx: Tx, row: Subject, field: IdentifierType) -> UUID | None:
        """Return the other subject that has verified this subject's address, if any."""
        found = claims.owner(
            tx, field.value, self._digests_of(tx, field, getattr(row, field.value))
        )
        return found if found != row.id else None

    def prove(self, tx: Tx, row: Subject, field: IdentifierType, others: Collection[UUID]) -> bool:
        """Make a subject the owner of an address; return False if another subject has verified it.

        Args:
            tx: A transaction in which all of them are locked.
            row: The subject that has proven control of the address.
            field: The kind of address.
            others: The locked subjects that claimed the same address; their remaining claims lapse.
        """
        rivals = set(others).intersection(claims.claimants(tx, row.id, field.value)) - {row.id}
        if self.owner(tx, row, field) is not None:
            return False
        # Rewrite it from the address that the code was sent to, whatever the row contained.
        claims.drop_claim(tx, row.id, field.value)
        setattr(row, field.value, kept(field, getattr(row, field.value)))
        digests = self._digests_of(tx, field, getattr(row, field.value))
        if not self._write(tx, row.id, field=field, digests=digests, proven=self._clock.now()):
            raise VerificationFailed("identifier_held")
        self._audit.append(tx, "identifier.verified", subject=row.id, field=field.value)
        for rival in sorted(rivals):
            self._lapse(tx, rival, field)
        return True

    def renew(self, tx: Tx) -> int:
        """Update a page of identifiers to the current normal form; return how many were old.

        An unreadable identifier does not block the others: each page continues after the previous
        one, and after the last page the next pass starts.
        """
        seen = claims.outdated(tx, NORMAL_FORM, self._looked_at, _PAGE)
        held = {item.subject_id for item in seen}
        store.lock_all(tx, held)
        # Read again under the lock: a verified identifier may have been replaced meanwhile.
        found = claims.outdated(tx, NORMAL_FORM, self._looked_at, _PAGE) if held else ()
        for item in found:
            if item.subject_id in held:
                self._renew(tx, item.subject_id, IdentifierType(item.field), item.verified_at)
        self._looked_at = (seen[-1].subject_id, seen[-1].field) if seen else claims.FIRST
        return len(found)

    def _renew(self, tx: Tx, subject: UUID, field: IdentifierType, proven: datetime | None) -> None:
        try:
            row = store.get(tx, subject)
            text = getattr(row, field.value, None)
        except (CryptoError, RowRefused):
            # Nothing was written: it stays unchanged and is retried in the next pass.
            return
        claims.drop_claim(tx, subject, field.value)
        if row is None or not text or normal_of(field, text) is None:
            # An identifier that can no longer be typed leads to no subject.
            return
        with suppress(BadInput):
            # If it has a normal form but no valid stored form today, the text stays as written.
            setattr(row, field.value, kept(field, text))
        digests = self._digests_of(tx, field, text)
        if not self._write(tx, subject, field=field, digests=digests, proven=proven):
            # Two identifiers now have the same normal form: the second must be verified again.
            claims.drop_claim(tx, subject, field.value)
            self._write(tx, subject, field=field, digests=digests, proven=None)

    def reached(self, tx: Tx, row: Subject) -> list[str]:
        """Return the addresses that receive notices: the verified ones, else all known ones.

        An unverified address may belong to a stranger, so its notices are rate-limited.
        """
        verified = claims.verified_fields(tx, row.id)
        known = {field: address(row, field) for field in ADDRESSES}
        proven = [text for field, text in known.items() if text and field.value in verified]
        return proven or [text for text in known.values() if text and self._may_notify(tx, text)]

    def _digests_of(self, tx: Tx, field: IdentifierType, text: str) -> Digests:
        return self.digests(tx, field, normalize(field, text))

    def _write(
        self,
        tx: Tx,
        subject: UUID,
        *,
        field: IdentifierType,
        digests: Digests,
        proven: datetime | None,
    ) -> bool:
        values = {
            "field": field.value,
            "subject_id": subject,
            "verified_at": proven,
            "form": NORMAL_FORM,
        }
        return all(
            store.add_digest(
                tx,
                values
                | {"id": new_id(self._clock.now()), "key_version": version, "digest": digest},
            )
            for version, digest in digests
        )

    def _changed(
        self, tx: Tx, row: Subject, field: IdentifierType, old: str, *, proven: bool
    ) -> None:
        if field is IdentifierType.USERNAME:
            notified = self.reached(tx, row)
        else:
            to = normal_of(field, old)
            notified = [to] if to and (proven or self._may_notify(tx, to)) else []
        for to in notified:
            self._outbox.put(
                tx,
                kind="identifier.changed",
                subject=row.id,
                payload={"to": to, "field": field.value},
            )

    def _may_notify(self, tx: Tx, to: str) -> bool:
        return not self._limits.take(tx, NOTICES, to)

    def _lapse(self, tx: Tx, subject: UUID, field: IdentifierType) -> None:
        """End a claim to an address verified by another subject; notify at other addresses."""
        row = store.get(tx, subject)
        if row is None:
            return
        claims.drop_claim(tx, subject, field.value)
        setattr(row, field.value, None)
        row.updated_at = self._clock.now()
        self._audit.append(tx, "identifier.lapsed", subject=subject, field=field.value)
        payloads = [{"to": to, "field": field.value} for to in self.reached(tx, row)]
        for payload in payloads or [{"field": field.value}]:
            self._outbox.put(tx, kind="identifier.lapsed", subject=subject, payload=payload)


def address(row: Subject, field: IdentifierType) -> str | None:
    """Return the normal form of a subject's address, to which messages are sent."""
    text = getattr(row, field.value)
    return normal_of(field, text) if text else None


def normal_of(field: IdentifierType, text: str) -> str | None:
    """Return the normal form of a stored text; None if the current rules reject it."""
    try:
        return normalize(field, text)
    except BadInput:
        return None


def _taken(field: IdentifierType) -> Conflict:
    return Conflict("identifier_taken", f"Another subject has this {field.value}.")


def _id(rows: Sequence[Claimant]) -> UUID:
    return rows[0].id
