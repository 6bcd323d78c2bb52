"""The port of a signal, and how all signals of a login are asked."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Protocol

from service.risk.fusion import Availability, bounded
from service.risk.model import Assessment, Reason, SignalFacts
from service.store.ahead import PlannedRead
from service.store.engine import Tx


class Signal(Protocol):
    """A source of assessments."""

    name: str
    worst: float
    """The log-likelihood ratio that counts for a fault or a time-out."""

    def assess(self, tx: Tx, facts: SignalFacts) -> Assessment:
        """Score the facts; an exception counts as `worst`."""

    def ahead(self, tx: Tx, facts: SignalFacts) -> Sequence[PlannedRead]:
        """Return the statements that `assess` will run, to read them with others."""

    def learn(self, tx: Tx, facts: SignalFacts) -> None:
        """Learn from the facts of a flow that reached AAL2."""

    def failed(self, tx: Tx, facts: SignalFacts) -> None:
        """Record that a factor failed to verify; the subject may be the decoy."""


Ask = Callable[[Signal, Tx, SignalFacts], Assessment]
FAULTS: Final = (
    ArithmeticError,
    LookupError,
    ValueError,
    TypeError,
    OSError,
    RuntimeError,
    AttributeError,
    AssertionError,
)
_MISSING: Final = {
    Availability.NOT_OFFERED: "was never offered and says nothing",
    Availability.NO_HISTORY: "has too little history to say anything",
    Availability.WITHHELD: "was expected and is withheld",
}


class SignalFault(RuntimeError):
    """A signal failed; the text names the exception or time-out."""


def assess_all(
    signals: tuple[Signal, ...],
    tx: Tx,
    facts: SignalFacts,
    ask: Ask | None = None,
) -> tuple[Assessment, ...]:
    """Ask every signal; a failing signal counts as its worst and never stops the login.

    Args:
        signals: The signals.
        tx: A transaction.
        facts: The facts that they may use.
        ask: Calls one signal, for isolation and timing.
    """
    return tuple(_assess(signal, tx, facts, ask or _ask) for signal in signals)


def _ask(signal: Signal, tx: Tx, facts: SignalFacts) -> Assessment:
    return signal.assess(tx, facts)


def _assess(signal: Signal, tx: Tx, facts: SignalFacts, ask: Ask) -> Assessment:
    try:
        return _settled(signal, ask(signal, tx, facts))
    except SignalFault as fault:
        return _fault(signal, str(fault))
    except FAULTS as error:
        return _fault(signal, type(error).__name__)


def _settled(signal: Signal, found: Assessment) -> Assessment:
    """Return the assessment within its bounds, with a reason that explains the ratio."""
    llr = bounded(found.llr, signal.worst, found.seen)
    if llr == found.llr and found.reasons:
        return found
    detail = f"the signal {_MISSING.get(found.seen, 'counts within what it can prove')}"
    named = Reason(found.seen.value, found.signal, llr, detail)
    return replace(found, llr=llr, reasons=(*found.reasons, named))


def _fault(signal: Signal, name: str) -> Assessment:
    detail = f"the signal failed with {name} and counts as its worst"
    reason = Reason("signal_fault", signal.name, signal.worst, detail)
    return Assessment(
        signal=signal.name, llr=signal.worst, reasons=(reason,), seen=Availability.FAULT
    )
