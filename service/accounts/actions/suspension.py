"""Suspend a capability of a subject, end its access with it, and lift the suspension."""

from collections.abc import Callable
from uuid import UUID

from service.accounts.actions import pages
from service.accounts.actions.accounts import Accounts
from service.accounts.store import subjects as store
from service.accounts.views import SuspensionView
from service.audit.actions.audit_log import AuditLog
from service.domain.clock import Clock
from service.domain.errors import NotFound
from service.domain.ids import new_id
from service.store.engine import Tx

LOGIN = "login"
"""The capability whose suspension ends all access of the subject."""
EndAccess = Callable[[Tx, UUID], object]


class Suspensions:
    """The one home of suspensions: every caller that suspends or lifts one goes through it."""

    def __init__(self, accounts: Accounts, audit: AuditLog, clock: Clock) -> None:
        self._accounts = accounts
        self._audit = audit
        self._clock = clock
        self._ends: tuple[EndAccess, ...] = ()

    def end_with(self, *ends: EndAccess) -> None:
        """Set the functions that end access, in the order in which they run.

        They run in the transaction that suspends the login of a subject, whose row is locked.
        """
        self._ends = ends

    def suspend(self, tx: Tx, subject: UUID, *, capability: str, reason: str, actor: str) -> bool:
        """Suspend a capability and notify the subject; False if it is already suspended.

        Raises:
            NotFound: The subject is unknown or erased.
        """
        self._accounts.lock(tx, subject)
        now = self._clock.now()
        values = {
            "id": new_id(now),
            "subject_id": subject,
            "capability": capability,
            "reason": reason,
            "since": now,
        }
        if not store.suspend(tx, values):
            return False
        self._audit.append(
            tx,
            "subject.suspended",
            subject=subject,
            actor=actor,
            capability=capability,
            reason=reason,
        )
        self._accounts.notify(tx, subject, "subject.suspended")
        if capability == LOGIN:
            for end in self._ends:
                end(tx, subject)
        return True

    def lift(self, tx: Tx, subject: UUID, capability: str, actor: str) -> None:
        """Lift a suspension; raises NotFound if there is none."""
        self._accounts.lock(tx, subject)
        if not store.lift(tx, subject, capability):
            raise NotFound("suspension_not_found", "This capability is not suspended.")
        self._audit.append(
            tx, "subject.suspension_lifted", subject=subject, actor=actor, capability=capability
        )

    def newest(self, tx: Tx, subject: UUID) -> SuspensionView:
        """Return the newest suspension of a subject that has one."""
        return pages.suspension(store.suspensions(tx, subject)[-1])
