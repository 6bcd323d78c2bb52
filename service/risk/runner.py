"""Isolation of signals: none can break a decision, exceed its time, or lower a requirement.

What a signal queues to be written is written with the login and can end it: it queues inserts of
new ids and updates without a guard only.
"""

import time
from collections.abc import Callable
from typing import Final, Protocol

from sqlalchemy.exc import SQLAlchemyError

from service.domain.errors import Busy
from service.risk.model import Assessment, SignalFacts
from service.risk.signal import Signal, SignalFault, assess_all
from service.store.ahead import PlannedRead
from service.store.engine import Tx, outrun
from service.store.unit_of_work import unit_of
from service.telemetry import logs

_MS: Final = 1000.0


class SignalLimits(Protocol):
    """The limits of signals, read again at each of them."""

    @property
    def signal_budget_ms(self) -> float:
        """Return the time budget of a signal in milliseconds."""
        ...


class _Poisoned(Exception):
    """A signal failed inside the transaction, which must be rolled back."""


class Signals:
    """The signals of a deployment, each isolated from the login.

    Args:
        signals: The signals, in order.
        limits: Tells after how long the result of a signal counts as its worst.
    """

    def __init__(self, signals: tuple[Signal, ...], limits: SignalLimits) -> None:
        self.signals = signals
        self._limits = limits
        self._careful = False

    def ahead(self, tx: Tx, facts: SignalFacts) -> list[PlannedRead]:
        """Return what the signals will read in `assess`; a failing one then reads for itself."""
        wanted: list[PlannedRead] = []
        for signal in self.signals:
            try:
                wanted += signal.ahead(tx, facts)
            except SQLAlchemyError:
                # The transaction may be broken, and is begun anew where it was outrun.
                raise
            except Exception:  # noqa: BLE001, S112 - it fails again in `assess`, and counts there
                continue
        return wanted

    def assess(self, tx: Tx, facts: SignalFacts) -> tuple[Assessment, ...]:
        """Ask every signal; an exception, a database error or a delay counts as its worst.

        Raises:
            Busy: A signal failed and may have broken the transaction, which must be retried. From
                then on this process sets a savepoint for each signal; before that none, as each
                costs two statements.
        """
        if self._careful:
            return assess_all(self.signals, tx, facts, self._ask_alone)
        try:
            return assess_all(self.signals, tx, facts, self._ask_bare)
        except _Poisoned as error:
            self._careful = True
            raise Busy(again=True) from error

    def learn(self, tx: Tx, facts: SignalFacts) -> None:
        """Let every signal learn from the flow; a failing one learns nothing."""
        for signal in self.signals:
            self._tell(signal.learn, signal.name, tx, facts)

    def failed(self, tx: Tx, facts: SignalFacts) -> None:
        """Report a failed factor to every signal; the attempt stays counted if they fail."""
        for signal in self.signals:
            self._tell(signal.failed, signal.name, tx, facts)

    def _ask(self, signal: Signal, tx: Tx, facts: SignalFacts) -> Assessment:
        begun = time.perf_counter()
        try:
            found = signal.assess(tx, facts)
        except SQLAlchemyError as error:
            _not_outrun(error)
            raise _Poisoned from error
        except Exception as error:
            # Every exception of a signal counts as its worst.
            raise _fault(signal.name, type(error).__name__) from error
        spent = (time.perf_counter() - begun) * _MS
        if spent > self._limits.signal_budget_ms:
            raise _fault(signal.name, "a time-out", spent)
        return found

    def _ask_bare(self, signal: Signal, tx: Tx, facts: SignalFacts) -> Assessment:
        try:
            return self._ask(signal, tx, facts)
        except SignalFault as fault:
            if fault.__cause__ is None:
                # A time-out leaves the transaction intact.
                raise
            raise _Poisoned from fault

    def _ask_alone(self, signal: Signal, tx: Tx, facts: SignalFacts) -> Assessment:
        try:
            with tx.begin_nested():
                return self._ask(signal, tx, facts)
        except _Poisoned as error:
            raise _fault(signal.name, type(error.__cause__).__name__) from error

    def _tell(
        self, hear: Callable[[Tx, SignalFacts], None], name: str, tx: Tx, facts: SignalFacts
    ) -> None:
        try:
            with tx.begin_nested():
                hear(tx, facts)
        except Exception as error:
            if (failed := unit_of(tx).failed) is not None:
                raise failed from error
            _not_outrun(error)
            _fault(name, type(error).__name__)


def _not_outrun(error: Exception) -> None:
    """Re-raise serialization conflicts, so that the transaction is retried: no signal's fault."""
    if isinstance(error, SQLAlchemyError) and outrun(error):
        raise error


def _fault(name: str, what: str, spent: float | None = None) -> SignalFault:
    ms = round(spent, 1) if spent is not None else None
    logs.get().warning("signal_fault", code=name, error=what, ms=ms)
    return SignalFault(what)
