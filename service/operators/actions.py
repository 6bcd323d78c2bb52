"""Give and take roles; ask for, give and use approvals; make the first operator."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from crypto import opaque
from service.accounts.actions import Accounts
from service.audit.actions import AuditLog
from service.domain.assurance import Acr
from service.domain.caller import Caller
from service.domain.clock import Clock, rfc3339
from service.domain.errors import BadInput, Conflict, Expired, Fault, Forbidden, NotFound
from service.domain.ids import new_id
from service.notifications.actions import Outbox
from service.operators import store
from service.operators.model import ACTS, APPROVAL_LIFE, BOOTSTRAP_LIFE, Role, scopes_of
from service.operators.store import Approval, BootstrapToken
from service.store.engine import Tx

BREAK_GLASS: Final = "break_glass"
_PREFIX: Final = "lboot_"
_LISTED: Final = 100


@dataclass(frozen=True, slots=True)
class Act:
    """An act of another feature that is carried out as soon as it is approved.

    Args:
        check: Refuses, with BadInput, a target and parameters that it cannot be done with.
        do: Does it, in the name of the two.
    """

    check: Callable[[Tx, str, Mapping[str, Any]], None]
    do: Callable[[Tx, str, Mapping[str, Any], str], None]


class Operators:
    """Who operates, and what two of them have agreed on.

    Args:
        level: What an operator must be signed in at.
        acts: What is carried out when it is approved, beside the granting of roles.
    """

    def __init__(
        self, accounts: Accounts, audit: AuditLog, outbox: Outbox, clock: Clock, level: Acr,
        acts: Mapping[str, Act],
    ) -> None:  # fmt: skip
        roles = Act(self._check, self._change_role)
        self._acts = {"operators.grant": roles, "operators.revoke": roles, **acts}
        self._accounts = accounts
        self._audit = audit
        self._outbox = outbox
        self._clock = clock
        self.level = level

    def scopes(self, tx: Tx, subject: UUID) -> frozenset[str]:
        """Return what a subject may do as an operator; nothing for everybody else."""
        return scopes_of(store.roles(tx, subject))

    def listing(self, tx: Tx) -> list[dict[str, Any]]:
        """Return every operator's roles."""
        return [
            {
                "subject": str(row.subject_id), "role": row.role,
                "granted_at": rfc3339(row.granted_at), "granted_by": row.granted_by,
            }
            for row in store.listing(tx)
        ]  # fmt: skip

    def bootstrap(self, tx: Tx) -> str:
        """Return a one-time token that makes the first operator.

        Raises:
            Conflict: There is an operator already, who can grant roles.
        """
        if store.listing(tx):
            detail = "there are operators already; ask one of them for: operators.grant"
            raise Conflict("operators_exist", detail)
        token, now = opaque.new_token(_PREFIX), self._clock.now()
        digest = opaque.digest(token, "bootstrap")
        tx.add(BootstrapToken(digest=digest, expires_at=now + BOOTSTRAP_LIFE, used_at=None))
        self.alarm(tx, "operators bootstrap")
        return token

    def begin(self, tx: Tx, subject: UUID, token: str) -> list[str]:
        """Make a subject the first security officer, with the token from the host.

        Raises:
            Forbidden: The token is not good, or there is an operator by now.
        """
        digest = opaque.digest(token, "bootstrap")
        if store.listing(tx) or not store.use_token(tx, digest, self._clock.now()):
            raise Forbidden("bootstrap_refused", "The bootstrap token is used, expired or unknown.")
        self._grant(tx, subject, Role.SECURITY_OFFICER, BREAK_GLASS)
        return [Role.SECURITY_OFFICER.value]

    def request(
        self, tx: Tx, caller: Caller, act: str, target: str, params: Mapping[str, Any], reason: str
    ) -> dict[str, Any]:
        """Ask for an act that takes two people.

        Raises:
            BadInput: There is no such act, or it cannot be done to that target.
            Forbidden: The caller may not do this act even with another.
        """
        scope = ACTS.get(act)
        if scope is None:
            raise BadInput(Fault("/act", "unknown_act", f"must be one of {' '.join(ACTS)}"))
        _require(caller, scope)
        if act in self._acts:
            self._acts[act].check(tx, target, params)
        now = self._clock.now()
        row = Approval(
            id=new_id(now), act=act, target=target, params=dict(params), reason=reason,
            status="pending", requested_by=caller.actor, decided_by=None, created_at=now,
            expires_at=now + APPROVAL_LIFE, used_at=None,
        )  # fmt: skip
        tx.add(row)
        tx.flush()
        self._note(tx, "approval.requested", row, caller.actor)
        return _view(row)

    def decide(self, tx: Tx, caller: Caller, number: UUID, *, approve: bool) -> dict[str, Any]:
        """Approve or reject what another operator asked for.

        Raises:
            NotFound: There is no such approval.
            Forbidden: It is the caller's own request, or not theirs to decide.
            Conflict: It was decided before.
            Expired: It is older than a day.
        """
        row, now = self._row(tx, number), self._clock.now()
        _require(caller, ACTS[row.act])
        if row.requested_by == caller.actor:
            raise Forbidden("same_operator", "Another operator must decide this.")
        status = "approved" if approve else "rejected"
        if not store.decide(tx, number, status, caller.actor, now):
            raise self._why(row)
        row = self._row(tx, number)
        self._note(tx, f"approval.{status}", row, caller.actor)
        if approve and row.act in self._acts:
            actor = self.consume(tx, row.id, row.act, row.target)
            self._acts[row.act].do(tx, row.target, {"act": row.act, **row.params}, actor)
        return _view(self._row(tx, number))

    def consume(self, tx: Tx, number: UUID, act: str, target: str) -> str:
        """Use an approval for exactly what was approved; return who stands for it.

        Raises:
            NotFound, Forbidden, Conflict, Expired: It is none, of another act or target, not
                approved or used before, or older than a day.
        """
        row = self._row(tx, number)
        if (row.act, row.target) != (act, target):
            raise Forbidden("approval_mismatch", "This approval is for another act or target.")
        if not store.use(tx, number, self._clock.now()):
            raise self._why(row)
        self._note(tx, "approval.used", row, str(row.requested_by))
        return f"{row.requested_by}+{row.decided_by}"[:64]

    def show(self, tx: Tx, number: UUID) -> dict[str, Any]:
        """Return an approval; raises NotFound."""
        return _view(self._row(tx, number))

    def waiting(self, tx: Tx) -> list[dict[str, Any]]:
        """Return the approvals of the last day, newest first."""
        return [_view(row) for row in store.approvals(tx, self._clock.now(), _LISTED)]

    def revoke(self, tx: Tx, subject: UUID, role: str, actor: str) -> None:
        """Take a role at once; raises NotFound when the subject does not have it."""
        if not store.revoke(tx, subject, role):
            raise NotFound("role_not_found", "This subject does not have that role.")
        self._audit.append(tx, "operator.revoked", subject=subject, actor=actor, role=role)
        self._outbox.put(tx, "operator.revoked", None, {"subject": str(subject), "role": role})

    def alarm(self, tx: Tx, command: str) -> None:
        """Tell that somebody on the host went past the two-person rule."""
        self._audit.append(tx, "break_glass", actor=BREAK_GLASS, command=command)
        self._outbox.put(tx, "alarm.break_glass", None, {"command": command})

    def _change_role(self, tx: Tx, target: str, params: Mapping[str, Any], actor: str) -> None:
        subject, role = UUID(target), str(params["role"])
        if params["act"] == "operators.grant":
            self._grant(tx, subject, Role(role), actor)
        else:
            self.revoke(tx, subject, role, actor)

    def _grant(self, tx: Tx, subject: UUID, role: Role, actor: str) -> None:
        if store.grant(tx, subject, role, self._clock.now(), actor):
            self._audit.append(tx, "operator.granted", subject=subject, actor=actor, role=role)
            self._outbox.put(tx, "operator.granted", None, {"subject": str(subject), "role": role})

    def _check(self, tx: Tx, target: str, params: Mapping[str, Any]) -> None:
        if params.get("role") not in set(Role):
            known = " ".join(Role)
            raise BadInput(Fault("/params/role", "unknown_role", f"must be one of {known}"))
        try:
            self._accounts.get(tx, UUID(target))
        except (ValueError, NotFound):
            raise BadInput(Fault("/target", "subject_not_found", "is no subject")) from None

    def _row(self, tx: Tx, number: UUID) -> Approval:
        row = store.approval(tx, number)
        if row is None:
            raise NotFound("approval_not_found", "There is no such approval.")
        return row

    def _why(self, row: Approval) -> Conflict | Expired:
        if row.expires_at <= self._clock.now():
            return Expired("approval_expired", "This approval is older than a day; ask again.")
        return Conflict("approval_decided", f"This approval is {row.status}.")

    def _note(self, tx: Tx, kind: str, row: Approval, actor: str) -> None:
        self._audit.append(
            tx, kind, actor=actor, approval=str(row.id), act=row.act, target=row.target
        )
        self._outbox.put(tx, kind, None, {"approval": str(row.id), "act": row.act})


def _require(caller: Caller, scope: str) -> None:
    if caller.operator is None or scope not in caller.scopes:
        raise Forbidden("insufficient_scope", f"This needs an operator with {scope}.", scope=scope)


def _view(row: Approval) -> dict[str, Any]:
    return {
        "id": str(row.id), "act": row.act, "target": row.target, "params": row.params,
        "reason": row.reason, "status": row.status, "requested_by": row.requested_by,
        "decided_by": row.decided_by, "created_at": rfc3339(row.created_at),
        "expires_at": rfc3339(row.expires_at),
        "used_at": rfc3339(row.used_at) if row.used_at else None,
    }  # fmt: skip
