"""Whether the time can be relied on: clocks that agree, before anything is done for good.

What is dropped or destroyed does not come back when a clock that ran ahead is put right. Such work
waits until the process's clock runs as steadily as the time that passes (a monotonic count), stands
near the database's, and is before neither the last entry of the log nor the last of the ledger.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from service.audit.actions import AuditLog
from service.domain.clock import SKEW, Clock, has_come, passed
from service.domain.errors import Conflict
from service.notifications.actions.outbox import Outbox
from service.store.engine import Tx
from service.telemetry import logs

STEADY: Final = timedelta(hours=1)
"""How long clocks must agree after a jump, or a gap that only a jump or a long rest explains."""
_GAP: Final = timedelta(days=1)

DatabaseTime = Callable[[Tx], datetime | None]
Remembered = Callable[[], datetime | None]


@dataclass(frozen=True, slots=True)
class ClockDisagreement:
    """How one reading differs from the clock of this process.

    Args:
        name: What was read.
        seconds: How far the clock is ahead of it.
        agrees: Whether that is near enough.
    """

    name: str
    seconds: int
    agrees: bool


class Readings:
    """The clocks that this process can read.

    Args:
        clock: That of this process.
        audit: The log, of whose last entry the time is read.
        outbox: Where the alarm goes.
        database: Reads the clock of the database; None where it is not compared.
        ledger: Reads the time of the last line outside the database, which a restore leaves.
    """

    def __init__(
        self,
        clock: Clock,
        audit: AuditLog,
        outbox: Outbox,
        database: DatabaseTime | None,
        ledger: Remembered = lambda: None,
    ) -> None:
        self._clock = clock
        self._audit = audit
        self._outbox = outbox
        self._database = database
        self._ledger = ledger
        self._seen = (clock.now(), passed(clock))
        self._steady_since = self._seen[1]
        self._jumped = False
        self._told = False

    def agree(self, tx: Tx) -> bool:
        """Tell whether what cannot be undone may be done now; alarm when it may not."""
        findings = self._looked(tx)
        rested = any(
            item.name == "log" and item.seconds > _GAP.total_seconds() for item in findings
        )
        # Whatever is written to the log meanwhile: who began after a gap waits the hour out.
        self._jumped = self._jumped or rested
        sure = self._steady or not self._jumped
        if sure:
            self._jumped = False
        elif not self._told:
            off = {item.name: item.seconds for item in findings}
            logs.get().error("clocks_disagree")
            self._outbox.put(tx, "alarm.clocks_disagree", None, {"seconds": off})
        self._told = not sure
        return sure

    def require(self, tx: Tx) -> None:
        """Refuse an act of an operator that cannot be undone and depends on the time.

        A clock that was wrong before this process began, beside a database on the same machine,
        shows in nothing that can be read here.

        Raises:
            Conflict: The clock differs from another reading, which the text names, or did so within
                the last hour.
        """
        wrong = [item for item in self._looked(tx) if not item.agrees]
        if wrong:
            told = ", ".join(f"{item.name} {item.seconds:+d} s" for item in wrong)
            detail = f"this clock differs from other readings ({told}); see: lamina doctor"
            raise Conflict("clocks_disagree", detail)
        if self._jumped and not self._steady:
            detail = "this clock differed from other readings within the last hour; wait until they"
            raise Conflict("clocks_disagree", f"{detail} have agreed for an hour")
        self._jumped = False

    @property
    def _steady(self) -> bool:
        return passed(self._clock) - self._steady_since >= STEADY.total_seconds()

    def _looked(self, tx: Tx) -> list[ClockDisagreement]:
        """Return the findings, and note when one of them did not agree."""
        findings = self.findings(tx)
        if not all(item.agrees for item in findings):
            self._steady_since, self._jumped = passed(self._clock), True
        return findings

    def findings(self, tx: Tx) -> list[ClockDisagreement]:
        """Return how far the clock is from each other reading."""
        now, moment = self._clock.now(), passed(self._clock)
        (before, count), self._seen = self._seen, (now, moment)
        found = [_near("monotonic", now - before - timedelta(seconds=moment - count))]
        if self._database is not None and (told := self._database(tx)) is not None:
            found.append(_near("database", now - told))
        if (last := self._audit.last_at(tx)) is not None:
            # The log may rest; what stands in it cannot be of the future.
            found.append(_past("log", last, now))
        if (last := self._ledger()) is not None:
            found.append(_past("ledger", last, now))
        return found


def _near(name: str, ahead: timedelta) -> ClockDisagreement:
    return ClockDisagreement(name, int(ahead.total_seconds()), abs(ahead) <= SKEW)


def _past(name: str, last: datetime, now: datetime) -> ClockDisagreement:
    return ClockDisagreement(name, int((now - last).total_seconds()), has_come(last, now))
