"""Messages, channels and delivery states, and the schedule of retries. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

CODE: Final = "identifier.verification"
"""The kind of message that carries an address verification code."""
RECOVERY_CODE: Final = "subject.recovery_code"
"""The kind of message that carries the code of a help-desk recovery."""
CODES: Final = frozenset({CODE, RECOVERY_CODE})
"""The kinds of messages that carry a code."""
ALARM: Final = "alarm."
"""The prefix of the kinds that alert operators."""
TRIED: Final = timedelta(days=3)
"""How long delivery is retried, unless the message expires earlier."""
LEASE: Final = timedelta(minutes=2)
"""How long a claimed delivery is reserved for the process that claimed it."""
DEADLINE: Final = 45
"""The longest time of one delivery in seconds, however slow the peer is; less than the lease."""
_FIRST: Final = 5
_LONGEST: Final = 3600
_LOCAL: Final = frozenset({"to", "code"})
"""Members of a payload that only the person may receive."""
_KIND: Final = re.compile(r"[a-z_]+(\.[a-z_]+)*(\.\*)?|\*")


class Channel(StrEnum):
    """The medium of a delivery."""

    EMAIL = "email"
    SMS = "sms"
    ALARM = "alarm"
    """E-mail to the operators."""
    WEBHOOK = "webhook"

    @classmethod
    def of(cls, address: str) -> "Channel":
        """Return the channel of a normalized address."""
        return cls.EMAIL if "@" in address else cls.SMS


class DeliveryState(StrEnum):
    """The state of a delivery."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"
    """Refused permanently, or not delivered before the message expired."""


@dataclass(kw_only=True, frozen=True, slots=True)
class Message:
    """A message on its way to a target.

    Args:
        id: The same for each attempt, so that a receiver can detect repetitions.
        delivery: The id of the delivery: this message to this target.
        kind: The event, such as `authenticator.revoked`.
        at: When the event happened.
        until: When the message becomes useless.
        target: The channel, or `webhook:` with its id.
        attempts: How many attempts were made, including this one.
        subject: The subject of the event.
        client: The client whose request caused the event.
        locale: The language of the person, as given by them or their service.
        payload: The members of the message, including `to` and `code`.
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
    payload: Mapping[str, object] = field(default_factory=dict, repr=False)
    readable: bool = True

    @property
    def public(self) -> dict[str, object]:
        """Return the members of the payload that others than the person may read."""
        return {name: value for name, value in self.payload.items() if name not in _LOCAL}


class Undelivered(Exception):
    """A failed delivery; contains neither an address nor text from a server.

    Args:
        reason: A short code, such as `smtp_451`, that is stored with the delivery.
        final: Whether a retry would be useless.
        after: Seconds that the receiver asked to wait.
    """

    def __init__(self, reason: str, *, final: bool = False, after: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.final = final
        self.after = after


def pause(attempts: int, jitter: float, after: int = 0) -> timedelta:
    """Return the pause before the next attempt: 5 s, doubling up to an hour, with jitter of ±50 %.

    Args:
        attempts: How many attempts were made, at least one.
        jitter: From 0 to 1, so that deliveries that failed together do not retry together.
        after: Seconds that the receiver asked to wait; capped at an hour.
    """
    seconds = min(_LONGEST, _FIRST << min(attempts - 1, 10))
    return timedelta(seconds=max(seconds * (0.5 + jitter), min(after, _LONGEST)))


def readable(kinds: str) -> bool:
    """Tell whether a list of kinds is valid: dotted names, `name.*`, or `*` for all."""
    return bool(kinds) and all(_KIND.fullmatch(kind) for kind in kinds.split(" "))


def wanted(kinds: str, kind: str) -> bool:
    """Tell whether a kind matches the list of kinds of a webhook."""
    return any(
        each in (kind, "*") or (each.endswith(".*") and kind.startswith(each[:-1]))
        for each in kinds.split(" ")
    )
