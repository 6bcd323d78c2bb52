"""Add, confirm, find and revoke authenticators."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from service.accounts.actions.accounts import Accounts
from service.audit.actions.audit_log import AuditLog
from service.authenticators.access import Access
from service.authenticators.actions.grants import Grants, acting_session
from service.authenticators.store import authenticators as store
from service.authenticators.store import codes, grants, retention, steps
from service.authenticators.store.authenticators import AuthenticatorRow, SealedVerifier
from service.authenticators.views import (
    AuthenticatorView,
    as_value,
    no_authenticator,
    not_pending,
    shown,
)
from service.domain.authenticator import TYPES, Authenticator, Status, Verifier
from service.domain.bounds import USUAL, Bounds
from service.domain.clock import Clock, in_force
from service.domain.errors import Conflict, TooMany, VerificationFailed
from service.domain.ids import new_id, subject_owner
from service.store.ahead import PlannedRead
from service.store.engine import Tx
from service.store.erasing import erases
from service.store.sealed import sealer_of
from service.web.paging import Page, PageRequest

PENDING_LIFE: Final = timedelta(hours=1)
"""How long an authenticator may stay pending before its confirmation."""
_REVOKED_KEPT: Final = timedelta(days=400)
_ALWAYS: Final = frozenset({"password"})
"""Types that end access when enrolled, even if they replace none, as after a recovery."""


class Authenticators:
    """The authenticators of subjects."""

    def __init__(
        self, accounts: Accounts, audit: AuditLog, clock: Clock, bounds: Bounds = USUAL
    ) -> None:
        self._bounds = bounds
        self._accounts = accounts
        self._audit = audit
        self._clock = clock
        self._access: Access | None = None
        self.grants = Grants(audit, clock)

    def guard(self, access: Access) -> None:
        """Set the access that ends when authenticators change and on which grants depend."""
        self._access = access
        self.grants.guard(access)

    def add(
        self,
        tx: Tx,
        subject: UUID,
        kind: str,
        verifier: bytes,
        *,
        status: Status,
        name: str | None = None,
    ) -> Authenticator:
        """Enroll an authenticator; an active one replaces an earlier one of its type.

        If several of a type are allowed, it is added to them under its own name.
        """
        self._accounts.hold(tx, subject)
        now = self._clock.now()
        superseded = status is Status.ACTIVE and self._make_room(tx, subject, kind)
        row = AuthenticatorRow(
            id=new_id(now),
            subject_id=subject,
            type=kind,
            status=status.value,
            created_at=now,
            confirmed_at=now if status is Status.ACTIVE else None,
            last_used_at=None,
            session_id=acting_session(tx),
        )
        row.verifier = verifier
        row.name = name
        tx.add(row)
        tx.flush()
        if status is Status.ACTIVE:
            self._activated(tx, row, superseded=superseded)
        return as_value(row)

    def require_room(self, tx: Tx, subject: UUID, kind: str) -> None:
        """Check that one more pending authenticator is allowed; the subject is locked.

        Raises:
            Conflict: The type allows several, and the maximum number is active.
            TooMany: Too many are pending; the error states when the oldest of them lapses.
        """
        if self.most(kind) > 1:
            self._make_room(tx, subject, kind)
        now = self._clock.now()
        most = self._bounds.max_pending_authenticators
        waiting = store.waiting(tx, subject, now - PENDING_LIFE)
        if len(waiting) >= most:
            left = waiting[most - 1] + PENDING_LIFE - now
            detail = f"{most} authenticators are pending; confirm one or let one lapse."
            raise TooMany("too_many_pending", detail, int(left.total_seconds()) + 1)

    def add_codes(self, tx: Tx, authenticator: Authenticator, digests: Sequence[bytes]) -> None:
        """Store the digests of a set of recovery codes."""
        codes.add(
            tx,
            authenticator=authenticator.id,
            subject=authenticator.subject,
            digests=digests,
            now=self._clock.now(),
        )

    def begun(self, tx: Tx, authenticator: UUID, client: UUID) -> None:
        """Record the client that began an enrollment."""
        store.begin(tx, authenticator, client)

    def pending(
        self, tx: Tx, subject: UUID, authenticator: UUID, client: UUID | None = None
    ) -> Verifier:
        """Return the verifier of a pending authenticator.

        Args:
            tx: A transaction.
            subject: The owner of the authenticator.
            authenticator: Its id.
            client: The requesting client, which must have begun it; None if already checked.

        Raises:
            NotFound: There is none, or another client began it.
            Conflict: It is not pending.
        """
        row = self._row(tx, subject, authenticator)
        if client is not None and not store.begun_by(tx, authenticator, client):
            raise no_authenticator()
        waits = in_force(row.created_at + PENDING_LIFE, self._clock.now(), PENDING_LIFE)
        if row.status != Status.PENDING or not waits or not self._begun_in_force(tx, row):
            raise not_pending()
        return Verifier(row.id, row.subject_id, row.type, row.verifier)

    def confirm(
        self,
        tx: Tx,
        subject: UUID,
        authenticator: UUID,
        verifier: bytes | None = None,
        **record: str,
    ) -> Authenticator:
        """Activate a pending authenticator, sealing its verifier under the new status.

        Args:
            tx: A transaction.
            subject: The owner of the authenticator.
            authenticator: Its id.
            verifier: The new verifier, if it changes.
            record: Values about the confirmation for the audit log.
        """
        self._accounts.hold(tx, subject)
        row = self._row(tx, subject, authenticator)
        if row.status != Status.PENDING or not self._begun_in_force(tx, row):
            raise not_pending()
        superseded = self._make_room(tx, subject, row.type)
        if verifier is not None:
            row.verifier = verifier
        row.status = Status.ACTIVE.value
        row.confirmed_at = self._clock.now()
        tx.flush()
        self._activated(tx, row, superseded=superseded, **record)
        return as_value(row)

    def rewrite(self, tx: Tx, authenticator: UUID, verifier: bytes) -> None:
        """Replace the verifier of an authenticator; raises VerificationFailed if it was revoked."""
        row = store.get(tx, authenticator)
        if row is None or row.status == Status.REVOKED:
            raise VerificationFailed("authenticator_revoked")
        row.verifier = verifier

    def revoke(
        self, tx: Tx, subject: UUID, authenticator: UUID, *, withdrawn: bool = False
    ) -> Authenticator:
        """Revoke an authenticator and delete its verifier.

        Args:
            tx: A transaction.
            subject: The owner of the authenticator.
            authenticator: Its id.
            withdrawn: Whether a consent to it was withdrawn. This signs no one out: from now on
                evidence of this authenticator counts for nothing, and that suffices.
        """
        self._accounts.hold(tx, subject)
        row = self._row(tx, subject, authenticator)
        if row.status == Status.REVOKED:
            raise Conflict("already_revoked", "This authenticator is already revoked.")
        counted = row.status == Status.ACTIVE
        self._end(tx, row)
        if counted and not withdrawn:
            self._security_changed(tx, subject, acting_session(tx))
        self._accounts.notify(tx, subject, "authenticator.revoked")
        return as_value(row)

    def hold(self, tx: Tx, subject: UUID) -> bool:
        """Lock a subject for a change of its authenticators; see `Accounts.hold`."""
        return self._accounts.hold(tx, subject)

    @erases("factor", tables=("authenticator", "recovery_code"))
    def revoke_all(self, tx: Tx, subject: UUID) -> None:
        """Revoke every authenticator of a subject that will be erased; no notice is sent."""
        for row in store.of_subject(tx, subject):
            codes.drop_set(tx, row.id)
            store.mark_revoked(tx, row)

    def listing(self, tx: Tx, subject: UUID) -> list[Authenticator]:
        """Return the active and pending authenticators."""
        rows = store.of_subject(tx, subject)
        return [as_value(row) for row in rows if row.status != Status.REVOKED]

    def page(self, tx: Tx, subject: UUID, page: PageRequest) -> Page[AuthenticatorView]:
        """Return a page of the active and pending authenticators, without any verifier."""
        rows = store.page(tx, subject, page.after, page.fetched)
        return page.answer(rows, lambda row: row.id, shown)

    def enrolled(self, tx: Tx, subject: UUID) -> frozenset[str]:
        """Return the types of the active authenticators."""
        return frozenset(store.active_types(tx, subject).values())

    def lacking(self, tx: Tx, subject: UUID) -> list[str]:
        """Return the types of which a subject may enroll another without replacing one."""
        have = Counter(self.active(tx, subject).values())
        return [kind for kind in TYPES if have[kind] < self.most(kind)]

    def active(self, tx: Tx, subject: UUID) -> Mapping[UUID, str]:
        """Return the ids and types of active authenticators; only their evidence counts."""
        return store.active_types(tx, subject)

    def ever(self, tx: Tx, subject: UUID) -> frozenset[str]:
        """Return the types that were ever active, among authenticators not deleted yet."""
        rows = store.of_subject(tx, subject)
        return frozenset(row.type for row in rows if row.confirmed_at is not None)

    def recovered(self, tx: Tx, subject: UUID) -> None:
        """End the access and the pending enrollments of a subject after a recovery."""
        self._security_changed(tx, subject, None)

    def established(
        self, tx: Tx, authenticators: Collection[UUID], young: timedelta
    ) -> frozenset[UUID]:
        """Return the active authenticators that are past their cool-down."""
        return store.established(tx, authenticators, self._clock.now() - young)

    def ahead(self, tx: Tx, subject: UUID, decoy: UUID) -> list[PlannedRead]:
        """Return what `verifiers` reads, and its keys: for the decoy itself the same parts."""
        keys = sealer_of(tx).ahead(map(subject_owner, (subject, decoy)))
        return [store.verifiers_ahead(subject, decoy), *keys]

    def active_ahead(self, tx: Tx, subject: UUID) -> list[PlannedRead]:
        """Return what `active` reads, and the keys of the subject."""
        return [store.types_ahead(subject), *sealer_of(tx).ahead((subject_owner(subject),))]

    def verifier(self, tx: Tx, subject: UUID, decoy: UUID, kind: str) -> Verifier | None:
        """Return the active verifier of a type, or the decoy's: one query, one decryption."""
        row = store.verifier(tx, subject, decoy, kind)
        return _opened(tx, row) if row else None

    def verifiers(
        self, tx: Tx, subject: UUID, decoy: UUID, kind: str
    ) -> tuple[tuple[Verifier, ...], tuple[Verifier, ...]]:
        """Return the active verifiers of a type, and the decoy's for each one missing.

        The number of authenticated and opened rows is always the same, so timing reveals neither
        whether the subject exists nor how many authenticators it has.
        """
        own, spare = store.verifiers(tx, subject, decoy=decoy, kind=kind, most=self.most(kind))
        return tuple(_opened(tx, row) for row in own), tuple(_opened(tx, row) for row in spare)

    def codes(
        self, tx: Tx, subject: UUID, *, decoy: UUID, kind: str, most: int
    ) -> tuple[UUID, list[tuple[UUID, bytes]]] | None:
        """Return a set's id and unused codes with digests, or the decoy's; the work is the same."""
        row, spare = store.set_of_codes(tx, subject, decoy, kind)
        if row is None:
            return None
        return row.id, codes.unused(tx, row.id, spare, most)

    def use_code(self, tx: Tx, code: UUID) -> bool:
        """Use a recovery code; return False if another request used it."""
        if not codes.use(tx, code, self._clock.now()):
            return False
        self._audit.append(tx, "recovery_code.used", id=str(code))
        return True

    def use_step(self, tx: Tx, authenticator: UUID, step: int, newest: int) -> bool:
        """Use a TOTP step; return False if it or a later acceptable one was used."""
        return steps.use(tx, authenticator, step, newest)

    def newest_step(self, tx: Tx, authenticator: UUID) -> int:
        """Return the newest TOTP step that was used."""
        return steps.newest(tx, authenticator)

    def used(self, tx: Tx, authenticator: UUID, verifier: bytes | None = None) -> None:
        """Record a use, and a changed verifier; raises VerificationFailed if it was revoked."""
        if not store.touch(tx, authenticator, self._clock.now()):
            raise VerificationFailed("authenticator_revoked")
        if verifier is not None and (row := store.get(tx, authenticator)):
            row.verifier = verifier

    def drop_ended(self, tx: Tx, now: datetime) -> int:
        """Delete a page of authenticators never confirmed or revoked long ago; return how many."""
        return retention.drop_ended(tx, now - PENDING_LIFE, now - _REVOKED_KEPT)

    def drop_steps(self, tx: Tx, before: int, since: int | None = None) -> int:
        """Delete used steps before one, but for each newest; `since` looks at later uses only."""
        if since is None:
            return retention.sweep_steps(tx, before)
        return retention.drop_steps(tx, before, since)

    def most(self, kind: str) -> int:
        """Return how many authenticators of a type may be active at once."""
        return self._bounds.max_totps if kind == "totp" else 1

    def _make_room(self, tx: Tx, subject: UUID, kind: str) -> bool:
        """Revoke the active authenticator of a type if only one is allowed; return whether it did.

        Raises:
            Conflict: The type allows several and the maximum is active: none is revoked silently.
        """
        former = store.active(tx, (subject,), kind)
        most = self.most(kind)
        if most > 1:
            if len(former) >= most:
                detail = f"{most} of this type are active, the maximum; revoke one first."
                raise Conflict(f"too_many_{kind}", detail)
            return False
        for row in former:
            self._end(tx, row)
        tx.flush()
        return bool(former)

    def _begun_in_force(self, tx: Tx, row: AuthenticatorRow) -> bool:
        """Return whether the session or right that began this enrollment is still valid."""
        account = self._accounts.known(tx, row.subject_id)
        if account is None:
            return False
        first = account.first_login_at
        if row.session_id is None and first is not None and row.created_at <= first:
            # An enrollment by the registering client's temporary right ends with the first login.
            return False
        return self.grants.earned(tx, account, row.session_id)

    def _security_changed(self, tx: Tx, subject: UUID, acting: UUID | None) -> None:
        grants.drop_recoveries(tx, subject)
        account = self._accounts.known(tx, subject)
        if account is not None and account.first_login_at is not None:
            # An enrollment begun by another session must not replace the authenticator just set.
            for row in store.pending(tx, subject, but=acting):
                self._end(tx, row)
        if self._access is not None:
            self._access.security_changed(tx, subject, acting)

    def _activated(self, tx: Tx, row: AuthenticatorRow, *, superseded: bool, **record: str) -> None:
        if superseded or row.type in _ALWAYS:
            self._security_changed(tx, row.subject_id, row.session_id)
        self._audit.append(
            tx,
            "authenticator.enrolled",
            subject=row.subject_id,
            type=row.type,
            id=str(row.id),
            **record,
        )
        account = self._accounts.known(tx, row.subject_id)
        if account is not None and account.first_login_at is not None:
            # Before the first login the account is being set up: its owner needs no notice.
            self._accounts.notify(tx, row.subject_id, "authenticator.enrolled")

    def _end(self, tx: Tx, row: AuthenticatorRow) -> None:
        row.status = Status.REVOKED.value
        row.verifier = b""
        row.name = None
        tx.flush()
        codes.drop_set(tx, row.id)
        self._audit.append(
            tx, "authenticator.revoked", subject=row.subject_id, type=row.type, id=str(row.id)
        )

    def _row(self, tx: Tx, subject: UUID, authenticator: UUID) -> AuthenticatorRow:
        row = store.get(tx, authenticator, lock=True)
        if row is None or row.subject_id != subject:
            raise no_authenticator()
        return row


def _opened(tx: Tx, row: SealedVerifier) -> Verifier:
    return Verifier(row.id, row.subject_id, row.type, store.opened(tx, row))
