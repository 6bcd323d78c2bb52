"""Start, read, raise and end sessions; the subject's status is checked on every read."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from service.accounts.actions import Accounts
from service.accounts.model import Account
from service.audit.actions import AuditLog
from service.domain.assurance import AAL1_LIFE, Achieved, Evidence, worth
from service.domain.bounds import USUAL, Bounds
from service.domain.clock import Clock, has_come, in_force, rfc3339
from service.domain.errors import NotFound
from service.domain.ids import new_id
from service.sessions import store
from service.sessions.model import NOWHERE, SessionOrigin, ends, evidence_json, evidence_of, idle
from service.sessions.store import SessionRow
from service.store.engine import Tx
from service.web.paging import PageRequest


@dataclass(frozen=True, slots=True)
class SessionValue:
    """A session that is in force, with the evidence that is worth something now, and its level."""

    id: UUID
    subject: UUID
    client: UUID
    evidence: tuple[Evidence, ...]
    level: Achieved
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class SessionDependencies:
    """What sessions ask of other features.

    Args:
        idle: Returns how long a session of a segment may stay unused by the policy in force; None
            where only the level says.
        keeps: Tells whether the policy of a segment lets a person's other sessions go on when a
            signed-in person changes a password or revokes an authenticator.
        active: Returns the authenticators of a subject that are active.
        forget_devices: Forgets the known devices of a subject, but one.
    """

    idle: Callable[[str], timedelta | None]
    keeps: Callable[[str], bool]
    active: Callable[[Tx, UUID], Collection[UUID]]
    forget_devices: Callable[[Tx, UUID, UUID | None], object]


class Sessions:
    """The sessions, and the one home of what ends a person's access."""

    def __init__(
        self,
        accounts: Accounts,
        audit: AuditLog,
        clock: Clock,
        dependencies: SessionDependencies,
        bounds: Bounds = USUAL,
    ) -> None:
        self._dependencies = dependencies
        self._bounds = bounds
        self._accounts = accounts
        self._audit = audit
        self._clock = clock

    def start(
        self,
        tx: Tx,
        account: Account,
        client: UUID,
        evidence: Sequence[Evidence],
        *,
        place: SessionOrigin = NOWHERE,
        replaces: UUID | None = None,
    ) -> SessionValue:
        """Begin a session on the evidence of a completed flow; `take_up` lets it come into force.

        Args:
            tx: A unit of work that has locked the subject.
            account: Whose session it is.
            client: The client that completed the flow.
            evidence: What verified.
            place: Where it begins; what is not said is as in the session that it replaces.
            replaces: The session that ends when this one comes into force.
        """
        now = self._clock.now()
        found = worth(evidence, now, self._dependencies.active(tx, account.id))
        level, policy = found.level, self._dependencies.idle(account.segment)
        old = store.get(tx, replaces) if replaces is not None else None
        device = place.device or (old.device_id if old else None)
        row = SessionRow(
            id=new_id(now),
            subject_id=account.id,
            client_id=client,
            created_at=now,
            last_seen_at=now,
            expires_at=ends(level, now),
            idle_seconds=int(idle(level, policy).total_seconds()),
            revoked_at=None,
            taken_up_at=None,
            replaces=replaces,
            device_id=device,
        )
        row.evidence = evidence_json(found.evidence)
        before = old.origin if old else None
        row.origin = orjson.dumps(place.origin).decode() if place.origin else before
        tx.add(row)
        tx.flush()
        self._audit.append(
            tx,
            "session.started",
            subject=account.id,
            actor=str(client),
            session=str(row.id),
            acr=level.acr.urn,
        )
        return _value(row, found.evidence, level)

    def take_up(self, tx: Tx, session: UUID) -> SessionValue | None:
        """Let a session come into force, and end the one it replaces, once.

        Returns:
            None when it did before, has ended, or replaces one that is over by now.
        """
        row = store.get(tx, session)
        if row is None:
            return None
        old = row.replaces
        if old is not None and self.find(tx, old) is None:
            return None
        if not store.take_up(tx, session, self._clock.now()):
            return None
        if old is not None:
            self.end(tx, old, "replaced")
        for other in store.idlest(tx, row.subject_id, self._clock.now(), self._bounds.max_sessions):
            self.end(tx, other, "displaced")
        return self.find(tx, session)

    def hold(self, tx: Tx, session: UUID) -> None:
        """Lock the subject of a session before anything else of it is read (ADR 6)."""
        if (subject := store.owner(tx, session)) is not None:
            self._accounts.hold(tx, subject)

    def find(self, tx: Tx, session: UUID) -> SessionValue | None:
        """Return a session in force: taken up, not ended nor unused for long, its subject usable.

        What it is still worth is computed anew: old evidence, and what an authenticator gave that
        is not active any more, is worth nothing.
        """
        row = store.get(tx, session)
        return self._found(tx, row) if row is not None else None

    def _found(self, tx: Tx, row: SessionRow) -> SessionValue | None:
        now = self._clock.now()
        if not _lasts(row, now):
            return None
        account = self._accounts.known(tx, row.subject_id)
        if account is None or not account.may_sign_in or self._idled(row, account.segment, now):
            return None
        found = worth(evidence_of(row.evidence), now, self._dependencies.active(tx, row.subject_id))
        return _value(row, found.evidence, found.level)

    def stands(self, tx: Tx, session: UUID) -> bool:
        """Tell whether a session, or the one that took its place, is in force."""
        return self._heir(tx, session) is not None

    def seen(self, tx: Tx, session: SessionValue) -> None:
        """Note a use, which begins the idle time anew."""
        store.touch(tx, session.id, self._clock.now())

    def end(self, tx: Tx, session: UUID, reason: str, actor: str | None = None) -> bool:
        """End a session; False when it had ended."""
        row = store.get(tx, session)
        if row is None or not store.revoke(tx, session, self._clock.now()):
            return False
        self._audit.append(
            tx,
            "session.ended",
            subject=row.subject_id,
            actor=actor,
            session=str(session),
            reason=reason,
        )
        return True

    def end_one(self, tx: Tx, subject: UUID, session: UUID, reason: str) -> None:
        """End one session of a subject; raises NotFound."""
        row = store.get(tx, session)
        if row is None or row.subject_id != subject or not self.end(tx, session, reason):
            raise _none()

    def end_all(self, tx: Tx, subject: UUID, reason: str, but: UUID | None = None) -> int:
        """End every session of a subject, but one; return how many there were."""
        rows = store.of_subject(tx, subject, self._clock.now())
        return sum(self.end(tx, row.id, reason) for row in rows if row.id != but)

    def end_access(self, tx: Tx, subject: UUID, reason: str, but: UUID | None = None) -> None:
        """End sessions, with their refresh tokens and codes, and known devices.

        Args:
            tx: A unit of work that has locked the subject.
            subject: Whose access ends.
            reason: Why, for the log.
            but: A session that goes on, with the device it began on; None for none.
        """
        kept = store.get(tx, but) if but else None
        self.end_all(tx, subject, reason, but)
        self._dependencies.forget_devices(tx, subject, kept.device_id if kept else None)

    def security_changed(self, tx: Tx, subject: UUID, acting: UUID | None) -> None:
        """End what an authenticator that is no more, or another password, must not outlive.

        Args:
            tx: A unit of work that has locked the subject.
            subject: Whose authenticators changed.
            acting: The session that changed them; it goes on. The policy may let the others go on
                too, but not where nobody was signed in, as after a recovery.
        """
        acting = self._heir(tx, acting) if acting else None
        account = self._accounts.known(tx, subject)
        if acting and account and self._dependencies.keeps(account.segment):
            return
        self.end_access(tx, subject, "authenticators_changed", acting)

    def erase(self, tx: Tx, subject: UUID) -> None:
        """End every session of a subject that is erased; also of one that ran out nothing stays."""
        self.end_all(tx, subject, "erased")
        store.forget_origins(tx, subject)

    def end_everything(self, tx: Tx) -> int:
        """End every session there is: the database was restored and may revive ended ones."""
        return store.revoke_all(tx, self._clock.now())

    def page(
        self, tx: Tx, subject: UUID, page: PageRequest, current: UUID | None = None
    ) -> dict[str, Any]:
        """Return a page of the sessions that are in force; one that idled is left out of it.

        Args:
            tx: A unit of work.
            subject: Whose.
            page: Which page.
            current: The session that is to be marked as the one that asks; None for none.
        """
        rows = store.page(tx, subject, self._clock.now(), page.after, page.fetched)
        answer = page.answer(rows, lambda row: row.id, lambda row: self._shown(tx, row, current))
        return answer | {"items": [item for item in answer["items"] if item]}

    def _shown(self, tx: Tx, row: SessionRow, current: UUID | None) -> dict[str, Any] | None:
        item = self._found(tx, row)
        if item is None:
            return None
        origin = orjson.loads(row.origin) if row.origin else {}
        return {
            "id": str(item.id),
            "client_id": str(item.client),
            "acr": item.level.acr.urn or None,
            "amr": list(item.level.amr),
            "auth_time": rfc3339(item.level.auth_time) if item.level.auth_time else None,
            "created_at": rfc3339(item.created_at),
            "expires_at": rfc3339(item.expires_at),
            "last_used_at": rfc3339(self._seen_at(row, self._clock.now())),
            "device": origin.get("device"),
            "network": origin.get("network"),
            "current": item.id == current,
        }

    def drop_ended(
        self, tx: Tx, now: datetime, let_go: Callable[[Tx, Sequence[UUID]], object]
    ) -> int:
        """Forget a page of sessions that were over a day ago; return how many.

        Args:
            tx: A unit of work.
            now: The time.
            let_go: Forgets what was issued for them.
        """
        over = store.ended(tx, now - timedelta(days=1))
        if over:
            let_go(tx, over)
            store.drop(tx, over)
        return len(over)

    def _idled(self, row: SessionRow, segment: str, now: datetime) -> bool:
        """Tell whether a session was unused for too long, as it began or as the policy is now."""
        allowed, policy = timedelta(seconds=row.idle_seconds), self._dependencies.idle(segment)
        seen = self._seen_at(row, now)
        return now - seen > (min(allowed, policy) if policy else allowed)

    @staticmethod
    def _seen_at(row: SessionRow, now: datetime) -> datetime:
        """Return when a session was used last; by a clock that went wrong, when it began."""
        return row.last_seen_at if has_come(row.last_seen_at, now) else row.created_at

    def _heir(self, tx: Tx, session: UUID) -> UUID | None:
        """Return a session, or the last of those that took its place, if that is in force."""
        last: UUID | None = session
        while last is not None and self.find(tx, last) is None:
            last = store.heir(tx, last)
        return last


def _lasts(row: SessionRow, now: datetime) -> bool:
    """Tell whether a session has come into force and has not ended."""
    begun = row.taken_up_at is not None and has_come(row.created_at, now)
    return begun and row.revoked_at is None and in_force(row.expires_at, now, AAL1_LIFE)


def _value(row: SessionRow, evidence: tuple[Evidence, ...], level: Achieved) -> SessionValue:
    return SessionValue(
        row.id, row.subject_id, row.client_id, evidence, level, row.created_at, row.expires_at
    )


def _none() -> NotFound:
    return NotFound("session_not_found", "There is no such session in force.")
