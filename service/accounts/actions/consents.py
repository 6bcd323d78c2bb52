"""Record, withdraw and list consents."""

from collections.abc import Callable, Mapping
from uuid import UUID

from service.accounts.actions import pages
from service.accounts.store import subjects as store
from service.accounts.store.subjects import Consent
from service.accounts.views import ConsentView
from service.audit.actions.audit_log import AuditLog
from service.domain.bounds import Bounds
from service.domain.clock import Clock
from service.domain.errors import Conflict, NotFound
from service.domain.ids import new_id
from service.store.engine import Tx


class Consents:
    """The consents of subjects.

    Args:
        present: Raises NotFound for a subject that does not exist or is erased.
        hold: Does the same and locks the subject for a change (ADR 6).
    """

    def __init__(
        self,
        *,
        present: Callable[[Tx, UUID], object],
        hold: Callable[[Tx, UUID], object],
        audit: AuditLog,
        clock: Clock,
        bounds: Bounds,
    ) -> None:
        self._present = present
        self._hold = hold
        self._audit = audit
        self._clock = clock
        self._bounds = bounds

    def give(self, tx: Tx, subject: UUID, consent: Mapping[str, str]) -> ConsentView:
        """Record a consent, which supersedes an earlier one to the same purpose.

        A consent equal to the active one is not recorded again.

        Raises:
            Conflict: Consents to too many purposes are active.
        """
        self._hold(tx, subject)
        now = self._clock.now()
        most = self._bounds.max_consents
        before = store.in_force(tx, subject, consent["purpose"])
        if not before and store.count_in_force(tx, subject, most) >= most:
            detail = f"Consents to {most} purposes are active; withdraw one."
            raise Conflict("too_many_consents", detail)
        for old in before:
            if all(getattr(old, name) == value for name, value in consent.items()):
                return pages.consent(old)
            old.withdrawn_at = now
        row = Consent(
            id=new_id(now), subject_id=subject, given_at=now, withdrawn_at=None, **consent
        )
        tx.add(row)
        tx.flush()
        self._audit.append(
            tx, "consent.given", subject=subject, purpose=row.purpose, version=row.version
        )
        store.drop_consents(tx, subject, most)
        return pages.consent(row)

    def withdraw(self, tx: Tx, subject: UUID, purpose: str) -> None:
        """Withdraw a consent; raises NotFound if none is active."""
        self._hold(tx, subject)
        row = self._active(tx, subject, purpose)
        if row is None:
            raise NotFound("consent_not_found", "No consent to this purpose is active.")
        row.withdrawn_at = self._clock.now()
        self._audit.append(tx, "consent.withdrawn", subject=subject, purpose=purpose)

    def listed(self, tx: Tx, subject: UUID) -> list[ConsentView]:
        """Return every consent, including withdrawn ones."""
        self._present(tx, subject)
        return [pages.consent(row) for row in store.consents(tx, subject)]

    def active(self, tx: Tx, subject: UUID, purpose: str, *, for_share: bool = False) -> bool:
        """Return whether a consent to a purpose is active.

        Args:
            tx: A transaction.
            subject: The subject that consented.
            purpose: The purpose.
            for_share: Lock the consent against a withdrawal until the transaction ends.
        """
        return store.consented(tx, subject, purpose, for_share=for_share)

    def _active(self, tx: Tx, subject: UUID, purpose: str) -> Consent | None:
        in_force = store.in_force(tx, subject, purpose)
        return in_force[-1] if in_force else None
