"""Grant, revoke and list the roles of operators."""

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from itertools import groupby
from uuid import UUID

from service.accounts.actions.accounts import Accounts
from service.audit.actions.audit_log import AuditLog
from service.domain.caller import SERVICE
from service.domain.clock import Clock, rfc3339
from service.domain.errors import BadInput, Fault, NotFound
from service.jobs.actions.long import void_queued
from service.notifications.actions.outbox import Outbox
from service.operators import store
from service.operators.model import (
    ACTS,
    QUORUM,
    Role,
    actor_of,
    acts_within,
    operator_named,
    scopes_of,
)
from service.operators.views import OperatorPage, RoleView, ShortScope
from service.store.engine import AnyRow, Tx
from service.store.erasing import EVERYTHING, ErasureTurn, erases
from service.web.paging import PageRequest


class Roles:
    """The roles of operators, and what ends with one."""

    def __init__(
        self, *, accounts: Accounts, audit: AuditLog, outbox: Outbox, clock: Clock
    ) -> None:
        self._accounts = accounts
        self._audit = audit
        self._outbox = outbox
        self._clock = clock

    def scopes(self, tx: Tx, subject: UUID) -> frozenset[str]:
        """Return the operator scopes of a subject; empty for a subject without a role."""
        return scopes_of(store.roles(tx, subject))

    def listing(self, tx: Tx) -> list[RoleView]:
        """Return every operator's roles."""
        return [_view(row) for row in store.listing(tx)]

    def page(self, tx: Tx, page: PageRequest) -> OperatorPage:
        """Return a page of operators in order of their ids, with one item per role."""
        rows = store.page(tx, page.after, page.fetched)
        each = [list(group) for _, group in groupby(rows, key=lambda row: row.subject_id)]
        found = page.answer(each, lambda group: group[0].subject_id, list)
        items = [_view(row) for group in found["items"] for row in group]
        return {"items": items, "next_cursor": found["next_cursor"], "short": self.short(tx)}

    def short(self, tx: Tx) -> list[ShortScope]:
        """Return the scopes that fewer than two usable operators hold, with how many hold them."""
        able = Counter(
            scope
            for subject in {row.subject_id for row in store.listing(tx)}
            if self._usable(tx, subject)
            for scope in self.scopes(tx, subject)
        )
        wanted = sorted(set(ACTS.values()))
        return [{"scope": name, "able": able[name]} for name in wanted if able[name] < QUORUM]

    def entitled(self, tx: Tx, actor: str, scope: str) -> bool:
        """Tell whether an actor still has the scope of its request; only operators can lose one."""
        return operator_named(actor) is None or self.may(tx, actor, scope)

    def may(self, tx: Tx, actor: str, scope: str) -> bool:
        """Return whether an operator who may sign in holds a scope."""
        subject = operator_named(actor)
        if subject is None or scope not in self.scopes(tx, subject):
            return False
        return self._usable(tx, subject)

    def lock(self, tx: Tx, subject: UUID) -> None:
        """Lock a subject; an erased one is ignored, because it may still have a role."""
        with suppress(NotFound):
            self._accounts.lock(tx, subject)

    def grant(self, tx: Tx, subject: UUID, role: Role, actor: str) -> bool:
        """Grant a role, with the roles locked; return False if the subject has it already."""
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

    def revoke(self, tx: Tx, subject: UUID, role: str, actor: str) -> None:
        """Revoke a role at once, and void the requests and approvals that depend on it.

        Raises:
            NotFound: The subject does not have the role.
        """
        self.lock(tx, subject)
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

    @erases(EVERYTHING, tables=("operator_role",), turn=ErasureTurn.FIRST)
    def erase(self, tx: Tx, subject: UUID) -> None:
        """Revoke all roles of a subject that is erased."""
        for role in sorted(store.roles(tx, subject)):
            with suppress(NotFound):
                self.revoke(tx, subject, role, SERVICE)

    def check(self, tx: Tx, target: str, params: Mapping[str, str]) -> None:
        """Refuse a request to grant or revoke a role that cannot be carried out."""
        if params.get("role") not in set(Role):
            known = " ".join(Role)
            raise BadInput(Fault("/params/role", "unknown_role", f"must be one of {known}"))
        try:
            self._accounts.get(tx, UUID(target))
        except (ValueError, NotFound):
            raise BadInput(Fault("/target", "subject_not_found", "is not a subject")) from None

    def give(self, tx: Tx, target: str, params: Mapping[str, str], actor: str) -> None:
        """Grant the role that two operators approved."""
        subject = UUID(target)
        self._accounts.get(tx, subject)
        self.grant(tx, subject, Role(params["role"]), actor)
        store.close_tokens(tx, self._clock.now())

    def take(self, tx: Tx, target: str, params: Mapping[str, str], actor: str) -> None:
        """Revoke the role that two operators approved to revoke."""
        self.revoke(tx, UUID(target), params["role"], actor)

    def _usable(self, tx: Tx, subject: UUID) -> bool:
        account = self._accounts.known(tx, subject)
        return account is not None and account.may_sign_in

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


def _view(row: AnyRow) -> RoleView:
    return {
        "subject": str(row.subject_id),
        "role": row.role,
        "granted_at": rfc3339(row.granted_at),
        "granted_by": row.granted_by,
    }
