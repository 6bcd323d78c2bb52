"""Request a recovery, approve it, send its code, stop it: what two operators do for a person.

During the wait there is no code to steal or ask for, and any sign-in to the account stops the
recovery. The operators never see the code: it goes to the address that the person had verified
before the request.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final
from uuid import UUID

from crypto import opaque
from crypto.errors import CryptoError
from service.accounts.actions.accounts import Accounts
from service.accounts.actions.mailbox import mailbox
from service.accounts.model import Account
from service.audit.actions.audit_log import AuditLog
from service.authenticators.actions import RECOVERABLE, Authenticators
from service.domain.authenticator import FACTOR_OF_TYPE
from service.domain.caller import Caller
from service.domain.clock import Clock, has_come, in_force, rfc3339
from service.domain.errors import (
    BadInput,
    Conflict,
    Fault,
    Forbidden,
    NotFound,
    RowRefused,
    Unavailable,
    VerificationFailed,
)
from service.domain.ids import new_id, parse_id
from service.factors.help_desk import store
from service.factors.help_desk.model import CODE_LIFE, KEPT, SENDING, RecoveryState, lifts
from service.factors.help_desk.store import RecoveryRow
from service.notifications.actions.outbox import Outbox
from service.notifications.model import RECOVERY_CODE
from service.operators.actions import Operators
from service.operators.followed import RequestedAct
from service.operators.model import ACTS, APPROVAL_LIFE, RECOVER
from service.operators.views import StartedAct
from service.policy.actions.evaluation import Policies
from service.store.ahead import PlannedRead
from service.store.bearer import digester, token_digest
from service.store.engine import Tx
from service.store.erasing import ends_after_restore, erases

_PAGES: Final = 10
"""Pages of subjects in one transaction of a task."""

_ADDRESS: Final = "help-desk-address"
_CODE: Final = "help-desk-code"
_HOUR: Final = 3600


class Recoveries:
    """Recoveries by the help desk; approvals of operators call it at each step."""

    def __init__(  # noqa: PLR0913 - one argument per feature it depends on
        self,
        *,
        operators: Operators,
        accounts: Accounts,
        authenticators: Authenticators,
        policies: Policies,
        outbox: Outbox,
        audit: AuditLog,
        clock: Clock,
    ) -> None:
        self._operators = operators
        self._accounts = accounts
        self._authenticators = authenticators
        self._policies = policies
        self._outbox = outbox
        self._audit = audit
        self._clock = clock

    def ask(self, tx: Tx, caller: Caller, asked: RequestedAct) -> None:
        """Record an operator's request for a recovery, and notify the person at every address.

        Raises:
            BadInput: The caller serves no such subject, or the act is unknown.
            Forbidden: It is the caller's own account.
            Conflict: A recovery is open, the account is suspended, or no address is verified.
            Unavailable: E-mail delivery is not configured.
        """
        subject = parse_id(asked.target)
        act = asked.params.get("act")
        now = self._clock.now()
        if act not in RECOVERABLE:
            detail = f"must be one of {' '.join(RECOVERABLE)}"
            raise BadInput(Fault("/params/act", "unknown_act", detail))
        try:
            account, to = self._recoverable(tx, caller, subject, act)
        except NotFound:
            raise BadInput(Fault("/target", "subject_not_found", "is not a subject")) from None
        self._require_none(tx, account.id, now)
        number = new_id(now)
        values = {
            "id": number,
            "subject_id": account.id,
            "approval_id": asked.number,
            "act": act,
            "status": RecoveryState.ASKED.value,
            "asked_by": caller.actor,
            "approved_by": None,
            "asked_at": now,
            "due_at": None,
            "ends_at": now + APPROVAL_LIFE,
            "digest": None,
            "address": token_digest(tx, to, _ADDRESS, number.bytes),
        }
        if not store.add(tx, values):
            raise _pending()
        self._note(tx, "subject.recovery_asked", store.read(tx, number), caller.actor)
        self._accounts.notify(tx, account.id, "subject.recovery_asked")

    def hold(self, tx: Tx, asked: RequestedAct) -> None:
        """Lock the subject, whether or not it still exists."""
        self._accounts.hold(tx, UUID(asked.target))

    def approve(self, tx: Tx, caller: Caller, asked: RequestedAct) -> StartedAct:
        """Start the waiting period, and notify the person when the code will be sent.

        Raises:
            NotFound: The caller serves no such subject.
            Forbidden: It is the caller's own account.
            Conflict: The recovery was stopped, or is no longer possible.
        """
        row = store.under_way(tx, UUID(asked.target))
        if row is None or (row.approval_id, row.status) != (asked.number, RecoveryState.ASKED):
            detail = "This recovery was stopped or is too old: the person signed in; ask again."
            raise Conflict("recovery_stopped", detail)
        account, to = self._recoverable(tx, caller, row.subject_id, row.act)
        if not self._same(tx, row, to):
            raise _moved()
        due = self._clock.now() + self._policies.recovery_wait(account.segment)
        values = {"approved_by": caller.actor, "due_at": due, "ends_at": due + SENDING}
        if not store.move(tx, row, RecoveryState.WAITING, **values):
            raise _pending()
        row = store.read(tx, row.id)
        when = rfc3339(due)
        self._note(tx, "subject.recovery_approved", row, _both(row), code_at=when)
        self._accounts.notify(tx, row.subject_id, "subject.recovery_approved", when=when)
        return {"recovery": {"act": row.act, "code_at": when}}

    def reject(self, tx: Tx, caller: Caller, asked: RequestedAct) -> bool:
        """Stop a recovery on an operator's request, before or after its approval."""
        row = store.under_way(tx, UUID(asked.target))
        if row is None or row.approval_id != asked.number:
            return False
        return self._end(
            tx, row, state=RecoveryState.STOPPED, reason="rejected", actor=caller.actor
        )

    def ahead(self, subject: UUID) -> PlannedRead:
        """Return what `stop` reads."""
        return store.under_way_ahead(subject)

    def stop(self, tx: Tx, subject: UUID, reason: str) -> bool:
        """Stop the open recovery of a locked subject, if there is one."""
        row = store.under_way(tx, subject)
        return row is not None and self._end(tx, row, state=RecoveryState.STOPPED, reason=reason)

    @ends_after_restore
    def stop_all(self, tx: Tx) -> int:
        """Stop all recoveries: the database was restored and may revive a used code."""
        rows = store.all_open(tx)
        return sum(
            self._end(tx, row, state=RecoveryState.STOPPED, reason="restored") for row in rows
        )

    def send_due(self, tx: Tx, now: datetime) -> int:
        """Send the due codes, some pages at once; return how many subjects were processed."""

        def send(row: RecoveryRow) -> None:
            if row.status == RecoveryState.WAITING and row.due_at and row.due_at <= now:
                self._send(tx, row, now)

        return self._each(tx, lambda after: store.due(tx, now, after), send)

    def end_over(self, tx: Tx, now: datetime) -> int:
        """End expired recoveries, and delete a page of old ones; return how many were deleted."""

        def end(row: RecoveryRow) -> None:
            if row.ends_at <= now:
                self._end(tx, row, state=RecoveryState.OVER, reason="over")

        self._each(tx, lambda after: store.over(tx, now, after), end)
        return store.drop_old(tx, now - KEPT)

    def _each(
        self, tx: Tx, page: Callable[[UUID], Sequence[UUID]], act: Callable[[RecoveryRow], None]
    ) -> int:
        """Act on the open recovery of each subject of some pages, under the subject's lock.

        A subject whose rows are refused is skipped: it must not stop the recoveries of others.
        """
        done = 0
        last = UUID(int=0)
        for _ in range(_PAGES):
            subjects = page(last)
            for subject in subjects:
                last = subject
                with suppress(CryptoError, RowRefused), tx.begin_nested():
                    self._accounts.hold(tx, subject)
                    row = store.under_way(tx, subject)
                    if row is not None:
                        act(row)
                    done += 1
            if not subjects:
                break
        return done

    @erases("factor", tables=("subject_recovery",))
    def delete_for(self, tx: Tx, subject: UUID) -> None:
        """Delete the recoveries of an erased subject."""
        store.delete_for(tx, subject)

    def use(self, tx: Tx, number: UUID) -> None:
        """Mark the code of a recovery as used; raises VerificationFailed."""
        row = store.find(tx, number)
        now = self._clock.now()
        if (
            row is None
            or row.status != RecoveryState.SENT
            or not in_force(row.ends_at, now, CODE_LIFE)
        ):
            raise VerificationFailed("help_desk_code_over")
        if not self._stand(tx, row):
            raise VerificationFailed("help_desk_operator_gone")
        if not store.move(tx, row, RecoveryState.USED):
            raise VerificationFailed("help_desk_code_used")

    def finish(self, tx: Tx, number: UUID) -> str:
        """End all access of a subject after a complete recovery; return the act of its grant."""
        row = store.read(tx, number)
        self._authenticators.recovered(tx, row.subject_id)
        self._note(tx, "subject.recovered", row)
        self._accounts.notify(tx, row.subject_id, "subject.recovered")
        return row.act

    def _recoverable(
        self, tx: Tx, caller: Caller, subject: UUID | None, act: str
    ) -> tuple[Account, str]:
        """Lock a subject; return it and the address for the code, or raise an error."""
        if subject is None:
            raise NotFound("subject_not_found", "There is no such subject.")
        account = self._accounts.served_locked(tx, caller, subject)
        if caller.operator == subject:
            raise Forbidden("own_recovery", "Operators cannot recover their own accounts.")
        if account.suspended:
            detail = "Signing in is suspended; lift the suspension first, as a separate act."
            raise Conflict("subject_suspended", detail)
        self._require_act(tx, account, act)
        return account, self._address(tx, account)

    def _require_act(self, tx: Tx, account: Account, act: str) -> None:
        kind = act.removeprefix("enroll:")
        if FACTOR_OF_TYPE[kind] not in self._policies.accepts(account.segment):
            detail = "The policy of this person's segment does not accept that factor."
            raise Conflict("factor_not_accepted", detail)
        if lifts(kind, self._authenticators.ever(tx, account.id)):
            detail = "This would raise the account above its former level."
            raise Conflict("above_former_level", detail)
        several = self._authenticators.most(kind) > 1
        if several and kind not in self._authenticators.lacking(tx, account.id):
            detail = "The maximum number is active; recover with enroll:recovery_codes instead."
            raise Conflict(f"too_many_{kind}", detail)

    def _address(self, tx: Tx, account: Account) -> str:
        found = mailbox(tx, account.id)
        now = self._clock.now()
        if found is None:
            detail = "This person has no verified e-mail address, and codes are sent only there."
            raise Conflict("no_recovery_address", detail)
        young = self._policies.cooldown(account.segment)
        if not has_come(found.verified_at, now) or found.verified_at > now - young:
            detail = "The e-mail address was verified too recently for a recovery."
            raise Conflict("young_recovery_address", detail)
        if not self._outbox.reaches(found.address):
            detail = "Delivery to this address is not configured: LAMINA_SMTP_URL is not set."
            raise Unavailable("delivery_not_configured", detail, _HOUR)
        return found.address

    def _require_none(self, tx: Tx, subject: UUID, now: datetime) -> None:
        row = store.under_way(tx, subject)
        if row is None:
            return
        void = row.status == RecoveryState.ASKED and not self._operators.is_pending(
            tx, row.approval_id
        )
        if row.ends_at > now and not void:
            raise _pending()
        self._end(tx, row, state=RecoveryState.OVER, reason="void" if void else "over")

    def _send(self, tx: Tx, row: RecoveryRow, now: datetime) -> None:
        to, reason = self._sendable(tx, row, now)
        if reason:
            self._end(tx, row, state=RecoveryState.STOPPED, reason=reason)
            return
        if not self._outbox.reaches(to):
            # Delivery may be configured again before the recovery expires.
            return
        code = opaque.new_code()
        digest = code_digester(tx, row.id, row.subject_id)(opaque.normalize_code(code))
        if store.move(tx, row, RecoveryState.SENT, digest=digest, ends_at=now + CODE_LIFE):
            message = {"to": to, "code": code}
            self._outbox.put(
                tx, kind=RECOVERY_CODE, subject=row.subject_id, payload=message, life=CODE_LIFE
            )
            self._note(tx, "subject.recovery_sent", row, _both(row))

    def _sendable(self, tx: Tx, row: RecoveryRow, now: datetime) -> tuple[str, str]:
        """Return the address for the code, and a reason if the code must not be sent."""
        account = self._accounts.known(tx, row.subject_id)
        found = mailbox(tx, row.subject_id)
        checks = (
            ("over", row.ends_at > now),
            ("suspended", account is not None and account.may_sign_in),
            ("operator_gone", self._stand(tx, row)),
            ("address_changed", found is not None and self._same(tx, row, found.address)),
        )
        failed = next((name for name, good in checks if not good), "")
        return found.address if found else "", failed

    def _stand(self, tx: Tx, row: RecoveryRow) -> bool:
        """Return whether both operators still hold the required scope."""
        scope = ACTS[RECOVER]
        return all(
            who is not None and self._operators.roles.entitled(tx, who, scope)
            for who in (row.asked_by, row.approved_by)
        )

    def _same(self, tx: Tx, row: RecoveryRow, to: str) -> bool:
        return opaque.equal(row.address, token_digest(tx, to, _ADDRESS, row.id.bytes))

    def _end(
        self,
        tx: Tx,
        row: RecoveryRow,
        *,
        state: RecoveryState,
        reason: str,
        actor: str | None = None,
    ) -> bool:
        if not store.move(tx, row, state):
            return False
        self._note(tx, "subject.recovery_ended", row, actor, reason=reason)
        self._accounts.notify(tx, row.subject_id, "subject.recovery_stopped")
        return True

    def _note(
        self, tx: Tx, kind: str, row: RecoveryRow, actor: str | None = None, **data: str
    ) -> None:
        self._audit.append(
            tx,
            kind,
            subject=row.subject_id,
            actor=actor,
            recovery=str(row.id),
            act=row.act,
            approval=str(row.approval_id),
            operators=_both(row),
            **data,
        )


def code_digester(tx: Tx, number: UUID, subject: UUID) -> Callable[[str], bytes]:
    """Return the digest function of a code, bound to one recovery of one subject."""
    return digester(tx, _CODE, number.bytes + subject.bytes)


def _both(row: RecoveryRow) -> str:
    """Return the operators of a recovery, as the log names them."""
    return "+".join(who for who in (row.asked_by, row.approved_by) if who)


def _pending() -> Conflict:
    detail = "This person has an open recovery; let it end or reject it first."
    return Conflict("recovery_pending", detail)


def _moved() -> Conflict:
    detail = "The verified e-mail address has changed since the request; ask again."
    return Conflict("recovery_address_changed", detail)
