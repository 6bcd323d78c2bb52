"""Grant and revoke roles; request, give and use approvals; bootstrap the first operators."""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Final
from uuid import UUID

from crypto import opaque
from service.accounts.actions.accounts import Accounts
from service.audit.actions.audit_log import AuditLog
from service.domain.assurance import Acr
from service.domain.bounds import USUAL, Bounds, room_in
from service.domain.caller import SERVICE, Caller
from service.domain.clock import Clock
from service.domain.errors import BadInput, Conflict, Expired, Fault, Forbidden, NotFound, TooMany
from service.domain.ids import new_id
from service.jobs.actions.long import void_queued
from service.notifications.actions.outbox import Outbox
from service.operators import store
from service.operators.followed import Followed, RequestedAct
from service.operators.model import (
    ACTS,
    APPROVAL_LIFE,
    BOOTSTRAP_LIFE,
    MOST_FIRST,
    QUORUM,
    Role,
    actor_of,
    acts_within,
    agreed,
    canonical,
    operator_named,
    scopes_of,
)
from service.operators.store import Approval
from service.operators.views import of_approval, of_role
from service.store.bearer import token_digest
from service.store.engine import Tx
from service.store.turns import take_turn
from service.web.paging import Page, PageRequest

BREAK_GLASS: Final = "break_glass"
_PREFIX: Final = "lboot_"
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

    check: Callable[[Tx, str, Mapping[str, object]], None]
    do: Callable[[Tx, str, Mapping[str, object], str], None]


