"""Clock checks: clocks must agree before irreversible work.

Deleted or destroyed data does not come back when a clock that ran ahead is corrected. Such work
waits until the process's clock advances like a monotonic count, is near the database's clock, and
is not before the last entry of the log or of the ledger.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from service.audit.actions.audit_log import AuditLog
from service.domain.clock import SKEW, Clock, has_come, passed
from service.domain.errors import Conflict
from service.notifications.actions.outbox import Outbox
from service.store.engine import Tx
from service.telemetry import logs

STEADY: Final = timedelta(hours=1)
"""Time that clocks must agree after a jump, or after a gap that may have been one."""
_GAP: Final = timedelta(days=1)

DatabaseTime = Callable[[Tx], datetime | None]
Remembered = Callable[[], datetime | None]


@dataclass(frozen=True, slots=True)
class ClockDisagreement:
    """The difference between one reading and the clock of this process.

    Args:
        name: The reading.
        seconds: Seconds by which the clock is ahead of it.
        agrees: Whether the difference is tolerated.
    """

    name: str
    seconds: int
    agrees: bool


class Readings:
    """The clocks that this process can read.

    Args:
        clock: The clock of this process.
        audit: The log, for the time of its last entry.
        outbox: Receives the alarm.
        database: Reads the clock of the database; None to skip the comparison.
        ledger: Reads the time of the last ledger entry, which survives a restore.
    """

    def __init__(
        self,
        *,
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
        self._alarmed = False

    def agree(self, tx: Tx) -> bool:
        """Return whether irreversible work is allowed now; raise an alarm if it is not."""
        findings = self._looked(tx)
        rested = any(
            item.name == "log" and item.seconds > _GAP.total_seconds() for item in findings
        )
        # Even if the log is written meanwhile, a start after a gap waits a full hour.
        self._jumped = self._jumped or rested
        sure = self._steady or not self._jumped
        if sure:
            self._jumped = False
        elif not self._alarmed:
            off = {item.name: item.seconds for item in findings}
            logs.get().error("clocks_disagree")
            self._outbox.put(
                tx, kind="alarm.clocks_disagree", subject=None, payload={"seconds": off}
            )
        self._alarmed = not sure
        return sure

    def require(self, tx: Tx) -> None:
        """Raise Conflict if clocks disagree, before an irreversible operation that depends on time.

        A clock that was wrong before this process started, with a database on the same machine,
        cannot be detected here.

        Raises:
            Conflict: The clock differs from another reading, which the text names, or did so within
                the last hour.
        """
        wrong = [item for item in self._looked(tx) if not item.agrees]
        if wrong:
            off = ", ".join(f"{item.name} {item.seconds:+d} s" for item in wrong)
            detail = f"this clock differs from other readings ({off}); see: lamina doctor"
            raise Conflict("clocks_disagree", detail)
        if self._jumped and not self._steady:
            detail = "this clock differed from other readings within the last hour; wait until they"
            raise Conflict("clocks_disagree", f"{detail} have agreed for an hour")
        self._jumped = False

    @property
    def _steady(self) -> bool:
        return passed(self._clock) - self._steady_since >= STEADY.total_seconds()

    def _looked(self, tx: Tx) -> list[ClockDisagreement]:
        """Return the readings, and record when one of them disagrees."""
        findings = self.findings(tx)
        if not all(item.agrees for item in findings):
            self._steady_since = passed(self._clock)
            self._jumped = True
        return findings

    def findings(self, tx: Tx) -> list[ClockDisagreement]:
        """Return the difference of the clock to each other reading."""
        now = self._clock.now()
        moment = passed(self._clock)
        (before, count) = self._seen
        self._seen = (now, moment)
        found = [_near("monotonic", now - before - timedelta(seconds=moment - count))]
        if self._database is not None and (moment_there := self._database(tx)) is not None:
            found.append(_near("database", now - moment_there))
        if (last := self._audit.last_at(tx)) is not None:
            # The log may be idle, but no entry may be in the future.
            found.append(_past("log", last, now))
        if (last := self._ledger()) is not None:
            found.append(_past("ledger", last, now))
        return found


def _near(name: str, ahead: timedelta) -> ClockDisagreement:
    return ClockDisagreement(name, int(ahead.total_seconds()), abs(ahead) <= SKEW)


def _past(name: str, last: datetime, now: datetime) -> ClockDisagreement:
    return ClockDisagreement(name, int((now - last).total_seconds()), has_come(last, now))
