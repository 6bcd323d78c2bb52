"""Alarms for rows of the database that this service did not write."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from service.audit.actions.audit_log import AuditLog
from service.audit.actions.state import Comparison, RowState
from service.domain.clock import Clock
from service.domain.errors import LaminaError
from service.notifications.actions.outbox import Outbox
from service.store.engine import Store
from service.telemetry import logs
from service.telemetry.metrics import Metrics

_QUIET: Final = timedelta(hours=1)
_REMEMBERED: Final = 10_000
_LINES: Final = 50


def canary_opened(store: Store, audit: AuditLog, outbox: Outbox, subject: UUID) -> None:
    """Record and raise the alarm that a field of a canary was opened."""
    with store.transaction() as tx:
        audit.append(tx, "canary.opened", subject=subject)
        outbox.put(tx, kind="alarm.canary_opened", subject=None, payload={"subject": str(subject)})


class Comparing:
    """Compares rows with the audit log, at the start and every day, and raises the alarm."""

    def __init__(self, store: Store, state: RowState, outbox: Outbox, metrics: Metrics) -> None:
        self._store = store
        self._state = state
        self._outbox = outbox
        self._metrics = metrics

    def all(self) -> Comparison:
        """Compare all rows; return the differences."""
        return self._report(self._state.compare())

    def due(self) -> int:
        """Compare all rows as a background task; return how many differ."""
        return self.all().count

    def lately(self) -> Comparison:
        """Compare the rows that changed since the last full comparison; return the differences."""
        return self._report(self._state.compare(lately=True))

    def _report(self, found: Comparison) -> Comparison:
        self._metrics.differing.set(found.count)
        if found.count:
            for item in found.found[:_LINES]:
                logs.get().error(
                    "row_differs", table=item["table"], row=item["row"], outcome=item["what"]
                )
            with self._store.transaction() as tx:
                self._outbox.put(
                    tx, kind="alarm.rows_differ", subject=None, payload={"differ": found.count}
                )
        return found


class RefusedRows:
    """Raises the alarm about refused rows: once an hour for each row."""

    def __init__(
        self, *, store: Store, audit: AuditLog, outbox: Outbox, metrics: Metrics, clock: Clock
    ) -> None:
        self._store = store
        self._audit = audit
        self._outbox = outbox
        self._metrics = metrics
        self._clock = clock
        self._reported: dict[tuple[str, str], datetime] = {}

    def tell(self, rows: Sequence[tuple[str, str]]) -> None:
        """Count and log all rows, and add new ones to the audit log and the outbox."""
        now = self._clock.now()
        for table, row in rows:
            self._metrics.refused.labels(table).inc()
            logs.get().error("row_refused", table=table, row=row)
        fresh = [row for row in dict.fromkeys(rows) if self._is_due(row, now)]
        if not fresh:
            return
        try:
            with self._store.transaction() as tx:
                for table, row in fresh:
                    self._audit.append(tx, "row.refused", actor="store", table=table, row=row)
                    self._outbox.put(
                        tx,
                        kind="alarm.row_refused",
                        subject=None,
                        payload={"table": table, "row": row},
                    )
        except LaminaError as error:
            # The request is answered anyway; the next read of the row reports it again.
            for known in fresh:
                self._reported.pop(known, None)
            logs.get().error("alarm_not_stored", **logs.kind(error))

    def _is_due(self, row: tuple[str, str], now: datetime) -> bool:
        if now - self._reported.get(row, now - _QUIET) < _QUIET:
            return False
        if len(self._reported) >= _REMEMBERED:
            self._reported.clear()
        self._reported[row] = now
        return True
