"""Grants: permissions for one change of a subject, issued by flows and used once."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from crypto import opaque
from service.accounts.model import Account
from service.audit.actions.audit_log import AuditLog
from service.authenticators.access import Access
from service.authenticators.store import grants as store
from service.authenticators.store.grants import Grant
from service.domain.caller import Caller
from service.domain.clock import SKEW, Clock, in_force
from service.domain.errors import Forbidden
from service.domain.ids import new_id
from service.store.bearer import token_digest
from service.store.engine import Tx
from service.store.erasing import ends_after_restore

GRANT_LIFE: Final = timedelta(minutes=5)
RECOVERY_ACT: Final = "enroll:password"
"""The act of a recovery flow's grant, unless the help desk names another."""
RECOVERABLE: Final = (RECOVERY_ACT, "enroll:totp", "enroll:recovery_codes")
"""The acts of which the help desk names one for a recovery."""
_REGISTRATION: Final = timedelta(hours=24)
_ACTING: Final = "lamina_acting_session"
"""The key of `tx.info` for the session that earned the used grant."""


class Grants:
    """Issues grants, and authorizes changes by them."""

    def __init__(self, audit: AuditLog, clock: Clock) -> None:
        self._audit = audit
        self._clock = clock
        self._access: Access | None = None

    def guard(self, access: Access) -> None:
        """Set the access that grants depend on."""
        self._access = access

    def issue(
        self, tx: Tx, subject: UUID, *, client: UUID, act: str, session: UUID | None = None
    ) -> str:
        """Return a grant, shown only once; it ends with the session that earned it."""
        now = self._clock.now()
        token = opaque.new_token("lgrant_")
        tx.add(
            Grant(
                id=new_id(now),
                digest=token_digest(tx, token, "grant"),
                subject_id=subject,
                client_id=client,
                act=act,
                session_id=session,
                expires_at=now + GRANT_LIFE,
                used_at=None,
            )
        )
        self._audit.append(tx, "grant.issued", subject=subject, actor=str(client), act=act)
        return token

    def authorize(self, tx: Tx, caller: Caller, account: Account, *, act: str, grant: str) -> None:
        """Authorize a change, by a grant or by the registering client's temporary right.

        Raises:
            Forbidden: The grant is not valid for this act, or a grant is required.
        """
        now = self._clock.now()
        if grant:
            digest = token_digest(tx, grant, "grant")
            latest = now + GRANT_LIFE + SKEW
            used = store.use(
                tx,
                digest=digest,
                subject=account.id,
                client=caller.client,
                act=act,
                now=now,
                latest=latest,
            )
            if used is None or not self.earned(tx, account, *used):
                raise Forbidden("grant_invalid", "The grant is used, expired or for another act.")
            (tx.info[_ACTING],) = used
            return
        if not self._registering(caller, account, now):
            kinds = "enrollment or recovery" if act in RECOVERABLE else "enrollment"
            detail = f"This needs a grant for {act} from an {kinds} flow."
            raise Forbidden("grant_required", detail, act=act)

    @ends_after_restore
    def drop_every(self, tx: Tx) -> int:
        """Delete all grants: the database was restored, which may revive used ones."""
        return store.drop_every(tx)

    def drop_expired(self, tx: Tx, now: datetime) -> int:
        """Delete a page of expired grants; return how many."""
        return store.drop_expired(tx, now)

    def earned(self, tx: Tx, account: Account, session: UUID | None) -> bool:
        """Return whether the session or recovery that earned a grant is still valid."""
        if session is None:
            return account.may_sign_in
        return self._access is not None and self._access.is_active(tx, session)

    def _registering(self, caller: Caller, account: Account, now: datetime) -> bool:
        fresh = in_force(account.created_at + _REGISTRATION, now, _REGISTRATION)
        return fresh and account.first_login_at is None and account.client == caller.client


def acting_session(tx: Tx) -> UUID | None:
    """Return the session that earned the grant used in a transaction, if there is one."""
    session: UUID | None = tx.info.get(_ACTING)
    return session
