"""What a message is, where it goes, and how long delivery is tried."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

CODE: Final = "identifier.verification"
"""The kind of message that carries the code which proves an address."""
RECOVERY_CODE: Final = "subject.recovery_code"
"""The kind of message that carries the code of a recovery by the help desk."""
CODES: Final = frozenset({CODE, RECOVERY_CODE})
"""The kinds of messages that carry a code."""
ALARM: Final = "alarm."
"""Begins the kinds that call an operator."""
TRIED: Final = timedelta(days=3)
"""How long delivery is tried of a message that does not end sooner by itself."""
LEASE: Final = timedelta(minutes=2)
"""For how long a process that began a delivery has it."""
DEADLINE: Final = 45
"""Seconds that a sender takes at most, whatever comes how slowly: well within the lease."""
_FIRST: Final = 5
_LONGEST: Final = 3600
_LOCAL: Final = frozenset({"to", "code"})
"""What of a message is for the person alone."""
_KIND: Final = re.compile(r"[a-z_]+(\.[a-z_]+)*(\.\*)?|\*")


class Channel(StrEnum):
    """How a message goes out."""

    EMAIL = "email"
    SMS = "sms"
    ALARM = "alarm"
    """E-mail to the operators."""
    WEBHOOK = "webhook"

    @classmethod
    def of(cls, address: str) -> "Channel":
        """Return the channel of an address in its normal form."""
        return cls.EMAIL if "@" in address else cls.SMS


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"
    """It was refused for good, or tried until its time was over."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message on its way to one target.

    Args:
        id: The same at every try, so that a receiver can tell a repetition.
        delivery: Of this message to this target.
        kind: What happened, such as `authenticator.revoked`.
        at: When.
        until: After when it is of no use.
        target: The channel, or `webhook:` with its id.
        attempts: How often it was tried, with this time.
        subject: Whom it is about.
        client: Whose request caused it.
        locale: The language of the person, as they or their service named it.
        payload: What it says; `to` and `code` among it.
        readable: Whether the payload could be opened.
    """

    id: UUID
    delivery: UUID
    kind: str
    at: datetime
    until: datetime
    target: str
    attempts: int
    subject: UUID | None
    client: UUID | None
    locale: str = ""
    payload: Mapping[str, Any] = field(default_factory=dict, repr=False)
    readable: bool = True

    @property
    def public(self) -> dict[str, Any]:
        """Return what of the payload others than the person may read."""
        return {name: value for name, value in self.payload.items() if name not in _LOCAL}


class Undelivered(Exception):
    """A message could not be delivered; shows no address and nothing that a server said.

    Args:
        reason: A short code, such as `smtp_451`, that is kept with the delivery.
        final: Whether to try again would be of no use.
        after: Seconds that the receiver asked to wait.
    """

    def __init__(self, reason: str, *, final: bool = False, after: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.final = final
        self.after = after


def pause(attempts: int, jitter: float, after: int = 0) -> timedelta:
    """Return how long to wait after so many tries: 5 s, doubling to an hour, give or take half.

    Args:
        attempts: How many tries there were, at least one.
        jitter: From 0 to 1, so that those that failed together do not come back together.
        after: Seconds that the receiver asked for; an hour at most is waited.
    """
    seconds = min(_LONGEST, _FIRST << min(attempts - 1, 10))
    return timedelta(seconds=max(seconds * (0.5 + jitter), min(after, _LONGEST)))


def readable(kinds: str) -> bool:
    """Tell whether a list of kinds can be: names with dots, `name.*`, or `*` for all."""
    return bool(kinds) and all(_KIND.fullmatch(kind) for kind in kinds.split(" "))


def wanted(kinds: str, kind: str) -> bool:
    """Tell whether a kind is among those that a webhook asks for."""
    return any(
        each in (kind, "*") or (each.endswith(".*") and kind.startswith(each[:-1]))
        for each in kinds.split(" ")
    )
