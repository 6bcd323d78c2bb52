"""Repeat each kind of act that a restored backup has undone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from uuid import UUID

from service.app.identity import Identity
from service.domain.clock import Clock
from service.domain.errors import Conflict
from service.keys.actions.crypto_shredding import Shredding
from service.policy.actions.documents import Lives
from service.privacy.actions.repeating import Repeat, Repeating
from service.privacy.model import LedgerAct
from service.store.engine import Store, Tx

_BY = "ledger"


@dataclass(kw_only=True, frozen=True, slots=True)
class RepeatedActs:
    """The acts that are repeated, with the features that own them."""

    identity: Identity
    lives: Lives
    shredding: Shredding
    clock: Clock

    def repeating(self, database: Store) -> Repeating:
        """Return the object that repeats acts, each in its own transaction."""
        return Repeating(database, self.repeats(), partial(self.lives.restore, actor=_BY))

    def repeats(self) -> Mapping[str, Repeat]:
        """Return the function that repeats each kind of act."""
        return {
            "authenticator.revoked": self._owned(self._revoke),
            "recovery_code.used": self._use_code,
            "consent.withdrawn": self._owned(self._withdraw),
            "subject.suspended": self._owned(self._suspend),
            "subject.held": self._owned(self._hold),
            "session.ended": self._end_session,
            "token.revoked": self._revoke_token,
            "client.revoked": self._revoke_client,
            "client.scopes_changed": self._narrow,
            "operator.revoked": self._dismiss,
            "policy.activated": self._activate,
            "policy.rolled_back": self._activate,
            "policy.tightened": self._tighten,
        }

    def _owned(self, repeat: Callable[[Tx, UUID, LedgerAct], bool]) -> Repeat:
        """Lock the subject before repeating its act (ADR 6); an unknown subject raises NotFound."""

        def run(tx: Tx, act: LedgerAct) -> bool:
            if act.subject is None:
                return False
            self.identity.accounts.lock(tx, act.subject)
            return repeat(tx, act.subject, act)

        return run

    def _revoke(self, tx: Tx, subject: UUID, act: LedgerAct) -> bool:
        authenticator = UUID(act.data["id"])
        return _unless(
            "already_revoked",
            partial(self.identity.authenticators.revoke, tx, subject, authenticator),
        )

    def _use_code(self, tx: Tx, act: LedgerAct) -> bool:
        return self.identity.authenticators.use_code(tx, UUID(act.data["id"]))

    def _withdraw(self, tx: Tx, subject: UUID, act: LedgerAct) -> bool:
        self.identity.accounts.consents.withdraw(tx, subject, act.data["purpose"])
        return True

    def _suspend(self, tx: Tx, subject: UUID, act: LedgerAct) -> bool:
        capability = act.data["capability"]
        reason = act.data["reason"]
        return self.identity.suspensions.suspend(
            tx, subject, capability=capability, reason=reason, actor=_BY
        )

    def _hold(self, tx: Tx, subject: UUID, act: LedgerAct) -> bool:
        until = datetime.fromisoformat(act.data["until"])
        try:
            self.shredding.require_free(tx, subject)
        except Conflict:
            return False
        if until > self.clock.now():
            self.shredding.hold(tx, subject, until=until, reason=act.data["reason"], actor=_BY)
        return until > self.clock.now()

    def _end_session(self, tx: Tx, act: LedgerAct) -> bool:
        return self.identity.sessions.end(tx, UUID(act.data["session"]), act.data["reason"])

    def _revoke_token(self, tx: Tx, act: LedgerAct) -> bool:
        return self.identity.tokens.list_revoked(tx, UUID(act.data["jti"]), act.at)

    def _revoke_client(self, tx: Tx, act: LedgerAct) -> bool:
        client = UUID(act.data["client"])
        if self.identity.clients.active(tx, client) is None:
            return False
        self.identity.clients.revoke(tx, client)
        return True

    def _narrow(self, tx: Tx, act: LedgerAct) -> bool:
        """Remove the scopes that a change removed; never grant the ones that it added."""
        client = self.identity.clients.active(tx, UUID(act.data["client"]))
        if client is None:
            return False
        left = set(act.data["scopes"])
        if client.scopes | client.idle <= left:
            return False
        # Idle scopes cannot be granted again, so they are removed too.
        if kept := sorted(client.scopes & left):
            scopes = {"scopes": " ".join(kept)}
            self.identity.clients.approve_scopes(tx, act.data["client"], scopes, _BY)
        else:
            self.identity.clients.revoke(tx, client.id)
        return True

    def _dismiss(self, tx: Tx, act: LedgerAct) -> bool:
        if act.subject is None:
            return False
        self.identity.operators.roles.revoke(tx, act.subject, act.data["role"], _BY)
        return True

    def _activate(self, tx: Tx, act: LedgerAct) -> bool:
        return _unless("policy_active", partial(self.lives.activate, tx, act.policy, _BY))

    def _tighten(self, tx: Tx, act: LedgerAct) -> bool:
        """Set the threshold shift again if it is stricter than the one in the backup."""
        left = datetime.fromisoformat(act.data["expires_at"]) - self.clock.now()
        now = self.lives.parameters(tx)["tighten"]
        if left.total_seconds() <= 0 or act.data["target"] <= max(now["target"], now["value"]):
            return False
        self.lives.tighten(
            tx, target=act.data["target"], ramp=1, life=left, actor=_BY, approved=True
        )
        return True


def _unless(code: str, do: Callable[[], object]) -> bool:
    """Call a function; return False if it is refused with this code as already in effect."""
    try:
        do()
    except Conflict as error:
        if error.code != code:
            raise
        return False
    return True
