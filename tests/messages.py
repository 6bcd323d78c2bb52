"""A message of the outbox, and the texts in which it is rendered."""

import uuid
from datetime import UTC, datetime, timedelta

from service.domain.clock import FrozenClock
from service.notifications.model import CODE, Message
from service.notifications.texts.templates import Texts

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
CLOCK = FrozenClock(NOW)
TEXTS = Texts("Bank & Co", "en")


def message(kind=CODE, to="alice@example.com", locale="", target="email", **more):
    """Return a message."""
    payload = {"to": to, "code": "12345678"} | more
    return Message(
        id=uuid.UUID(int=7),
        delivery=uuid.UUID(int=8),
        kind=kind,
        at=NOW,
        until=NOW + timedelta(minutes=10),
        target=target,
        attempts=1,
        subject=None,
        client=None,
        locale=locale,
        payload=payload,
    )
