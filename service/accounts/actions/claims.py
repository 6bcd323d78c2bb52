"""What a subject says it is found by: anybody may say so of an address, one person proves it.

A username belongs to the first who registers it. An address that nobody has verified binds nobody:
whoever verifies it first is whom it leads to, and what the others said of it lapses at that moment.
An address that somebody has verified is refused only where the caller serves that person; to any
other client it looks free, may be claimed, and never verifies as long as its owner holds it.
"""

from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from crypto.errors import CryptoError
from service.accounts import store
from service.accounts.model import ADDRESSES, NORMAL_FORM, IdentifierType, kept, normalize
from service.accounts.store import Digests, Subject, claims
from service.audit.actions import AuditLog
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
NOTICES: Final = AttemptLimit("notice:address", 20, timedelta(days=1), (*[0] * 8, 3600))
"""To an address that nobody has verified: eight at once, then one an hour."""


class Claims:
    """The identifiers of subjects, by keyed digests of their normal forms."""

    def __init__(
        self, key_store: KeyStore, limits: Limits, outbox: Outbox, audit: AuditLog, clock: Clock
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
        """Return the same of what is kept; nothing where today's rules take it no more."""
        normal = normal_of(field, text)
        return self.digests(tx, field, normal) if normal else []

    def add(self, tx: Tx, caller: Caller, subject: UUID, field: IdentifierType, value: str) -> None:
        """Claim an identifier for a subject that has none of this kind.

        Raises:
            BadInput: It is none of its kind.
            Conflict: Somebody else holds it, whom the caller may know of; or it is a username.
        """
        now, digests = self._clock.now(), self._digests_of(tx, field, value)
        if field in ADDRESSES:
            known = claims.claiming(tx, field.value, digests, caller.segments)
            if any(row.verified and row.id != subject for row in known):
                raise _taken(field)
        if not self._write(tx, subject, field, digests, None if field in ADDRESSES else now):
            raise _taken(field)

    def replace(
        self, tx: Tx, caller: Caller, row: Subject, field: IdentifierType, value: str | None
    ) -> bool:
        """Replace an identifier; False where the new one is the old one in other words."""
        old = getattr(row, field.value)
        if value is not None and old and normalize(field, value) == normal_of(field, old):
            return False
        if value is None and old is None:
            return False
        verified = claims.verified_fields(tx, row.id)
        claims.drop_claim(tx, row.id, field.value)
        if value is not None:
            self.add(tx, caller, row.id, field, value)
        setattr(row, field.value, value and kept(field, value))
        if old:
            self._changed(tx, row, field, old, proven=field.value in verified)
        return True

    def find(self, tx: Tx, caller: Caller, field: IdentifierType, normal: str) -> UUID | None:
        """Return whom an identifier means to a client, among those of its segments.

        Somebody who has proven it, else the only one who claims it, else the only one among
        those whom this client registered.
        """
        found = claims.claiming(tx, field.value, self.digests(tx, field, normal), caller.segments)
        if not found:
            return None
        if found[0].verified or len(found) == 1:
            return _id(found)
        mine = [row for row in found if row.client_id == caller.client]
        return _id(mine) if len(mine) == 1 else None

    def owner(self, tx: Tx, row: Subject, field: IdentifierType) -> UUID | None:
        """Return who else has proven the address of a subject."""
        found = claims.owner(
            tx, field.value, self._digests_of(tx, field, getattr(row, field.value))
        )
        return found if found != row.id else None

    def prove(self, tx: Tx, row: Subject, field: IdentifierType, others: Collection[UUID]) -> bool:
        """Give an address to a subject that has proven it; False where somebody else holds it.

        Args:
            tx: A unit of work in which all of them are locked.
            row: Whose it is now.
            field: Which address.
            others: Who was locked because they claimed the same; if they still do, that lapses.
        """
        rivals = set(others).intersection(claims.claimants(tx, row.id, field.value)) - {row.id}
        if self.owner(tx, row, field) is not None:
            return False
        # Written anew from the address that the code was sent to, whatever stood there.
        claims.drop_claim(tx, row.id, field.value)
        setattr(row, field.value, kept(field, getattr(row, field.value)))
        digests = self._digests_of(tx, field, getattr(row, field.value))
        if not self._write(tx, row.id, field, digests, self._clock.now()):
            raise VerificationFailed("identifier_held")
        self._audit.append(tx, "identifier.verified", subject=row.id, field=field.value)
        for rival in sorted(rivals):
            self._lapse(tx, rival, field)
        return True

    def renew(self, tx: Tx) -> int:
        """Bring a page of identifiers under today's normal form; return how many there were.

        What cannot be read holds up none of the others: each page goes on behind the one before,
        and the one after the last begins anew.
        """
        seen = claims.outdated(tx, NORMAL_FORM, self._looked_at, _PAGE)
        held = {item.subject_id for item in seen}
        store.lock_all(tx, held)
        # Read again under the lock: what was proven before may have been replaced meanwhile.
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
            # Nothing of it was written: it stays as it is, and is tried again with the next pass.
            return
        claims.drop_claim(tx, subject, field.value)
        if row is None or not text or normal_of(field, text) is None:
            # What can be typed no more leads nowhere.
            return
        with suppress(BadInput):
            # What is found by its normal form, and cannot be kept in one today, stays as written.
            setattr(row, field.value, kept(field, text))
        digests = self._digests_of(tx, field, text)
        if not self._write(tx, subject, field, digests, proven):
            # Two that were apart are one by now: the second is to be proven anew.
            claims.drop_claim(tx, subject, field.value)
            self._write(tx, subject, field, digests, None)

    def reached(self, tx: Tx, row: Subject) -> list[str]:
        """Return the addresses at which a subject is told: the verified ones, else all.

        One that nobody has verified may be a stranger's, who is not to be flooded by way of it.
        """
        verified = claims.verified_fields(tx, row.id)
        known = {field: address(row, field) for field in ADDRESSES}
        proven = [text for field, text in known.items() if text and field.value in verified]
        return proven or [text for text in known.values() if text and self._may_tell(tx, text)]

    def _digests_of(self, tx: Tx, field: IdentifierType, text: str) -> Digests:
        return self.digests(tx, field, normalize(field, text))

    def _write(
        self,
        tx: Tx,
        subject: UUID,
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
            told = self.reached(tx, row)
        else:
            to = normal_of(field, old)
            told = [to] if to and (proven or self._may_tell(tx, to)) else []
        for to in told:
            self._outbox.put(tx, "identifier.changed", row.id, {"to": to, "field": field.value})

    def _may_tell(self, tx: Tx, to: str) -> bool:
        return not self._limits.take(tx, NOTICES, to)

    def _lapse(self, tx: Tx, subject: UUID, field: IdentifierType) -> None:
        """End a claim to an address that somebody else has proven; tell the subject elsewhere."""
        row = store.get(tx, subject)
        if row is None:
            return
        claims.drop_claim(tx, subject, field.value)
        setattr(row, field.value, None)
        row.updated_at = self._clock.now()
        self._audit.append(tx, "identifier.lapsed", subject=subject, field=field.value)
        payloads = [{"to": to, "field": field.value} for to in self.reached(tx, row)]
        for payload in payloads or [{"field": field.value}]:
            self._outbox.put(tx, "identifier.lapsed", subject, payload)


def address(row: Subject, field: IdentifierType) -> str | None:
    """Return an address of a subject in its normal form, which is what is sent to."""
    text = getattr(row, field.value)
    return normal_of(field, text) if text else None


def normal_of(field: IdentifierType, text: str) -> str | None:
    """Return the normal form of what is kept; None where today's rules take it no more."""
    try:
        return normalize(field, text)
    except BadInput:
        return None


def _taken(field: IdentifierType) -> Conflict:
    return Conflict("identifier_taken", f"Another subject has this {field.value}.")


def _id(rows: Sequence[Any]) -> UUID:
    found: UUID = rows[0].id
    return found
