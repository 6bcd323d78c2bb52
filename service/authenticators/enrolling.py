"""Enroll, confirm and revoke for a caller: check rights and consents, count attempts."""

from collections.abc import Mapping
from functools import partial
from uuid import UUID

from service.accounts.actions.accounts import Accounts
from service.authenticators.actions import Authenticators
from service.authenticators.enrollment import AnyEnrollment
from service.authenticators.factor import Match
from service.authenticators.views import (
    AuthenticatorView,
    ConfirmedAuthenticator,
    EnrolledAuthenticator,
    Renewal,
    not_pending,
)
from service.domain.authenticator import Status, Verifier
from service.domain.caller import Caller
from service.domain.clock import Clock
from service.domain.errors import (
    BadInput,
    Conflict,
    Forbidden,
    Unavailable,
    VerificationFailed,
)
from service.domain.fault_views import set_aside
from service.store.engine import Store, Tx
from service.throttling.actions import Reservation, Throttling
from service.throttling.model import Counter, Lane
from service.web.paging import Page, PageRequest


class Enrolling:
    """Enrolls, confirms and revokes for a caller, with the rights this requires."""

    def __init__(
        self,
        *,
        database: Store,
        accounts: Accounts,
        authenticators: Authenticators,
        throttling: Throttling,
        enrollments: Mapping[str, AnyEnrollment],
        clock: Clock,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._authenticators = authenticators
        self._throttling = throttling
        self._enrollments = enrollments
        self._clock = clock

    def enroll(
        self, caller: Caller, subject: UUID, *, kind: str, values: Mapping[str, object], grant: str
    ) -> EnrolledAuthenticator:
        """Begin an enrollment; return the data to show to the person.

        Raises:
            NotFound: There is no such subject.
            Forbidden: A grant is missing or invalid, or a consent is missing.
            BadInput: The input is not valid for this type.
        """
        enrollment = self._enrollments[kind]
        with self._database.transaction(read=True) as tx:
            self._accounts.served(tx, caller, subject)
        prepared = enrollment.prepare(values)

        def begin(tx: Tx) -> EnrolledAuthenticator:
            account = self._accounts.served_locked(tx, caller, subject)
            self._agreed(tx, subject, enrollment)
            if enrollment.confirmed:
                self._authenticators.require_room(tx, subject, kind)
            self._authenticators.grants.authorize(
                tx, caller, account, act=f"enroll:{kind}", grant=grant
            )
            label = self._accounts.label(tx, subject)
            shown = enrollment.begin(tx, subject, label, prepared)
            self._authenticators.begun(tx, UUID(str(shown["id"])), caller.client)
            return {"type": kind, **shown}

        return self._database.unit(begin)

    def confirm(
        self, caller: Caller, subject: UUID, authenticator: UUID, values: Mapping[str, object]
    ) -> ConfirmedAuthenticator:
        """Activate a pending authenticator; this counts as an attempt until it succeeds.

        Raises:
            VerificationFailed: The presented values do not verify.
        """
        with self._database.transaction() as tx:
            account = self._accounts.served_locked(tx, caller, subject)
            pending = self._authenticators.pending(tx, subject, authenticator, caller.client)
            enrollment = self._enrollments[pending.type]
            if not enrollment.confirmed:
                raise not_pending()
            bucket = self._throttling.bucket(tx, f"subject:{account.id}")
            counter = Counter(enrollment.counted_pending(pending))
            attempt = self._throttling.reserve(tx, bucket, Lane.STRANGER, counter)
        try:
            match = enrollment.compare(pending, values, self._clock.now())
        except (BadInput, Unavailable, VerificationFailed) as refused:
            not_checked = None if isinstance(refused, VerificationFailed) else attempt
            again = partial(self._again, enrollment, pending, not_checked)
            refused.extra |= self._database.unit(again)
            raise
        try:
            self._database.unit(
                lambda tx: self._confirmed(
                    tx, enrollment, pending=pending, match=match, attempt=attempt
                )
            )
        except (Conflict, Forbidden):
            # It verified but another request was first: that is not a failed attempt.
            self._database.unit(lambda tx: self._throttling.release(tx, attempt))
            raise
        return {
            "id": str(authenticator),
            "type": pending.type,
            "status": Status.ACTIVE.value,
            **set_aside(match.aside),
        }

    def revoke(self, caller: Caller, subject: UUID, authenticator: UUID, grant: str) -> None:
        """Revoke an authenticator; raises NotFound, Conflict or Forbidden."""
        with self._database.transaction() as tx:
            account = self._accounts.served_locked(tx, caller, subject)
            self._authenticators.grants.authorize(
                tx, caller, account, act="revoke:authenticator", grant=grant
            )
            ended = self._authenticators.revoke(tx, subject, authenticator)
            self._enrollments[ended.type].revoked(tx, subject)

    def page(self, caller: Caller, subject: UUID, page: PageRequest) -> Page[AuthenticatorView]:
        """Return a page of a subject's authenticators, without any verifier."""
        with self._database.transaction(read=True) as tx:
            self._accounts.served(tx, caller, subject)
            return self._authenticators.page(tx, subject, page)

    def _confirmed(
        self,
        tx: Tx,
        enrollment: AnyEnrollment,
        *,
        pending: Verifier,
        match: Match[object],
        attempt: Reservation,
    ) -> None:
        self._accounts.lock(tx, pending.subject)
        # The consent may have been withdrawn during the slow check.
        self._agreed(tx, pending.subject, enrollment)
        enrollment.confirm(tx, pending, match)
        self._throttling.release(tx, attempt)

    def _again(
        self, enrollment: AnyEnrollment, pending: Verifier, attempt: Reservation | None, tx: Tx
    ) -> Renewal:
        """Store the state after a refused confirmation; return what to show to the caller."""
        self._accounts.lock(tx, pending.subject)
        shown = enrollment.repeat(tx, pending)
        if attempt is not None:
            self._throttling.release(tx, attempt)
        return shown

    def _agreed(self, tx: Tx, subject: UUID, enrollment: AnyEnrollment) -> None:
        purpose = enrollment.consent
        if purpose and not self._accounts.consents.active(tx, subject, purpose):
            detail = f"This needs the subject's consent to the purpose {purpose}."
            raise Forbidden("consent_required", detail, purpose=purpose)
