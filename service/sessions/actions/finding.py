"""Find active sessions and compute what their evidence is worth, with one statement each."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement

from service.accounts.actions.accounts import Accounts
from service.accounts.model import Account
from service.domain.assurance import AAL1_LIFE, Achieved, Evidence, current_assurance
from service.domain.clock import Clock, has_come, in_force
from service.sessions import store
from service.sessions.model import evidence_of
from service.sessions.store import SessionCells
from service.store.driver_sql import Cells
from service.store.engine import Tx
from service.store.part import Part


@dataclass(kw_only=True, frozen=True, slots=True)
class SessionValue:
    """An active session with its current evidence and level."""

    id: UUID
    subject: UUID
    client: UUID
    evidence: tuple[Evidence, ...]
    level: Achieved
    created_at: datetime
    expires_at: datetime


class Behind(NamedTuple):
    """What a statement found that begins at the row of another table.

    Args:
        lead: The cells of that row; None if there is none.
        row: Its session, active or not.
        session: Its session, if that is active.
    """

    lead: Cells | None
    row: SessionCells | None
    session: SessionValue | None


@dataclass(frozen=True, slots=True)
class Standing:
    """How to read the active authenticators of a subject in the statement of a session.

    Args:
        beside: Returns what the statement adds, for the column that holds the subject.
        of_cells: Returns the ids of the authenticators that the statement read.
    """

    beside: Callable[[ColumnElement[UUID]], Part]
    of_cells: Callable[[Tx, Sequence[Cells]], Collection[UUID]]


class SessionFinder:
    """Finds active sessions.

    Args:
        accounts: The owners of the sessions.
        standing: Their active authenticators.
        idle: Returns how long a session of a segment may stay unused by the active policy; None
            if only the level decides.
        clock: The clock.
    """

    def __init__(
        self,
        *,
        accounts: Accounts,
        standing: Standing,
        idle: Callable[[str], timedelta | None],
        clock: Clock,
    ) -> None:
        self._accounts = accounts
        self._standing = standing
        self._idle = idle
        self._clock = clock
        self._parts = accounts.beside(store.OWNER), standing.beside(store.OWNER)
        self._by_id = store.finding(self._parts)

    def find(self, tx: Tx, session: UUID) -> SessionValue | None:
        """Return an active session: taken up, not ended or idle too long, its subject active.

        Its current evidence is computed: old evidence, and evidence of authenticators that are no
        longer active, counts for nothing.
        """
        return self._found(tx, self._by_id.rows(tx, {"b_id": session}))

    def unless(
        self, condition: ColumnElement[bool]
    ) -> Callable[[Tx, UUID, Mapping[str, object]], SessionValue | None]:
        """Return a function that finds an active session unless a condition holds.

        Args:
            condition: On another table, with named parameters bound at each call; one statement
                answers both questions.
        """
        prepared = store.finding(self._parts, but=condition)

        def find(tx: Tx, session: UUID, values: Mapping[str, object]) -> SessionValue | None:
            return self._found(tx, prepared.rows(tx, {**values, "b_id": session}))

        return find

    def behind(
        self, lead: Callable[[ColumnElement[UUID]], Part]
    ) -> Callable[[Tx, Mapping[str, object]], Behind]:
        """Return a function that reads a row of another table and finds its session.

        Args:
            lead: Returns the other table, with which of its rows belong to the session in the
                given column, and named parameters that pick one row.

        Returns:
            A function that gives what one statement found.
        """
        part = lead(store.ID)
        prepared = store.finding(self._parts, lead=part)
        width = len(part.columns)

        def find(tx: Tx, values: Mapping[str, object]) -> Behind:
            rows = prepared.rows(tx, values)
            if not rows:
                return Behind(None, None, None)
            own = [row[width:] for row in rows]
            return Behind(rows[0][:width], store.cells_of(tx, own[0]), self._found(tx, own))

        return find

    def value(
        self, tx: Tx, row: SessionCells, account: Account, standing: Collection[UUID]
    ) -> SessionValue | None:
        """Return a session with its current evidence; None if it is not active.

        Args:
            tx: The transaction.
            row: The session.
            account: Its owner.
            standing: The active authenticators of its owner.
        """
        now = self._clock.now()
        if not (_lasts(row, now) and account.may_sign_in):
            return None
        if self._idled(row, account.segment, now):
            return None
        found = current_assurance(evidence_of(store.evidence(tx, row)), now, standing)
        return SessionValue(
            id=row.id,
            subject=row.subject_id,
            client=row.client_id,
            evidence=found.evidence,
            level=found.level,
            created_at=row.created_at,
            expires_at=row.expires_at,
        )

    def seen_at(self, row: SessionCells, now: datetime) -> datetime:
        """Return when a session was last used; if that is in the future, when it started."""
        return row.last_seen_at if has_come(row.last_seen_at, now) else row.created_at

    def _found(self, tx: Tx, rows: Sequence[Cells]) -> SessionValue | None:
        """Return the session that the rows of a statement tell, one for each authenticator."""
        row = store.cells_of(tx, rows[0]) if rows else None
        if row is None or not _lasts(row, self._clock.now()):
            return None
        subject = store.WIDTH
        authenticators = subject + len(self._parts[0].columns)
        account = self._accounts.of_cells(tx, rows[0][subject:authenticators])
        if account is None:
            return None
        standing = self._standing.of_cells(tx, [cells[authenticators:] for cells in rows])
        return self.value(tx, row, account, standing)

    def _idled(self, row: SessionCells, segment: str, now: datetime) -> bool:
        """Return whether a session idled past its own limit or that of the current policy."""
        allowed = timedelta(seconds=row.idle_seconds)
        policy = self._idle(segment)
        return now - self.seen_at(row, now) > (min(allowed, policy) if policy else allowed)


def _lasts(row: SessionCells, now: datetime) -> bool:
    """Return whether a session was activated and has not ended."""
    begun = row.taken_up_at is not None and has_come(row.created_at, now)
    return begun and row.revoked_at is None and in_force(row.expires_at, now, AAL1_LIFE)
