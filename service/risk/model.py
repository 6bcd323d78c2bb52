"""Risk signals: evidence about the session that can raise requirements but never lower them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Final
from uuid import UUID

from service.domain.assurance import Acr
from service.risk.fusion import Availability


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
