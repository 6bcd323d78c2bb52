"""Compare the audit log with the ledger: at each start, periodically, and on request."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypedDict

from crypto.errors import ChainBroken
from service.audit.actions.audit_log import AuditLog
from service.audit.actions.leaves import acts_of
from service.audit.model import Point, Waiting
from service.domain.clock import Clock, rfc3339
from service.domain.errors import SetupError, Unavailable
from service.keys.ledger import Entry, Ledger
from service.notifications.actions.outbox import Outbox
from service.privacy import model
from service.store.engine import Store, Tx
from service.store.turns import take_start
from service.telemetry import logs
from service.telemetry.metrics import Metrics

_MARK: Final = "ledger"
_ONCE: Final = timedelta(minutes=1)
_HOURLY: Final = timedelta(hours=1)
_EVER: Final = timedelta(days=36500)


@dataclass(frozen=True, slots=True)
class Verified:
    """The result of verifying the whole log.

    Args:
        leaves: How many leaves the chain has; zero if it is broken.
        broken: Where and how the chain is broken; None if it is intact.
        waiting: The leaves that have no position yet.
    """

    leaves: int
    broken: ChainBroken | None
    waiting: Waiting


class RestoreFindings(TypedDict):
    """How many erasures and acts were repeated or could not be, and how many sessions ended."""

    erased_again: int
    sessions_ended: int
    acts_repeated: int
    acts_left: int


class RestoreDetails(RestoreFindings):
    """The same, with the acts by kind, for the log and the alarm."""

    repeated: dict[str, int]
    left: dict[str, int]


class Memory:
    """The ledger outside the database, which remembers checkpoints and acts of the log.

    Args:
        ledger: None if not configured.
    """

    def __init__(
        self,
        *,
        database: Store,
        ledger: Ledger | None,
        audit: AuditLog,
        outbox: Outbox,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._audit = audit
        self._outbox = outbox
        self._clock = clock
        self._broken: ChainBroken | None = None
        self._behind: ChainBroken | None = None
        self._lost = False
        self._unwritten: list[Entry] = []
        database.on_commit(self._committed)
        metrics.ledger.set(self.configured)
        metrics.ledger_lost.set_function(lambda: float(self._lost))
        metrics.disagrees.set_function(lambda: float(self.disagrees))
        metrics.unsequenced.set_function(lambda: self._waits()[0])
        metrics.unsequenced_seconds.set_function(lambda: self._waits()[1])

    @property
    def configured(self) -> bool:
        """Tell whether a ledger is configured."""
        return self._ledger is not None

    @property
    def disagrees(self) -> bool:
        """Tell whether the log was found to differ from its checkpoints."""
        return bool(self._broken or self._behind)

    def entries(self) -> list[Entry]:
        """Return the lines of the ledger; raises SetupError if it is damaged."""
        return self._ledger.entries() if self._ledger else []

    def last_at(self) -> datetime | None:
        """Return the time of the newest line that has one; None if no line does."""
        try:
            lines = self.entries()
        except SetupError:
            # Damage is reported by `look`; a time in a damaged ledger proves nothing.
            return None
        stamp = next((line["at"] for line in reversed(lines) if "at" in line), None)
        return datetime.fromisoformat(stamp) if stamp else None

    def write(self, entries: Sequence[Entry]) -> None:
        """Append lines to the ledger; raises SetupError."""
        if self._ledger:
            self._ledger.append(entries)

    def verify(self) -> Verified:
        """Recompute the whole log and compare it with the checkpoints of database and ledger."""
        points = model.remembered(self.entries())
        with self._database.transaction(read=True) as tx:
            unnoted = self._audit.noted(tx) is None
        if unnoted:
            # After an upgrade, a verification may run before a start has adopted the chain.
            with self._database.transaction() as tx:
                self._audit.sequence(tx, 0)
        with self._database.transaction(read=True) as tx:
            waiting = self._audit.waiting(tx)
            try:
                return Verified(self._audit.verify(tx, points), None, waiting)
            except ChainBroken as error:
                return Verified(0, error, waiting)

    def look(self) -> ChainBroken | None:
        """Compare the log with all checkpoints, and raise an alarm if one differs.

        Returns:
            The first difference; None if there is none.

        Raises:
            SetupError: The ledger is damaged.
        """
        with self._database.transaction() as tx:
            # A new ledger gets its first line before the database is marked to have one.
            take_start(tx)
            lines = self.entries()
            # Links of the first version are adopted before they are compared.
            self._audit.sequence(tx, 0)
            self._judge(tx, lines)
            found = self._behind or self._broken
            if found:
                logs.get().error("audit_disagrees", position=found.position)
                if self._audit.due(tx, f"disagrees:{found.position}", _ONCE):
                    self._audit.append(
                        tx,
                        "audit.disagrees",
                        actor="ledger",
                        position=found.position,
                        what=found.what,
                    )
                    self._outbox.put(
                        tx,
                        kind="alarm.audit_disagrees",
                        subject=None,
                        payload={"position": found.position, "what": found.what},
                    )
            if self._lost:
                logs.get().error("ledger_lost")
                if self._audit.due(tx, "ledger_lost", _ONCE):
                    self._outbox.put(tx, kind="alarm.ledger_lost", subject=None, payload={})
        self._begin()
        return found

    def behind(self, tx: Tx, lines: Sequence[Entry]) -> bool:
        """Tell whether the database is older than the ledger, unless that was repaired.

        It is older if the log differs from a checkpoint of the ledger, or lacks an act since then.
        """
        # Another process may have repaired it: the ledger still shows the difference.
        self._behind = self._audit.differing(tx, model.remembered(lines))
        if self._behind and self._audit.differing(tx, model.ahead(lines)):
            return True
        return self._audit.lacks(tx, model.unproven(lines, self.agreed(tx, lines)))

    def tell_restored(self, tx: Tx, details: RestoreDetails) -> None:
        """Record in the log that a restored database was repaired, and raise the alarm."""
        self._audit.append(tx, "database.restored", actor="ledger", **details)
        self._outbox.put(tx, kind="alarm.database_restored", subject=None, payload=details)

    def restored(self) -> None:
        """Record in the ledger that a restored database is repaired, with the end of its log."""
        with self._database.transaction() as tx:
            self._audit.sequence_waiting(tx)
            here = self._audit.checkpoint(tx)
        if here:
            self.write([self._line(model.RESTORED, Point(*here))])

    def accept(self, actor: str, reason: str) -> Point:
        """Accept log and ledger in their current state, by decision of an operator."""
        with self._database.transaction() as tx:
            point = self._audit.accept(tx, actor, reason)
            if self._ledger is None:
                self._audit.clear_report(tx, _MARK)
            else:
                self._audit.due(tx, _MARK, _EVER)
        self.write([self._line(model.ACCEPTED, point) | {"actor": actor, "reason": reason}])
        self._broken = None
        self._behind = None
        self._lost = False
        return point

    def remember(
        self, tx: Tx, more: Callable[[Sequence[Entry]], list[Entry]] = lambda _known: []
    ) -> int:
        """Add missing lines to the ledger; return how many were added.

        Args:
            tx: The transaction.
            more: Returns the missing lines, except the checkpoint of the end of the log.
        """
        if self._ledger is None:
            return 0
        here = self._audit.checkpoint(tx)
        noted = self._audit.noted(tx)

        def missing(known: Sequence[Entry]) -> list[Entry]:
            lines = more(known)
            points = model.ahead(known)
            if here and (not points or points[-1].position < here[0]):
                lines.append(model.checkpoint_line(Point(*here), noted, self._clock.now()))
            return lines

        count = self._ledger.add(missing)
        self._ledger.fold()
        return count

    def remember_due(self, tx: Tx, _now: datetime) -> int:
        """Record the current end of the log in the ledger, as a background task."""
        return self.remember(tx)

    def agreed(self, tx: Tx, lines: Sequence[Entry]) -> int:
        """Return the index of the last line that matches the log of the database; -1 if none."""
        places = [at for at, line in enumerate(lines) if "position" in line]
        heads = self._audit.heads_at(tx, [lines[at]["position"] for at in places])
        same = (at for at in reversed(places) if _same(heads, lines[at]))
        return next(same, -1)

    def catch_up(self) -> int:
        """Add acts that a process committed before it could write them to the ledger."""
        if self._ledger is None:
            return 0

        def missing(known: Sequence[Entry]) -> list[Entry]:
            there = {line["id"] for line in known if line["kind"] == model.ACT}
            return [line for line in acts if line["id"] not in there]

        lines = self.entries()
        places = [line["position"] for line in lines if "position" in line]
        with self._database.transaction(read=True) as tx:
            acts = self._audit.acts(tx, places[-1] if places else 0)
        return self._ledger.add(missing)

    def tell_late(self, tx: Tx) -> Waiting:
        """Raise an alarm, at most once an hour, while leaves wait too long for a position."""
        waiting = self._audit.waiting(tx)
        if waiting.late and self._audit.due(tx, "late", _HOURLY):
            seconds = int(waiting.oldest.total_seconds())
            details = {"count": waiting.late, "seconds": seconds}
            logs.get().error("audit_unsequenced", rows=waiting.late)
            self._outbox.put(tx, kind="alarm.audit_unsequenced", subject=None, payload=details)
        return waiting

    def sound(self) -> bool:
        """Tell whether the log matches its own checkpoints."""
        if self._broken:
            self._again()
        return self._broken is None

    def there(self) -> bool:
        """Tell whether the ledger is the one that belongs to this database."""
        if self._lost:
            self._again()
        return not self._lost

    def findings(self, tx: Tx) -> list[dict[str, str]]:
        """Return the problems of log and ledger, each with its remedy."""
        self._judge(tx, self.entries())
        found = []
        waiting = self._audit.waiting(tx)
        accept = "lamina audit verify; once it is explained, lamina audit accept-ledger --reason R"
        if self._ledger is None:
            found.append(("ledger", "is not configured", "set LAMINA_LEDGER=file:PATH"))
        if self._lost:
            found.append(("ledger", "is not the one that there was", "bring it back, or " + accept))
        errors = [error for error in (self._broken, self._behind) if error]
        found += [(f"audit log at {error.position}", error.what, accept) for error in errors]
        if waiting.late:
            state = f"has {waiting.late} without a place, the oldest for"
            state += f" {int(waiting.oldest.total_seconds())} s"
            found.append(("audit log", state, "run: lamina worker"))
        return [{"what": what, "state": state, "mend": mend} for what, state, mend in found]

    def codes(self) -> list[str]:
        """Return the codes of problems known from the last comparison."""
        with self._database.transaction(read=True) as tx:
            waiting = self._audit.waiting(tx)
        states = {
            "ledger_not_configured": self._ledger is None,
            "ledger_lost": self._lost,
            "audit_disagrees": self.disagrees,
            "audit_unsequenced": waiting.late > 0,
            "ledger_unwritten": bool(self._unwritten),
        }
        return [name for name, holds in states.items() if holds]

    def _waits(self) -> tuple[float, float]:
        try:
            with self._database.transaction(read=True) as tx:
                waiting = self._audit.waiting(tx)
        except Unavailable:
            # The other metrics matter most while the database is unavailable.
            return math.nan, math.nan
        return float(waiting.count), max(0.0, waiting.oldest.total_seconds())

    def _again(self) -> None:
        lines = self.entries()
        with self._database.transaction(read=True) as tx:
            self._judge(tx, lines)

    def _judge(self, tx: Tx, lines: Sequence[Entry]) -> None:
        self._broken = self._audit.disagreement(tx)
        self._behind = self._audit.differing(tx, model.remembered(lines))
        # Another file, an empty one, or a missing one.
        self._lost = self._audit.reported(tx, _MARK) and not model.begun(lines)

    def _committed(self, info: Mapping[str, object]) -> None:
        """Append the acts of a committed transaction to the ledger, before its caller returns."""
        acts = acts_of(info)
        if not acts or self._ledger is None:
            return
        try:
            self._ledger.append([*self._unwritten, *acts])
            self._unwritten = []
        except SetupError as error:
            # It is committed, and a restore could undo it until the next line that can be written.
            self._unwritten += acts
            logs.get().error("ledger_unwritten", rows=len(self._unwritten), **logs.kind(error))

    def _begin(self) -> None:
        """Start a ledger for a database that never had one."""
        if self._ledger is None or self._lost:
            return
        with self._database.transaction() as tx:
            take_start(tx)
            if not model.begun(self.entries()):
                self.write([{"kind": model.BEGUN, "at": rfc3339(self._clock.now())}])
            self._audit.due(tx, _MARK, _EVER)

    def _line(self, kind: str, here: Point) -> Entry:
        at = rfc3339(self._clock.now())
        head = here.head.hex()
        return {"kind": kind, "position": here.position, "head": head, "at": at, "number": 0}


def _same(heads: Mapping[int, bytes], line: Entry) -> bool:
    head = heads.get(line["position"])
    return head is not None and head.hex() == line["head"]