class Operators:
    """Operators' roles and the approvals of two-person acts.

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
        self._bounds = bounds
        self._acts = {
            "operators.grant": ApprovedAct(self._check, self._give),
            "operators.revoke": ApprovedAct(self._check, self._take),
        } | dict(acts)
        self._followed: dict[str, Followed] = {}
        self._accounts = accounts
        self._audit = audit
        self._outbox = outbox
        self._clock = clock
        self.level = level

    def follow(self, act: str, feature: Followed) -> None:
        """Register a feature to be notified of each step of the approvals of an act."""
        self._followed[act] = feature

    def scopes(self, tx: Tx, subject: UUID) -> frozenset[str]:
        """Return the operator scopes of a subject; empty for a subject without a role."""
        return scopes_of(store.roles(tx, subject))

    def listing(self, tx: Tx) -> list[dict[str, Any]]:
        """Return every operator's roles."""
        return [of_role(row) for row in store.listing(tx)]

    def page(self, tx: Tx, page: PageRequest) -> dict[str, Any]:
        """Return a page of operators in order of their ids, with one item per role."""
        rows = store.page(tx, page.after, page.fetched)
        each = [list(group) for _, group in groupby(rows, key=lambda row: row.subject_id)]
        answer = page.answer(each, lambda group: group[0].subject_id, list)
        return answer | {"items": [of_role(row) for group in answer["items"] for row in group]}

    def short(self, tx: Tx) -> list[dict[str, Any]]:
        """Return the scopes that fewer than two usable operators hold, with how many hold them."""
        able = Counter(
            scope
            for subject in {row.subject_id for row in store.listing(tx)}
            if self._usable(tx, subject)
            for scope in self.scopes(tx, subject)
        )
        wanted = sorted(set(ACTS.values()))
        return [{"scope": name, "able": able[name]} for name in wanted if able[name] < QUORUM]

    def bootstrap(self, tx: Tx, seats: int = QUORUM, *, reopen: bool = False) -> list[str]:
        """Create one-time tokens; each makes one subject a first operator within a day.

        Args:
            tx: A transaction.
            seats: How many: two, so that they can approve the next operator together, or three.
            reopen: Void earlier tokens and start a new round, even if operators exist.

        Raises:
            BadInput: The number of seats is out of range.
            Conflict: Tokens were issued before, or operators exist, who can grant roles.
        """
        if not QUORUM <= seats <= MOST_FIRST:
            raise BadInput(Fault("/operators", "bad_count", f"must be {QUORUM} to {MOST_FIRST}"))
        if store.listing(tx) and not reopen:
            detail = "there are operators already; two of them grant others: operators.grant"
            raise Conflict("operators_exist", f"{detail}; or: lamina operators grant")
        last = store.last_round(tx)
        if last and not reopen:
            detail = "bootstrap was opened before; to end its tokens and begin again: --reopen"
            raise Conflict("bootstrap_opened", detail)
        now = self._clock.now()
        store.close_tokens(tx, now)
        tokens = [opaque.new_token(_PREFIX) for _ in range(seats)]
        for seat, token in enumerate(tokens, 1):
            values = {
                "digest": token_digest(tx, token, "bootstrap"),
                "round": last + 1,
                "seat": seat,
                "expires_at": now + BOOTSTRAP_LIFE,
                "used_at": None,
            }
            if not store.add_token(tx, values):
                raise Conflict("bootstrap_opened", "another process is opening bootstrap")
        self.alarm(tx, "operators bootstrap --reopen" if reopen else "operators bootstrap")
        return tokens

    def begin(self, tx: Tx, subject: UUID, token: str) -> list[str]:
        """Make a subject one of the first security officers, with a bootstrap token.

        Raises:
            Forbidden: The token is used, expired or unknown, or all first operators exist.
            Conflict: The subject is an officer already: each token is for a different person.
        """
        self._accounts.lock(tx, subject)
        store.lock_roles(tx)
        if not store.use_token(tx, token_digest(tx, token, "bootstrap"), self._clock.now()):
            raise Forbidden("bootstrap_refused", "The bootstrap token is used, expired or unknown.")
        if not self._grant(tx, subject, Role.SECURITY_OFFICER, BREAK_GLASS):
            raise Conflict("already_operator", "Use each token for a different person.")
        return [Role.SECURITY_OFFICER.value]

    def grant(self, tx: Tx, subject: UUID, role: Role) -> None:
        """Grant a role from the host, bypassing the two-person rule; raises an alarm.

        Raises:
            NotFound: No such subject exists.
            Conflict: The subject has the role already.
        """
        self._accounts.lock(tx, subject)
        store.lock_roles(tx)
        if not self._grant(tx, subject, role, BREAK_GLASS):
            raise Conflict("role_held", "This subject has that role already.")
        store.close_tokens(tx, self._clock.now())
        self.alarm(tx, "operators grant")

    def request(
        self,
        tx: Tx,
        caller: Caller,
        *,
        act: str,
        target: str,
        params: Mapping[str, object],
        reason: str,
    ) -> dict[str, Any]:
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
        now, most = self._clock.now(), self._bounds.max_approvals
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
        return of_approval(row)

    def require(self, tx: Tx, caller: Caller, number: UUID) -> None:
        """Check that the caller may decide an approval; raises NotFound or Forbidden."""
        require(caller, ACTS[self._row(tx, number).act])

    def decide(self, tx: Tx, caller: Caller, number: UUID, *, approve: bool) -> dict[str, Any]:
        """Approve or reject the request of another operator.

        Raises:
            NotFound: No such approval exists.
            Forbidden: It is the caller's own request, or the caller lacks the scope.
            Conflict: It was decided before, or the requester no longer has the scope.
            Expired: It is older than a day.
        """
        row, now = self._row(tx, number), self._clock.now()
        require(caller, ACTS[row.act])
        asked = RequestedAct(row.id, row.target, row.params)
        followed = self._followed.get(row.act)
        if row.act in _ROLE_ACTS:
            self._lock(tx, UUID(row.target))
        if followed is not None:
            followed.hold(tx, asked)
        store.lock_roles(tx)
        if not self._may(tx, caller.actor, ACTS[row.act]):
            raise _insufficient(ACTS[row.act])
        if followed is not None and not approve and self._row(tx, number).status == "used":
            return self._stop(tx, caller, row, followed.reject(tx, caller, asked))
        if row.requested_by == caller.actor:
            raise Forbidden("same_operator", "Another operator must decide this.")
        status = "approved" if approve else "rejected"
        if approve and not self._may(tx, row.requested_by, ACTS[row.act]):
            raise _void()
        if not store.decide(tx, number=number, status=status, by=caller.actor, now=now):
            raise self._why(self._row(tx, number))
        row = self._row(tx, number)
        self._note(tx, f"approval.{status}", row, caller.actor)
        return of_approval(row) | self._carry_out(tx, caller, row, asked)

    def _carry_out(
        self, tx: Tx, caller: Caller, row: Approval, asked: RequestedAct
    ) -> dict[str, Any]:
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
        reported: Mapping[str, object] = {}
        if followed is not None:
            reported = followed.approve(tx, caller, asked)
        else:
            self._acts[row.act].do(tx, row.target, params, actor)
        return of_approval(self._row(tx, row.id)) | dict(reported)

    def _stop(self, tx: Tx, caller: Caller, row: Approval, ended: object) -> dict[str, Any]:
        """Record that one operator stopped an act that two had approved; raises Conflict."""
        if not ended or not store.stop(tx, row.id):
            raise self._why(self._row(tx, row.id))
        self._note(tx, "approval.stopped", row, caller.actor)
        return of_approval(self._row(tx, row.id))

    def waits(self, tx: Tx, number: UUID) -> bool:
        """Tell whether an approval is still pending."""
        row = store.approval(tx, number)
        now = self._clock.now()
        return row is not None and row.status == "pending" and now < row.expires_at

    def consume(
        self,
        tx: Tx,
        caller: Caller,
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
        if row.status == "approved" and not all(self._may(tx, who, ACTS[act]) for who in stand):
            raise _void()
        if not store.use(tx, number, self._clock.now()):
            raise self._why(self._row(tx, number))
        self._note(tx, "approval.used", row, caller.actor)
        return "+".join(stand)

    def show(self, tx: Tx, number: UUID) -> dict[str, Any]:
        """Return an approval; raises NotFound."""
        return of_approval(self._row(tx, number))

    def waiting(self, tx: Tx, page: PageRequest) -> Page[dict[str, Any]]:
        """Return a page of the approvals of the last day, newest first."""
        rows = store.approvals(tx, self._clock.now(), page.after, page.fetched)
        return page.answer(rows, lambda row: row.id, of_approval)

    def revoke(self, tx: Tx, subject: UUID, role: str, actor: str) -> None:
        """Revoke a role at once, and void the requests and approvals that depend on it.

        Raises:
            NotFound: The subject does not have the role.
        """
        self._lock(tx, subject)
        store.lock_roles(tx)
        before = self.scopes(tx, subject)
        if not store.revoke(tx, subject, role):
            raise NotFound("role_not_found", "This subject does not have that role.")
        # A dismissed operator must not return with an unused token.
        store.close_tokens(tx, self._clock.now())
        self._end_requests(tx, subject, before - self.scopes(tx, subject), actor)
        self._audit.append(tx, "operator.revoked", subject=subject, actor=actor, role=role)
        self._outbox.put(
            tx,
            kind="operator.revoked",
            subject=None,
            payload={"subject": str(subject), "role": role},
        )
        if short := self.short(tx):
            self._outbox.put(
                tx, kind="alarm.operators_short", subject=None, payload={"short": short}
            )

    def suspended(self, tx: Tx, subject: UUID) -> None:
        """Void the requests and approvals of an operator who may no longer sign in."""
        if scopes := self.scopes(tx, subject):
            store.lock_roles(tx)
            self._end_requests(tx, subject, scopes, None)

    def delete_for(self, tx: Tx, subject: UUID) -> None:
        """Revoke all roles of a subject that is erased."""
        for role in sorted(store.roles(tx, subject)):
            with suppress(NotFound):
                self.revoke(tx, subject, role, SERVICE)

    def stands(self, tx: Tx, actor: str, scope: str) -> bool:
        """Tell whether an actor still has the scope of its request; only operators can lose one."""
        return operator_named(actor) is None or self._may(tx, actor, scope)

    def close_approvals(self, tx: Tx, actor: str) -> int:
        """Close all open approvals: a restored database may hold approvals that were used since."""
        now, closed, last = self._clock.now(), 0, None
        store.close_tokens(tx, now)
        while rows := store.approvals(tx, now, last, _CLOSED):
            closed += sum(
                store.decide(tx, number=row.id, status="rejected", by=actor, now=now)
                or store.use(tx, row.id, now)
                for row in rows
            )
            last = rows[-1].id
        return closed

    def alarm(self, tx: Tx, command: str, subject: UUID | None = None) -> None:
        """Record a bypass of the two-person rule from the host, and raise an alarm."""
        self._audit.append(tx, "break_glass", subject=subject, actor=BREAK_GLASS, command=command)
        self._outbox.put(tx, kind="alarm.break_glass", subject=None, payload={"command": command})

    def _give(self, tx: Tx, target: str, params: Mapping[str, object], actor: str) -> None:
        subject = UUID(target)
        self._accounts.get(tx, subject)
        self._grant(tx, subject, Role(str(params["role"])), actor)
        store.close_tokens(tx, self._clock.now())

    def _take(self, tx: Tx, target: str, params: Mapping[str, object], actor: str) -> None:
        self.revoke(tx, UUID(target), str(params["role"]), actor)

    def _grant(self, tx: Tx, subject: UUID, role: Role, actor: str) -> bool:
        if not store.grant(tx, subject, role=role, now=self._clock.now(), by=actor):
            return False
        self._audit.append(tx, "operator.granted", subject=subject, actor=actor, role=role)
        self._outbox.put(
            tx,
            kind="operator.granted",
            subject=None,
            payload={"subject": str(subject), "role": role},
        )
        return True

    def _lock(self, tx: Tx, subject: UUID) -> None:
        """Lock a subject; an erased one is ignored, because it may still have a role."""
        with suppress(NotFound):
            self._accounts.lock(tx, subject)

    def _usable(self, tx: Tx, subject: UUID) -> bool:
        account = self._accounts.known(tx, subject)
        return account is not None and account.may_sign_in

    def _may(self, tx: Tx, actor: str, scope: str) -> bool:
        subject = operator_named(actor)
        if subject is None or scope not in self.scopes(tx, subject):
            return False
        return self._usable(tx, subject)

    def _end_requests(
        self, tx: Tx, subject: UUID, scopes: frozenset[str], actor: str | None
    ) -> None:
        """Void the approvals and queued jobs of an operator who has lost some scopes."""
        who = actor_of(subject)
        for row in store.void(tx, who, acts_within(scopes)):
            self._audit.append(
                tx, "approval.void", subject=subject, actor=actor, approval=str(row.id), act=row.act
            )
        for number in void_queued(tx, who, scopes, self._clock.now()):
            self._audit.append(tx, "job.void", subject=subject, actor=actor, job=str(number))

    def _check(self, tx: Tx, target: str, params: Mapping[str, object]) -> None:
        if params.get("role") not in set(Role):
            known = " ".join(Role)
            raise BadInput(Fault("/params/role", "unknown_role", f"must be one of {known}"))
        try:
            self._accounts.get(tx, UUID(target))
        except (ValueError, NotFound):
            raise BadInput(Fault("/target", "subject_not_found", "is not a subject")) from None

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
