"""Request, give and use the approvals of acts that take two operators."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from service.accounts.actions.accounts import Accounts
from service.audit.actions.audit_log import AuditLog
from service.domain.assurance import Acr
from service.domain.bounds import USUAL, Bounds, room_in
from service.domain.caller import Caller
from service.domain.clock import Clock, rfc3339
from service.domain.errors import BadInput, Conflict, Expired, Fault, Forbidden, NotFound, TooMany
from service.domain.ids import new_id
from service.notifications.actions.outbox import Outbox
from service.operators import store
from service.operators.actions.break_glass import BreakGlass
from service.operators.actions.roles import Roles
from service.operators.followed import Followed, RequestedAct
from service.operators.model import (
    ACTS,
    APPROVAL_LIFE,
    agreed,
    canonical,
)
from service.operators.store import Approval
from service.operators.views import ApprovalView, StartedAct
from service.store.engine import Tx
from service.store.erasing import ends_after_restore
from service.store.turns import take_turn
from service.web.paging import Page, PageRequest

_ROLE_ACTS: Final = frozenset({"operators.grant", "operators.revoke"})
_CLOSED: Final = 1000
"""How many approvals a restore closes per page; it repeats until none is left."""
_NOTHING: Final[Mapping[str, object]] = {}
_APPROVALS_KEPT: Final = timedelta(days=400)
_TOKENS_KEPT: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ApprovedAct:
    """An act of another feature that runs as soon as it is approved.

    Args:
        check: Raises BadInput for a target or parameters with which the act cannot run.
        do: Runs the act in the name of both operators.
    """

    check: Callable[[Tx, str, Mapping[str, str]], None]
    do: Callable[[Tx, str, Mapping[str, str], str], None]


class Operators:
    """The approvals of acts that take two operators, beside their `roles` and `break_glass`.

    Args:
        level: The assurance level at which an operator must be signed in.
        acts: Acts that run on approval, beside granting and revoking roles.
    """

    def __init__(  # noqa: PLR0913 - one argument per dependency
        self,
        *,
        accounts: Accounts,
        audit: AuditLog,
        outbox: Outbox,
        clock: Clock,
        level: Acr,
        acts: Mapping[str, ApprovedAct],
        bounds: Bounds = USUAL,
    ) -> None:
        self.roles = Roles(accounts=accounts, audit=audit, outbox=outbox, clock=clock)
        self.break_glass = BreakGlass(
            self.roles, accounts=accounts, audit=audit, outbox=outbox, clock=clock
        )
        self._bounds = bounds
        self._acts = {
            "operators.grant": ApprovedAct(self.roles.check, self.roles.give),
            "operators.revoke": ApprovedAct(self.roles.check, self.roles.take),
        } | dict(acts)
        self._followed: dict[str, Followed] = {}
        self._audit = audit
        self._outbox = outbox
        self._clock = clock
        self.level = level

    def follow(self, act: str, feature: Followed) -> None:
        """Register a feature to be notified of each step of the approvals of an act."""
        self._followed[act] = feature

    def request(
        self,
        tx: Tx,
        caller: Caller,
        *,
        act: str,
        target: str,
        params: Mapping[str, object],
        reason: str,
    ) -> ApprovalView:
        """Request an act that needs a second operator's approval.

        Raises:
            BadInput: The act is unknown, or cannot run on this target or with these parameters.
            Forbidden: The caller lacks the scope of this act.
            TooMany: The caller has as many undecided requests as are allowed.
        """
        scope = ACTS.get(act)
        if scope is None:
            raise BadInput(Fault("/act", "unknown_act", f"must be one of {' '.join(ACTS)}"))
        require(caller, scope)
        target = canonical(act, target)
        params = agreed(act, target, params)
        if act in self._acts:
            self._acts[act].check(tx, target, params)
        now = self._clock.now()
        most = self._bounds.max_approvals
        number = new_id(now)
        if act in self._followed:
            self._followed[act].ask(tx, caller, RequestedAct(number, target, params))
        take_turn(tx, "approvals", caller.actor)
        open_ones = store.undecided(tx, caller.actor, now)
        if len(open_ones) >= most:
            detail = f"{most} acts that you requested are still undecided."
            raise TooMany("too_many_approvals", detail, room_in(open_ones, most, now))
        row = Approval(
            id=number,
            act=act,
            target=target,
            params=params,
            reason=reason,
            status="pending",
            requested_by=caller.actor,
            decided_by=None,
            created_at=now,
            expires_at=now + APPROVAL_LIFE,
            used_at=None,
        )
        tx.add(row)
        tx.flush()
        self._note(tx, "approval.requested", row, caller.actor)
        return _view(row)

    def require(self, tx: Tx, caller: Caller, number: UUID) -> None:
        """Check that the caller may decide an approval; raises NotFound or Forbidden."""
        require(caller, ACTS[self._row(tx, number).act])

    def decide(self, tx: Tx, caller: Caller, number: UUID, *, approve: bool) -> ApprovalView:
        """Approve or reject the request of another operator.

        Raises:
            NotFound: No such approval exists.
            Forbidden: It is the caller's own request, or the caller lacks the scope.
            Conflict: It was decided before, or the requester no longer has the scope.
            Expired: It is older than a day.
        """
        row = self._row(tx, number)
        now = self._clock.now()
        require(caller, ACTS[row.act])
        asked = RequestedAct(row.id, row.target, row.params)
        followed = self._followed.get(row.act)
        if row.act in _ROLE_ACTS:
            self.roles.lock(tx, UUID(row.target))
        if followed is not None:
            followed.hold(tx, asked)
        store.lock_roles(tx)
        if not self.roles.may(tx, caller.actor, ACTS[row.act]):
            raise _insufficient(ACTS[row.act])
        if followed is not None and not approve and self._row(tx, number).status == "used":
            return self._stop(tx, caller, row, followed.reject(tx, caller, asked))
        if row.requested_by == caller.actor:
            raise Forbidden("same_operator", "Another operator must decide this.")
        status = "approved" if approve else "rejected"
        if approve and not self.roles.may(tx, row.requested_by, ACTS[row.act]):
            raise _void()
        if not store.decide(tx, number=number, status=status, by=caller.actor, now=now):
            raise self._why(self._row(tx, number))
        row = self._row(tx, number)
        self._note(tx, f"approval.{status}", row, caller.actor)
        started = self._carry_out(tx, caller, row, asked)
        return _view(self._row(tx, number), started)

    def _carry_out(self, tx: Tx, caller: Caller, row: Approval, asked: RequestedAct) -> StartedAct:
        """Run an approved act that needs no later call, or undo what its request prepared."""
        followed = self._followed.get(row.act)
        if row.status == "rejected":
            if followed is not None:
                followed.reject(tx, caller, asked)
            return {}
        if followed is None and row.act not in self._acts:
            return {}
        params = agreed(row.act, row.target, row.params)
        actor = self.consume(
            tx, caller, number=row.id, act=row.act, target=row.target, params=params
        )
        if followed is not None:
            return followed.approve(tx, caller, asked)
        self._acts[row.act].do(tx, row.target, params, actor)
        return {}

    def _stop(self, tx: Tx, caller: Caller, row: Approval, ended: object) -> ApprovalView:
        """Record that one operator stopped an act that two had approved; raises Conflict."""
        if not ended or not store.stop(tx, row.id):
            raise self._why(self._row(tx, row.id))
        self._note(tx, "approval.stopped", row, caller.actor)
        return _view(self._row(tx, row.id))

    def is_pending(self, tx: Tx, number: UUID) -> bool:
        """Tell whether an approval is still pending."""
        row = store.approval(tx, number)
        now = self._clock.now()
        return row is not None and row.status == "pending" and now < row.expires_at

    def consume(
        self,
        tx: Tx,
        caller: Caller,
        *,
        number: UUID,
        act: str,
        target: str,
        params: Mapping[str, object] = _NOTHING,
    ) -> str:
        """Use an approval for exactly what was approved; return the actors who agreed on it.

        Args:
            tx: A transaction.
            caller: The requester or the approver.
            number: The id of the approval.
            act: The act that is about to run.
            target: The target of the act.
            params: The parameters of the act.

        Raises:
            NotFound: No such approval exists.
            Forbidden: It covers another act, target or parameters, or is of two other operators.
            Conflict: It is not approved, was used before, or one of the two has lost the scope.
            Expired: It is older than a day.
        """
        store.lock_roles(tx)
        row = self._row(tx, number)
        wanted = agreed(act, target, params)
        if (row.act, row.target) != (act, target) or agreed(act, target, row.params) != wanted:
            detail = "This approval is for another act, target or parameters."
            raise Forbidden("approval_mismatch", detail, act=act, target=target, params=wanted)
        stand = [row.requested_by, str(row.decided_by)]
        if row.status == "approved" and caller.actor not in stand:
            detail = "Only the requester or the approver may use this approval."
            raise Forbidden("approval_of_others", detail)
        if row.status == "approved" and not all(
            self.roles.may(tx, who, ACTS[act]) for who in stand
        ):
            raise _void()
        if not store.use(tx, number, self._clock.now()):
            raise self._why(self._row(tx, number))
        self._note(tx, "approval.used", row, caller.actor)
        return "+".join(stand)

    def show(self, tx: Tx, number: UUID) -> ApprovalView:
        """Return an approval; raises NotFound."""
        return _view(self._row(tx, number))

    def waiting(self, tx: Tx, page: PageRequest) -> Page[ApprovalView]:
        """Return a page of the approvals of the last day, newest first."""
        rows = store.approvals(tx, self._clock.now(), page.after, page.fetched)
        return page.answer(rows, lambda row: row.id, _view)

    @ends_after_restore
    def close_approvals(self, tx: Tx, actor: str = "ledger") -> int:
        """Close all open approvals: a restored database may hold approvals that were used since."""
        now = self._clock.now()
        closed = 0
        last = None
        store.close_tokens(tx, now)
        while rows := store.approvals(tx, now, last, _CLOSED):
            closed += sum(
                store.decide(tx, number=row.id, status="rejected", by=actor, now=now)
                or store.use(tx, row.id, now)
                for row in rows
            )
            last = rows[-1].id
        return closed

    def drop_old(self, tx: Tx, now: datetime) -> int:
        """Delete a page of approvals and tokens that expired long ago; return how many."""
        return store.drop_old(tx, now - _APPROVALS_KEPT, now - _TOKENS_KEPT)

    def _row(self, tx: Tx, number: UUID) -> Approval:
        row = store.approval(tx, number)
        if row is None:
            raise NotFound("approval_not_found", "There is no such approval.")
        return row

    def _why(self, row: Approval) -> Conflict | Expired:
        if row.status == "void":
            return _void()
        if row.expires_at <= self._clock.now():
            return Expired("approval_expired", "This approval is older than a day; ask again.")
        return Conflict("approval_decided", f"This approval is {row.status}.")

    def _note(self, tx: Tx, kind: str, row: Approval, actor: str | None) -> None:
        self._audit.append(
            tx, kind, actor=actor, approval=str(row.id), act=row.act, target=row.target
        )
        self._outbox.put(
            tx, kind=kind, subject=None, payload={"approval": str(row.id), "act": row.act}
        )


def require(caller: Caller, scope: str) -> None:
    """Refuse every caller except operators with a scope; raises Forbidden."""
    if caller.operator is None or scope not in caller.scopes:
        raise _insufficient(scope)


def _insufficient(scope: str) -> Forbidden:
    return Forbidden("insufficient_scope", f"This needs an operator with {scope}.", scope=scope)


def _void() -> Conflict:
    return Conflict("approval_void", "Who asked for this, or gave it, may not any more; ask again.")


def _view(row: Approval, started: StartedAct | None = None) -> ApprovalView:
    view: ApprovalView = {
        "id": str(row.id),
        "act": row.act,
        "target": row.target,
        "params": row.params,
        "reason": row.reason,
        "status": row.status,
        "requested_by": row.requested_by,
        "decided_by": row.decided_by,
        "created_at": rfc3339(row.created_at),
        "expires_at": rfc3339(row.expires_at),
        "used_at": rfc3339(row.used_at) if row.used_at else None,
    }
    if started and "recovery" in started:
        view["recovery"] = started["recovery"]
    return view
