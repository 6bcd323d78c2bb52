"""Signals: evidence about the session that may raise what is asked and never lower it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import IntEnum
from typing import Any, Final, Protocol
from uuid import UUID

from service.domain.assurance import Acr
from service.risk.fusion import Availability, bounded


class Band(IntEnum):
    """Risk in four steps."""

    LOW = 0
    ELEVATED = 1
    HIGH = 2
    CRITICAL = 3

    @property
    def label(self) -> str:
        """Return the name that the contract uses."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Reason:
    """One contribution to an assessment, readable by a person."""

    code: str
    signal: str
    contribution: float
    detail: str


@dataclass(frozen=True, slots=True)
class Assessment:
    """What a signal says: a calibrated log-likelihood ratio, genuine over impostor (nats).

    Args:
        hard: A finding that nothing offsets: a list, a replay, impossible travel.
        seen: What the signal had to go by; it bounds what the ratio may be.
    """

    signal: str
    llr: float
    reasons: tuple[Reason, ...] = ()
    enough_history: bool = False
    hard: bool = False
    seen: Availability = Availability.SCORED


@dataclass(frozen=True, slots=True)
class ClientContext:
    """What the caller says of the person's surroundings; empty where it says nothing.

    Args:
        asserted: Whether the client is registered to assert them, so that they count as evidence.
    """

    ip: str = field(default="", repr=False)
    user_agent: str = field(default="", repr=False)
    device_id: str = field(default="", repr=False)
    accept_language: str = field(default="", repr=False)
    asserted: bool = False


UNSAID: Final = ClientContext()
"""Surroundings of which nothing is said."""


@dataclass(frozen=True, slots=True)
class SignalFacts:
    """What a signal may look at.

    Args:
        samples: Behavioral samples of this flow as JSON, by the factor they came with.
        shown: The factors that have verified in this flow.
        readings: Numbers that factors which verified in this flow left for signals to judge.
        password: The password that verified in this flow, by the id of the authenticator, which
            is another after each change.
        level: What was verified in this flow alone reaches, without what a session brought along.
    """

    subject: UUID
    flow: str
    client: UUID
    segment: str
    now: datetime
    client_context: ClientContext
    samples: Mapping[str, str] = field(repr=False)
    shown: tuple[str, ...]
    known_device: bool
    readings: Mapping[str, Mapping[str, float]] = field(default_factory=dict, repr=False)
    password: UUID | None = None
    level: Acr = Acr.NONE


class Signal(Protocol):
    """A source of assessments. `tx` is a unit of work of `service.store`."""

    name: str
    worst: float
    """The log-likelihood ratio that a fault or a time-out counts as."""

    def assess(self, tx: Any, facts: SignalFacts) -> Assessment:  # noqa: ANN401 - a unit of work
        """Score what was seen; may raise, which counts as `worst`."""

    def learn(self, tx: Any, facts: SignalFacts) -> None:  # noqa: ANN401 - a unit of work
        """Take in what was seen, after a flow that reached AAL2."""

    def failed(self, tx: Any, facts: SignalFacts) -> None:  # noqa: ANN401 - a unit of work
        """Note that a factor failed to verify; the subject may be the decoy."""


Ask = Callable[[Signal, Any, SignalFacts], Assessment]
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
    """A signal that could not answer, with the name of what went wrong."""


def assess_all(
    signals: tuple[Signal, ...],
    tx: Any,  # noqa: ANN401 - a unit of work
    facts: SignalFacts,
    ask: Ask | None = None,
) -> tuple[Assessment, ...]:
    """Ask every signal; one that fails counts as its worst and never stops the login.

    Args:
        signals: Whom to ask.
        tx: A unit of work.
        facts: What they may look at.
        ask: How to ask one, where it is to be isolated and timed.
    """
    return tuple(_assess(signal, tx, facts, ask or _ask) for signal in signals)


def _ask(signal: Signal, tx: Any, facts: SignalFacts) -> Assessment:  # noqa: ANN401 - a unit of work
    return signal.assess(tx, facts)


def _assess(signal: Signal, tx: Any, facts: SignalFacts, ask: Ask) -> Assessment:  # noqa: ANN401 - a unit of work
    try:
        return _settled(signal, ask(signal, tx, facts))
    except SignalFault as fault:
        return _fault(signal, str(fault))
    except FAULTS as error:
        return _fault(signal, type(error).__name__)


def _settled(signal: Signal, found: Assessment) -> Assessment:
    """Return the assessment within its bounds, with a reason that names what counts."""
    llr = bounded(found.llr, signal.worst, found.seen)
    if llr == found.llr and found.reasons:
        return found
    detail = f"the signal {_MISSING.get(found.seen, 'counts within what it can prove')}"
    named = Reason(found.seen.value, found.signal, llr, detail)
    return replace(found, llr=llr, reasons=(*found.reasons, named))


def _fault(signal: Signal, name: str) -> Assessment:
    detail = f"the signal failed with {name} and counts as its worst"
    reason = Reason("signal_fault", signal.name, signal.worst, detail)
    return Assessment(signal.name, signal.worst, (reason,), seen=Availability.FAULT)
