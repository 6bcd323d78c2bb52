"""Start, read, raise and end sessions; the subject's status is checked on every read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from service.accounts.actions import Accounts
from service.accounts.model import Account
from service.audit.actions import AuditLog
from service.domain.assurance import Achieved, Evidence
from service.domain.clock import Clock, rfc3339
from service.domain.errors import NotFound
from service.domain.ids import new_id
from service.sessions import store
from service.sessions.model import current, idle, life
from service.sessions.store import SessionRow
from service.store.engine import Tx


@dataclass(frozen=True, slots=True)
class SessionValue:
    """A session that is in force, with the level it has now."""

    id: UUID
    subject: UUID
    client: UUID
    evidence: tuple[Evidence, ...]
    level: Achieved
    created_at: datetime
    expires_at: datetime


class Sessions:
    """The sessions.

    Args:
        idle: Returns how long a session of a segment may stay unused by the policy in force; None
            where only the level says.
    """

    def __init__(
        self, accounts: Accounts, audit: AuditLog, clock: Clock,
        idle: Callable[[str], timedelta | None],
    ) -> None:  # fmt: skip
        self._idle = idle
        self._accounts = accounts
        self._audit = audit
        self._clock = clock

    def start(
        self, tx: Tx, account: Account, client: UUID, evidence: Sequence[Evidence]
    ) -> SessionValue:
        """Begin a session on the evidence of a completed flow."""
        now = self._clock.now()
        level = current(evidence, now)
        row = SessionRow(
            id=new_id(now), subject_id=account.id, client_id=client, created_at=now,
            last_seen_at=now, expires_at=now + life(level),
            idle_seconds=int(idle(level, self._idle(account.segment)).total_seconds()),
            revoked_at=None,
        )  # fmt: skip
        row.evidence = orjson.dumps([item.to_json() for item in evidence]).decode()
        tx.add(row)
        tx.flush()
        self._audit.append(
            tx, "session.started", subject=account.id, actor=str(client), session=str(row.id),
            acr=level.acr.urn,
        )  # fmt: skip
        return self._value(row, tuple(evidence), level)

    def raise_level(
        self, tx: Tx, old: UUID, account: Account, client: UUID, evidence: Sequence[Evidence]
    ) -> SessionValue:
        """Replace a session by one with more evidence, under a new id.

        Raises:
            NotFound: The old session ended in the meantime.
        """
        if not store.revoke(tx, old, self._clock.now()):
            raise _none()
        return self.start(tx, account, client, evidence)

    def find(self, tx: Tx, session: UUID) -> SessionValue | None:
        """Return a session in force: not ended, not idle for too long, its subject usable."""
        row, now = store.get(tx, session), self._clock.now()
        if row is None or row.revoked_at is not None or row.expires_at <= now:
            return None
        account = self._accounts.known(tx, row.subject_id)
        if account is None or not account.may_sign_in or self._idled(row, account.segment, now):
            return None
        evidence = tuple(Evidence.from_json(item) for item in orjson.loads(row.evidence))
        return self._value(row, evidence, current(evidence, now))

    def seen(self, tx: Tx, session: SessionValue) -> None:
        """Note a use, which begins the idle time anew."""
        store.touch(tx, session.id, self._clock.now())

    def end(self, tx: Tx, session: UUID, reason: str) -> bool:
        """End a session; False when it had ended."""
        row = store.get(tx, session)
        if row is None or not store.revoke(tx, session, self._clock.now()):
            return False
        self._audit.append(
            tx, "session.ended", subject=row.subject_id, session=str(session), reason=reason
        )
        return True

    def end_one(self, tx: Tx, subject: UUID, session: UUID, reason: str) -> None:
        """End one session of a subject; raises NotFound."""
        row = store.get(tx, session)
        if row is None or row.subject_id != subject or not self.end(tx, session, reason):
            raise _none()

    def end_all(self, tx: Tx, subject: UUID, reason: str) -> int:
        """End every session of a subject; return how many there were."""
        rows = store.of_subject(tx, subject, self._clock.now())
        return sum(self.end(tx, row.id, reason) for row in rows)

    def erase(self, tx: Tx, subject: UUID) -> None:
        """End every session of a subject that is erased."""
        self.end_all(tx, subject, "erased")

    def end_everything(self, tx: Tx) -> int:
        """End every session there is: the database was restored and may revive ended ones."""
        return store.revoke_all(tx, self._clock.now())

    def listing(self, tx: Tx, subject: UUID) -> list[dict[str, Any]]:
        """Return the sessions of a subject that are in force."""
        rows = store.of_subject(tx, subject, self._clock.now())
        found = (self.find(tx, row.id) for row in rows)
        return [
            {
                "id": str(item.id),
                "client_id": str(item.client),
                "acr": item.level.acr.urn,
                "amr": list(item.level.amr),
                "auth_time": rfc3339(item.level.auth_time) if item.level.auth_time else None,
                "created_at": rfc3339(item.created_at),
                "expires_at": rfc3339(item.expires_at),
            }
            for item in found
            if item is not None
        ]

    def drop_ended(self, tx: Tx, now: datetime) -> int:
        """Forget sessions long over; return how many."""
        return store.drop_ended(tx, now - timedelta(days=1))

    def _idled(self, row: SessionRow, segment: str, now: datetime) -> bool:
        """Tell whether a session was unused for too long, as it began or as the policy is now."""
        allowed, policy = timedelta(seconds=row.idle_seconds), self._idle(segment)
        return now - row.last_seen_at > (min(allowed, policy) if policy else allowed)

    def _value(
        self, row: SessionRow, evidence: tuple[Evidence, ...], level: Achieved
    ) -> SessionValue:
        return SessionValue(
            row.id, row.subject_id, row.client_id, evidence, level, row.created_at, row.expires_at
        )


def _none() -> NotFound:
    return NotFound("session_not_found", "There is no such session in force.")
