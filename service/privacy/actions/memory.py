"""Hold the audit log against the ledger: at each start, all the while, and when asked."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from crypto.errors import ChainBroken
from service.audit.actions import AuditLog, acts_of
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
    """What a verification of the whole log found.

    Args:
        leaves: How many are in the chain; zero where it is broken.
        broken: Where and how it is, None where everything fits.
        waiting: The leaves that have no place yet.
    """

    leaves: int
    broken: ChainBroken | None
    waiting: Waiting


class Memory:
    """The ledger beside the log.

    Args:
        ledger: None where there is none.
    """

    def __init__(
        self,
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
        """Tell whether there is a memory outside the database."""
        return self._ledger is not None

    @property
    def disagrees(self) -> bool:
        """Tell whether the log was found other than is remembered of it."""
        return bool(self._broken or self._behind)

    def entries(self) -> list[Entry]:
        """Return the lines of the ledger; raises SetupError when it is damaged."""
        return self._ledger.entries() if self._ledger else []

    def last_at(self) -> datetime | None:
        """Return when the newest line that tells its time was written; None where none does."""
        try:
            lines = self.entries()
        except SetupError:
            # What is damaged is told by `look`; a time that it tells proves nothing.
            return None
        told = next((line["at"] for line in reversed(lines) if "at" in line), None)
        return datetime.fromisoformat(told) if told else None

    def write(self, entries: Sequence[Entry]) -> None:
        """Add lines to the ledger; raises SetupError."""
        if self._ledger:
            self._ledger.append(entries)

    def verify(self) -> Verified:
        """Recompute the whole log and hold it against the checkpoints of database and ledger."""
        points = model.remembered(self.entries())
        with self._database.transaction(read=True) as tx:
            unnoted = self._audit.noted(tx) is None
        if unnoted:
            # After an upgrade somebody may verify before a start has adopted the chain.
            with self._database.transaction() as tx:
                self._audit.sequence(tx, 0)
        with self._database.transaction(read=True) as tx:
            waiting = self._audit.waiting(tx)
            try:
                return Verified(self._audit.verify(tx, points), None, waiting)
            except ChainBroken as error:
                return Verified(0, error, waiting)

    def look(self) -> ChainBroken | None:
        """Hold the log against every checkpoint, and raise an alarm where one disagrees.

        Returns:
            What disagrees, None where nothing does.

        Raises:
            SetupError: The ledger is damaged.
        """
        with self._database.transaction() as tx:
            # Who begins the ledger writes its first line before the mark that there is one.
            take_start(tx)
            lines = self.entries()
            # Links of the first version are adopted before they are judged.
            self._audit.sequence(tx, 0)
            self._judge(tx, lines)
            found = self._behind or self._broken
            if found:
                logs.get().error("audit_disagrees", position=found.position)
                if self._audit.due(tx, f"disagrees:{found.position}", _ONCE):
                    told: dict[str, Any] = {"position": found.position, "what": found.what}
                    self._audit.append(tx, "audit.disagrees", actor="ledger", **told)
                    self._outbox.put(tx, "alarm.audit_disagrees", None, told)
            if self._lost:
                logs.get().error("ledger_lost")
                if self._audit.due(tx, "ledger_lost", _ONCE):
                    self._outbox.put(tx, "alarm.ledger_lost", None, {})
        self._begin()
        return found

    def behind(self, tx: Tx, lines: Sequence[Entry]) -> bool:
        """Tell whether the database is older than the ledger, unless that was put right.

        Either the log ends or goes on elsewhere than is remembered, or an act since is not in it.
        """
        # Another process may have put it right: what is remembered still tells.
        self._behind = self._audit.differing(tx, model.remembered(lines))
        if self._behind and self._audit.differing(tx, model.ahead(lines)):
            return True
        return self._audit.lacks(tx, model.unproven(lines, self.agreed(tx, lines)))

    def tell_restored(self, tx: Tx, told: Mapping[str, Any]) -> None:
        """Leave it in the log and raise the alarm: the database was restored and put right."""
        self._audit.append(tx, "database.restored", actor="ledger", **told)
        self._outbox.put(tx, "alarm.database_restored", None, told)

    def restored(self) -> None:
        """Note in the ledger that a restored database is put right, and how far its log goes."""
        with self._database.transaction() as tx:
            self._audit.sequence_waiting(tx)
            here = self._audit.checkpoint(tx)
        if here:
            self.write([self._line(model.RESTORED, Point(*here))])

    def accept(self, actor: str, reason: str) -> Point:
        """Take log and ledger as they stand, on an operator's word."""
        with self._database.transaction() as tx:
            point = self._audit.accept(tx, actor, reason)
            if self._ledger is None:
                self._audit.clear_report(tx, _MARK)
            else:
                self._audit.due(tx, _MARK, _EVER)
        self.write([self._line(model.ACCEPTED, point) | {"actor": actor, "reason": reason}])
        self._broken, self._behind, self._lost = None, None, False
        return point

    def remember(
        self, tx: Tx, more: Callable[[Sequence[Entry]], list[Entry]] = lambda _known: []
    ) -> int:
        """Bring the ledger up to date; return how many lines were added.

        Args:
            tx: The unit of work.
            more: Returns the lines that are missing beside the end of the log.
        """
        if self._ledger is None:
            return 0
        here, noted = self._audit.checkpoint(tx), self._audit.noted(tx)

        def missing(known: Sequence[Entry]) -> list[Entry]:
            lines, points = more(known), model.ahead(known)
            if here and (not points or points[-1].position < here[0]):
                lines.append(model.checkpoint_line(Point(*here), noted, self._clock.now()))
            return lines

        count = self._ledger.add(missing)
        self._ledger.fold()
        return count

    def remember_due(self, tx: Tx, _now: datetime) -> int:
        """Note how far the log has come, as a task."""
        return self.remember(tx)

    def agreed(self, tx: Tx, lines: Sequence[Entry]) -> int:
        """Return the index of the last line whose place in the log is as the database has it."""
        places = [at for at, line in enumerate(lines) if "position" in line]
        heads = self._audit.heads_at(tx, [lines[at]["position"] for at in places])
        same = (at for at in reversed(places) if _same(heads, lines[at]))
        return next(same, -1)

    def catch_up(self) -> int:
        """Keep acts that a process did and died of before the ledger had them."""
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
        """Raise an alarm, once an hour, while leaves of the log wait for too long."""
        waiting = self._audit.waiting(tx)
        if waiting.late and self._audit.due(tx, "late", _HOURLY):
            seconds = int(waiting.oldest.total_seconds())
            told = {"count": waiting.late, "seconds": seconds}
            logs.get().error("audit_unsequenced", rows=waiting.late)
            self._outbox.put(tx, "alarm.audit_unsequenced", None, told)
        return waiting

    def sound(self) -> bool:
        """Tell whether the log fits its own checkpoints."""
        if self._broken:
            self._again()
        return self._broken is None

    def there(self) -> bool:
        """Tell whether the ledger is the one that there was."""
        if self._lost:
            self._again()
        return not self._lost

    def findings(self, tx: Tx) -> list[dict[str, str]]:
        """Tell what is wrong with log and ledger, each with what mends it."""
        self._judge(tx, self.entries())
        found, waiting = [], self._audit.waiting(tx)
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
        """Return the names of what is wrong, as far as it is known without looking again."""
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
            # The other metrics are wanted most while the database is away.
            return math.nan, math.nan
        return float(waiting.count), max(0.0, waiting.oldest.total_seconds())

    def _again(self) -> None:
        lines = self.entries()
        with self._database.transaction(read=True) as tx:
            self._judge(tx, lines)

    def _judge(self, tx: Tx, lines: Sequence[Entry]) -> None:
        self._broken = self._audit.disagreement(tx)
        self._behind = self._audit.differing(tx, model.remembered(lines))
        # Another file, none, or none any more.
        self._lost = self._audit.reported(tx, _MARK) and not model.begun(lines)

    def _committed(self, info: Mapping[Any, Any]) -> None:
        """Keep what a unit of work took away, before anybody is told that it is done."""
        acts = acts_of(info)
        if not acts or self._ledger is None:
            return
        try:
            self._ledger.append([*self._unwritten, *acts])
            self._unwritten = []
        except SetupError as error:
            # It is done, and a restore could undo it until the next line that can be written.
            self._unwritten += acts
            logs.get().error("ledger_unwritten", rows=len(self._unwritten), **logs.kind(error))

    def _begin(self) -> None:
        """Begin a ledger for a database that never had one."""
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
