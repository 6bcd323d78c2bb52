"""Signals: evidence about the session that may raise what is asked and never lower it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol
from uuid import UUID


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
    """What a signal says: a calibrated log-likelihood ratio, genuine over impostor (nats)."""

    signal: str
    llr: float
    reasons: tuple[Reason, ...] = ()
    enough_history: bool = False
    hard: bool = False


@dataclass(frozen=True, slots=True)
class SignalFacts:
    """What a signal may look at."""

    subject: UUID
    flow: str
    client: UUID
    context: Mapping[str, Any]
    known_device: bool


class Signal(Protocol):
    """A source of assessments."""

    name: str
    worst: float
    """The log-likelihood ratio that a fault or a time-out counts as."""

    def assess(self, facts: SignalFacts) -> Assessment:
        """Score what was seen; may raise, which counts as `worst`."""


def assess_all(signals: tuple[Signal, ...], facts: SignalFacts) -> tuple[Assessment, ...]:
    """Ask every signal; one that fails counts as its worst and never stops the login."""
    return tuple(_assess(signal, facts) for signal in signals)


def _assess(signal: Signal, facts: SignalFacts) -> Assessment:
    try:
        return signal.assess(facts)
    except (ArithmeticError, LookupError, ValueError, TypeError, OSError, RuntimeError) as error:
        detail = f"the signal failed with {type(error).__name__} and counts as its worst"
        reason = Reason("signal_fault", signal.name, signal.worst, detail)
        return Assessment(signal.name, signal.worst, (reason,))
