"""Acts from the host that bypass the two-person rule, and the tokens of the first operators."""

from typing import Final
from uuid import UUID

from crypto import opaque
from service.accounts.actions.accounts import Accounts
from service.audit.actions.audit_log import AuditLog
from service.domain.clock import Clock
from service.domain.errors import BadInput, Conflict, Fault, Forbidden
from service.notifications.actions.outbox import Outbox
from service.operators import store
from service.operators.actions.roles import Roles
from service.operators.model import BOOTSTRAP_LIFE, BREAK_GLASS, MOST_FIRST, QUORUM, Role
from service.store.bearer import token_digest
from service.store.engine import Tx

_PREFIX: Final = "lboot_"


class BreakGlass:
    """Acts of the host's command line; each is recorded and raises an alarm."""

    def __init__(
        self, roles: Roles, *, accounts: Accounts, audit: AuditLog, outbox: Outbox, clock: Clock
    ) -> None:
        self._roles = roles
        self._accounts = accounts
        self._audit = audit
        self._outbox = outbox
        self._clock = clock

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
        if not self._roles.grant(tx, subject, Role.SECURITY_OFFICER, BREAK_GLASS):
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
        if not self._roles.grant(tx, subject, role, BREAK_GLASS):
            raise Conflict("role_held", "This subject has that role already.")
        store.close_tokens(tx, self._clock.now())
        self.alarm(tx, "operators grant")

    def alarm(self, tx: Tx, command: str, subject: UUID | None = None) -> None:
        """Record a bypass of the two-person rule from the host, and raise an alarm."""
        self._audit.append(tx, "break_glass", subject=subject, actor=BREAK_GLASS, command=command)
        self._outbox.put(tx, kind="alarm.break_glass", subject=None, payload={"command": command})
