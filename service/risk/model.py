"""Risk signals: evidence about the session that can raise requirements but never lower them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import IntEnum
from typing import Any, Final, Protocol
from uuid import UUID

from service.domain.assurance import Acr
from service.risk.fusion import Availability, bounded


class Band(IntEnum):
    """The four risk bands."""

    LOW = 0
    ELEVATED = 1
    HIGH = 2
    CRITICAL = 3

    @property
    def label(self) -> str:
        """Return the name used in the API."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Reason:
    """One contribution to an assessment, with a text for people."""

    code: str
    signal: str
    contribution: float
    detail: str


@dataclass(kw_only=True, frozen=True, slots=True)
class Assessment:
    """The result of a signal: a calibrated log-likelihood ratio, genuine over impostor (nats).

    Args:
        hard: A finding that nothing offsets: a list entry, a replay, impossible travel.
        seen: The input that the signal had available; it bounds the ratio.
    """

    signal: str
    llr: float
    reasons: tuple[Reason, ...] = ()
    enough_history: bool = False
    hard: bool = False
    seen: Availability = Availability.SCORED


@dataclass(kw_only=True, frozen=True, slots=True)
class ClientContext:
    """The client-reported context of the person; empty members are unknown.

    Args:
        asserted: Whether the client may assert the context, so that it counts as evidence.
    """

    ip: str = field(default="", repr=False)
    user_agent: str = field(default="", repr=False)
    device_id: str = field(default="", repr=False)
    accept_language: str = field(default="", repr=False)
    asserted: bool = False


UNSAID: Final = ClientContext()
"""An empty client context."""


@dataclass(kw_only=True, frozen=True, slots=True)
class SignalFacts:
    """The facts that a signal may use.

    Args:
        samples: Behavioral samples of this flow as JSON, by the factor they came with.
        shown: The factors verified in this flow.
        readings: Numbers for signals from factors that were verified in this flow.
        password: Authenticator id of the password verified in this flow; the id changes with each
            new password.
        level: The level reached by this flow alone, without evidence from an earlier session.
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
    """A source of assessments. `tx` is a transaction of `service.store`."""

    name: str
    worst: float
    """The log-likelihood ratio that counts for a fault or a time-out."""

    def assess(self, tx: Any, facts: SignalFacts) -> Assessment:  # noqa: ANN401 - a transaction
        """Score the facts; an exception counts as `worst`."""

    def learn(self, tx: Any, facts: SignalFacts) -> None:  # noqa: ANN401 - a transaction
        """Learn from the facts of a flow that reached AAL2."""

    def failed(self, tx: Any, facts: SignalFacts) -> None:  # noqa: ANN401 - a transaction
        """Record that a factor failed to verify; the subject may be the decoy."""


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
    """A signal failed; the text names the exception or time-out."""


def assess_all(
    signals: tuple[Signal, ...],
    tx: Any,  # noqa: ANN401 - a transaction
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


def _ask(signal: Signal, tx: Any, facts: SignalFacts) -> Assessment:  # noqa: ANN401 - a transaction
    return signal.assess(tx, facts)


def _assess(signal: Signal, tx: Any, facts: SignalFacts, ask: Ask) -> Assessment:  # noqa: ANN401 - a transaction
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
