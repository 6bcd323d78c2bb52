"""Register, find and change subjects; verify addresses."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import orjson
from sqlalchemy import ColumnElement, ScalarSelect

from service.accounts.actions import pages
from service.accounts.actions.claims import Claims
from service.accounts.actions.codes import Codes
from service.accounts.actions.consents import Consents
from service.accounts.actions.leading import Leading, account_of
from service.accounts.model import (
    ACTIVE,
    DECOY,
    ERASED,
    Account,
    IdentifierLookup,
    IdentifierType,
    born,
    identify,
    kept,
    segment_of,
)
from service.accounts.store import claims, holding
from service.accounts.store import subjects as store
from service.accounts.store.subjects import Subject
from service.accounts.views import SubjectView
from service.audit.actions.audit_log import AuditLog
from service.domain.bounds import USUAL, Bounds
from service.domain.caller import Caller
from service.domain.clock import Clock
from service.domain.errors import BadInput, Fault, NotFound
from service.domain.ids import new_id
from service.keys.actions import KeyStore
from service.notifications.actions.outbox import Outbox
from service.store.ahead import PlannedRead
from service.store.driver_sql import Cells
from service.store.engine import Tx
from service.store.erasing import EVERYTHING, ErasureTurn, erases
from service.store.part import Part
from service.throttling.actions import Limits


def _account(row: Subject) -> Account:
    return Account(
        id=row.id,
        status=row.status,
        segment=row.segment,
        client=row.client_id,
        created_at=row.created_at,
        first_login_at=row.first_login_at,
    )


class Accounts:
    """Subjects and their identifiers."""

    def __init__(
        self,
        *,
        key_store: KeyStore,
        outbox: Outbox,
        audit: AuditLog,
        clock: Clock,
        bounds: Bounds = USUAL,
    ) -> None:
        self._limits = Limits(key_store.purpose_key, clock)
        self._claims = Claims(
            key_store=key_store, limits=self._limits, outbox=outbox, audit=audit, clock=clock
        )
        self.leading = Leading(self._claims)
        self._codes = Codes(self._claims, self._limits, outbox, clock)
        self._outbox = outbox
        self._audit = audit
        self._clock = clock
        self.consents = Consents(
            present=self.get, hold=self.lock, audit=audit, clock=clock, bounds=bounds
        )

    def register(
        self,
        tx: Tx,
        caller: Caller,
        identifiers: Mapping[str, str],
        *,
        segment: str | None,
        profile: Mapping[str, object] | None = None,
        consents: Sequence[Mapping[str, str]] = (),
    ) -> Account:
        """Add a subject.

        Raises:
            BadInput: An identifier is not valid for its kind, or none was given.
            Forbidden: The caller does not serve the segment.
            Conflict: Another subject holds an identifier.
        """
        if not identifiers:
            fault = Fault("/identifiers", "missing", "name a username, an email or a phone")
            raise BadInput(fault)
        row = self._new(tx, caller.client, segment_of(caller, segment), ACTIVE)
        for name, value in identifiers.items():
            setattr(row, name, kept(IdentifierType(name), value))
        if profile:
            row.profile = self._profile(profile)
        tx.flush()
        store.added(tx, row.id)
        for name, value in identifiers.items():
            self._claims.add(tx, caller, subject=row.id, field=IdentifierType(name), value=value)
        for consent in consents:
            self.consents.give(tx, row.id, consent)
        self._audit.append(
            tx, "subject.registered", subject=row.id, actor=caller.actor, segment=row.segment
        )
        return _account(row)

    def ensure_decoy(self, tx: Tx, client: UUID, subject: UUID) -> bool:
        """Add the decoy, which stands in for unknown subjects; return True if it is new."""
        if store.get(tx, subject):
            return False
        row = self._new(tx, client, "default", DECOY)
        row.id = subject
        tx.flush()
        return True

    def find(self, tx: Tx, typed: str, unproven: Collection[str] = ()) -> IdentifierLookup:
        """Return the account that an identifier leads to; see `Leading.find`."""
        return self.leading.find(tx, typed, unproven)

    def lookup(self, tx: Tx, caller: Caller, typed: str) -> SubjectView:
        """Return the view of a subject for a client that serves it; raises NotFound."""
        # An invalid identifier is looked up too, so that it takes the same time.
        field, normal = identify(typed) or (IdentifierType.USERNAME, "")
        found = self._claims.find(tx, caller, field, normal)
        if found is None:
            raise NotFound("subject_not_found", "No subject has this identifier.")
        return self.view(tx, found)

    def get(self, tx: Tx, subject: UUID) -> Account:
        """Return a subject; raises NotFound."""
        account = self.known(tx, subject)
        if account is None or account.status in {DECOY, ERASED}:
            raise _no_subject()
        return account

    def served(self, tx: Tx, caller: Caller, subject: UUID) -> Account:
        """Return a subject of a segment that the caller serves; raises NotFound for any other."""
        account = self.get(tx, subject)
        if account.segment not in caller.segments:
            raise _no_subject()
        return account

    def lock(self, tx: Tx, subject: UUID) -> Account:
        """Lock a subject to change data that it owns, then read it; raises NotFound.

        Call it before reading anything else of the subject in the transaction (ADR 6).
        """
        store.lock(tx, subject)
        return self.get(tx, subject)

    def served_locked(self, tx: Tx, caller: Caller, subject: UUID) -> Account:
        """Lock a subject for a change (ADR 6), then return it as `served` does."""
        store.lock(tx, subject)
        return self.served(tx, caller, subject)

    def hold(self, tx: Tx, subject: UUID) -> bool:
        """Lock a subject for a change (ADR 6); return False if it is unknown or erased."""
        found = store.lock(tx, subject)
        return (store.status(tx, subject) if found is None else found) == ACTIVE

    def ahead(self, subject: UUID) -> PlannedRead:
        """Return what `get` and `known` read."""
        return store.plain_ahead(subject)

    def holding(self, owner: ScalarSelect[UUID]) -> Callable[[Tx, Mapping[str, object]], None]:
        """Return a function that locks the subject which a query names, in one statement.

        Args:
            owner: The query, with named parameters; what it names must never change.
        """
        statement = holding.locking(owner)
        return lambda tx, values: holding.lock_by(tx, statement, values)

    def known(self, tx: Tx, subject: UUID) -> Account | None:
        """Return a subject by id, including the decoy; None if there is none."""
        row = store.plain(tx, subject)
        if row is None:
            return None
        return account_of(row)

    def beside(self, subject: ColumnElement[UUID]) -> Part:
        """Return what a statement of another feature adds to read the subject of its rows."""
        return store.beside(subject)

    def of_cells(self, tx: Tx, cells: Cells) -> Account | None:
        """Return the subject that such a statement read, as `known` does."""
        row = store.plain_of(tx, cells)
        return None if row is None else account_of(row)

    def view(self, tx: Tx, subject: UUID) -> SubjectView:
        """Return all data of a subject that `subjects:read` may see; raises NotFound."""
        return self._view(tx, self._row(tx, subject))

    def update(
        self,
        tx: Tx,
        caller: Caller,
        subject: UUID,
        *,
        identifiers: Mapping[str, str | None] | None = None,
        profile: Mapping[str, object] | None = None,
    ) -> SubjectView:
        """Replace identifiers (None removes one) and the profile; notify the old addresses.

        An identifier with the same normal form stays unchanged and verified, without a notice.
        """
        store.lock(tx, subject)
        row = self._row(tx, subject)
        changed = [
            name
            for name, value in sorted((identifiers or {}).items())
            if self._claims.replace(tx, caller, row=row, field=IdentifierType(name), value=value)
        ]
        written = None if profile is None else self._profile(profile)
        profile_changed = written is not None and written != row.profile
        if profile_changed:
            row.profile = written
        if changed and not (row.username or row.email or row.phone):
            fault = Fault("/identifiers", "missing", "the last identifier cannot be removed")
            raise BadInput(fault)
        if changed or profile_changed:
            row.updated_at = self._clock.now()
            self._audit.append(
                tx, "subject.changed", subject=subject, actor=caller.actor, fields=changed
            )
        return self._view(tx, row)

    def notify(self, tx: Tx, subject: UUID, kind: str, **details: str) -> None:
        """Queue a notice to every verified address, or to every known one if none is verified."""
        row = store.get(tx, subject)
        for address in self._claims.reached(tx, row) if row else []:
            self._outbox.put(tx, kind=kind, subject=subject, payload={"to": address, **details})

    def label(self, tx: Tx, subject: UUID) -> str:
        """Return the account name for an authenticator app: the username, or an address."""
        row = self._row(tx, subject)
        return row.username or row.email or row.phone or str(subject)

    def completed_login(self, tx: Tx, account: Account) -> None:
        """Record the first completed login; afterwards a scope alone no longer allows changes."""
        if account.first_login_at is None:
            store.mark_login(tx, account.id, self._clock.now())

    def send_code(self, tx: Tx, subject: UUID, name: str, *, caller: Caller | None = None) -> None:
        """Send a code to the stored address, never to a typed one.

        Args:
            tx: A transaction.
            subject: The owner of the address.
            name: The kind of address.
            caller: The requesting client, which is rate-limited; None for the service itself.

        Raises:
            NotFound: The caller serves no such subject, or it has no such address.
            Throttled: Too many codes were sent to the address, for the subject or by the client.
        """
        store.lock(tx, subject)
        row = self._served_row(tx, subject, caller)
        self._codes.send(tx, row, IdentifierType(name), caller.client if caller else None)

    def check_code(
        self, tx: Tx, subject: UUID, name: str, typed: str, *, caller: Caller | None = None
    ) -> bool:
        """Verify an address by its code; the caller always commits, so attempts stay counted."""
        # All who claim the address are locked in one order before any of their data is read.
        others = claims.claimants(tx, subject, name)
        store.lock_all(tx, others)
        return self._codes.check(
            tx,
            self._served_row(tx, subject, caller),
            field=IdentifierType(name),
            typed=typed,
            others=others,
        )

    def drop_ended(self, tx: Tx, now: datetime) -> int:
        """Delete expired codes and expired rate limits; return how many."""
        return claims.drop_codes(tx, now) + self._limits.drop_ended(tx, now)

    def renew(self, tx: Tx, _now: datetime) -> int:
        """Update a page of identifiers to the current normal form; return how many were old."""
        return self._claims.renew(tx)

    @erases("contact", tables=("subject_index", "verification_code"))
    def erase_contact(self, tx: Tx, subject: UUID) -> None:
        """Delete all identifiers and verification codes, so that no lookup finds this subject."""
        store.drop_contact(tx, subject)

    @erases(EVERYTHING, tables=("subject", "consent"), turn=ErasureTurn.LAST)
    def mark_erased(self, tx: Tx, subject: UUID) -> None:
        """Mark a subject as erased; its row remains."""
        store.mark_erased(tx, subject, ERASED, self._clock.now())

    def _new(self, tx: Tx, client: UUID, segment: str, status: str) -> Subject:
        now = self._clock.now()
        row = Subject(
            id=new_id(now),
            status=status,
            segment=segment,
            client_id=client,
            created_at=now,
            updated_at=now,
        )
        tx.add(row)
        return row

    def _profile(self, profile: Mapping[str, object]) -> str:
        if profile.get("birthdate") is not None:
            born(str(profile["birthdate"]), self._clock.now().date())
        return orjson.dumps(dict(profile)).decode()

    def _served_row(self, tx: Tx, subject: UUID, caller: Caller | None) -> Subject:
        row = self._row(tx, subject)
        if caller is not None and row.segment not in caller.segments:
            raise _no_subject()
        return row

    def _row(self, tx: Tx, subject: UUID) -> Subject:
        row = store.get(tx, subject)
        if row is None or row.status in {DECOY, ERASED}:
            raise _no_subject()
        return row

    def _view(self, tx: Tx, row: Subject) -> SubjectView:
        proven = claims.verified_fields(tx, row.id)
        return pages.subject(row, proven, proven | self.leading.admitted(tx, row, proven))


def _no_subject() -> NotFound:
    return NotFound("subject_not_found", "There is no such subject.")
