"""Start, replace, list and end sessions."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import orjson
from sqlalchemy import ColumnElement

from service.accounts.actions.accounts import Accounts
from service.accounts.model import Account
from service.audit.actions.audit_log import AuditLog
from service.domain.assurance import Evidence, current_assurance
from service.domain.bounds import USUAL, Bounds
from service.domain.clock import Clock, rfc3339
from service.domain.errors import NotFound
from service.domain.ids import new_id
from service.sessions import store
from service.sessions.actions.finding import SessionFinder, SessionValue, Standing
from service.sessions.model import NOWHERE, SessionOrigin, ends, evidence_json, idle
from service.sessions.store import SessionCells
from service.sessions.views import SessionView
from service.store.engine import Tx
from service.store.erasing import EVERYTHING, erases
from service.store.part import Part
from service.web.paging import Page, PageRequest


@dataclass(frozen=True, slots=True)
class SessionDependencies:
    """Functions of other features that sessions depend on.

    Args:
        idle: Returns how long a session of a segment may stay unused by the active policy; None
            if only the level decides.
        keeps: Returns whether the policy of a segment keeps a person's other sessions active when
            a signed-in person changes a password or revokes an authenticator.
        active: Returns the active authenticators of a subject.
        standing: The same in the statement that reads a session.
        forget_devices: Deletes the known devices of a subject, except one.
    """

    idle: Callable[[str], timedelta | None]
    keeps: Callable[[str], bool]
    active: Callable[[Tx, UUID], Collection[UUID]]
    standing: Standing
    forget_devices: Callable[[Tx, UUID, UUID | None], object]


class Sessions:
    """The sessions, and the single place that ends a person's access."""

    def __init__(
        self,
        *,
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
        self.finding = SessionFinder(
            accounts=accounts,
            standing=dependencies.standing,
            idle=dependencies.idle,
            clock=clock,
        )

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
        """Start a session on the evidence of a completed flow; `take_up` activates it.

        Args:
            tx: A transaction that has locked the subject.
            account: The owner of the session.
            client: The client that completed the flow.
            evidence: The verified evidence.
            place: The origin; missing values are copied from the replaced session.
            replaces: The session that ends when this one becomes active.
        """
        now = self._clock.now()
        found = current_assurance(evidence, now, self._dependencies.active(tx, account.id))
        level = found.level
        policy = self._dependencies.idle(account.segment)
        old = store.get(tx, replaces) if replaces is not None else None
        device = place.device or (old.device_id if old else None)
        session = SessionValue(
            id=new_id(now),
            subject=account.id,
            client=client,
            evidence=found.evidence,
            level=level,
            created_at=now,
            expires_at=ends(level, now),
        )
        values = {
            "id": session.id,
            "subject_id": account.id,
            "client_id": client,
            "created_at": now,
            "last_seen_at": now,
            "expires_at": session.expires_at,
            "idle_seconds": int(idle(level, policy).total_seconds()),
            "revoked_at": None,
            "taken_up_at": None,
            "replaces": replaces,
            "device_id": device,
        }
        before = old.origin if old else None
        origin = orjson.dumps(place.origin).decode() if place.origin else before
        store.add(tx, values, evidence=evidence_json(found.evidence), origin=origin)
        self._audit.append(
            tx,
            "session.started",
            subject=account.id,
            actor=str(client),
            session=str(session.id),
            acr=level.acr.urn,
        )
        return session

    def take_up(self, tx: Tx, session: UUID) -> SessionValue | None:
        """Activate a session once, and end the one it replaces.

        Returns:
            The session; None if it was already activated, has ended, or replaces an ended one.
        """
        row = store.waiting(tx, session)
        if row is None:
            return None
        old = row.replaces
        if old is not None and self.find(tx, old) is None:
            return None
        if not store.take_up(tx, row, self._clock.now()):
            return None
        if old is not None:
            self.end(tx, old, "replaced")
        for other in store.idlest(tx, row.subject_id, self._clock.now(), self._bounds.max_sessions):
            self.end(tx, other, "displaced")
        return self.find(tx, session)

    def hold(self, tx: Tx, session: UUID) -> None:
        """Lock the subject of a session before reading any other of its data (ADR 6)."""
        if (subject := store.owner(tx, session)) is not None:
            self._accounts.hold(tx, subject)

    def holder(
        self, lead: Callable[[ColumnElement[UUID]], Part]
    ) -> Callable[[Tx, Mapping[str, object]], None]:
        """Return a function that locks as `hold` does, by a row of another table, in one statement.

        Args:
            lead: As for `SessionFinder.behind`.
        """
        return self._accounts.holding(store.owner_behind(lead(store.ID)))

    def find(self, tx: Tx, session: UUID) -> SessionValue | None:
        """Return an active session, as `SessionFinder.find` does."""
        return self.finding.find(tx, session)

    def is_active(self, tx: Tx, session: UUID) -> bool:
        """Return whether a session, or its successor, is active."""
        return self._heir(tx, session) is not None

    def seen(self, tx: Tx, row: SessionCells) -> None:
        """Record a use, which restarts the idle time; its subject is locked."""
        store.touch(tx, row, self._clock.now())

    def end(self, tx: Tx, session: UUID, reason: str, actor: str | None = None) -> bool:
        """End a session; return False if it had already ended."""
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
        """End a session of a subject; raises NotFound."""
        row = store.get(tx, session)
        if row is None or row.subject_id != subject or not self.end(tx, session, reason):
            raise _none()

    def end_all(self, tx: Tx, subject: UUID, reason: str, but: UUID | None = None) -> int:
        """End every session of a subject, except one; return how many were ended."""
        rows = store.of_subject(tx, subject, self._clock.now())
        return sum(self.end(tx, row.id, reason) for row in rows if row.id != but)

    def end_access(self, tx: Tx, subject: UUID, reason: str, but: UUID | None = None) -> None:
        """End the sessions, with their refresh tokens and codes, and delete the known devices.

        Args:
            tx: A transaction that has locked the subject.
            subject: The subject.
            reason: The reason, for the log.
            but: A session that stays active, with its device; None for none.
        """
        kept = store.get(tx, but) if but else None
        self.end_all(tx, subject, reason, but)
        self._dependencies.forget_devices(tx, subject, kept.device_id if kept else None)

    def security_changed(self, tx: Tx, subject: UUID, acting: UUID | None) -> None:
        """End access that must not outlive a revoked authenticator or a changed password.

        Args:
            tx: A transaction that has locked the subject.
            subject: The subject.
            acting: The session that made the change, which stays active. The policy may keep the
                others active too, but not if the person was not signed in, as after a recovery.
        """
        acting = self._heir(tx, acting) if acting else None
        account = self._accounts.known(tx, subject)
        if acting and account and self._dependencies.keeps(account.segment):
            return
        self.end_access(tx, subject, "authenticators_changed", acting)

    @erases(EVERYTHING, tables=("session",))
    def erase(self, tx: Tx, subject: UUID) -> None:
        """End every session of an erased subject; also delete the origins of ended ones."""
        self.end_all(tx, subject, "erased")
        store.forget_origins(tx, subject)

    def end_everything(self, tx: Tx) -> int:
        """End all sessions: the database was restored and may revive ended ones."""
        return store.revoke_all(tx, self._clock.now())

    def page(
        self, tx: Tx, account: Account, page: PageRequest, current: UUID | None = None
    ) -> Page[SessionView]:
        """Return a page of the active sessions; idle ones are omitted from it.

        Args:
            tx: A transaction.
            account: The owner of the sessions.
            page: The requested page.
            current: The requesting session, which is marked; None for none.
        """
        now = self._clock.now()
        rows = store.page(tx, account.id, now=now, after=page.after, limit=page.fetched)
        active = self._dependencies.active(tx, account.id) if rows else ()

        def shown(row: SessionCells) -> SessionView | None:
            item = self.finding.value(tx, row, account, active)
            return None if item is None else self._view(tx, row, item, current)

        return page.answer(rows, lambda row: row.id, shown)

    def _view(
        self, tx: Tx, row: SessionCells, item: SessionValue, current: UUID | None
    ) -> SessionView:
        text = store.origin(tx, row)
        origin = orjson.loads(text) if text else {}
        return {
            "id": str(item.id),
            "client_id": str(item.client),
            "acr": item.level.acr.urn or None,
            "amr": list(item.level.amr),
            "auth_time": rfc3339(item.level.auth_time) if item.level.auth_time else None,
            "created_at": rfc3339(item.created_at),
            "expires_at": rfc3339(item.expires_at),
            "last_used_at": rfc3339(self.finding.seen_at(row, self._clock.now())),
            "device": origin.get("device"),
            "network": origin.get("network"),
            "current": item.id == current,
        }

    def drop_ended(
        self, tx: Tx, now: datetime, delete_of: Callable[[Tx, Sequence[UUID]], object]
    ) -> int:
        """Delete a page of sessions that ended a day ago; return how many.

        Args:
            tx: A transaction.
            now: The current time.
            delete_of: Deletes the codes and tokens issued for the sessions.
        """
        over = store.ended(tx, now - timedelta(days=1))
        if over:
            delete_of(tx, over)
            store.drop(tx, over)
        return len(over)

    def _heir(self, tx: Tx, session: UUID) -> UUID | None:
        """Return a session, or its latest successor, if it is active."""
        last: UUID | None = session
        while last is not None and self.find(tx, last) is None:
            last = store.heir(tx, last)
        return last


def _none() -> NotFound:
    return NotFound("session_not_found", "There is no such active session.")
