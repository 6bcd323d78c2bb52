"""Registers subjects and confirms their addresses."""

from operator import attrgetter

EMAIL = "Alice@Example.com"


PHONE = "+49 30 123456"


CONSENT = {
    "purpose": "face_login",
    "version": "1",
    "text_hash": "sha256:00",
    "locale": "en",
    "channel": "web",
}


NORMAL = {"username": "Alice", "email": "alice@example.com", "phone": "+4930123456"}


def act(container, name, *arguments, **named):
    """Call an action in a unit of work of its own."""
    with container.store.transaction() as tx:
        return attrgetter(name)(container.accounts)(tx, *arguments, **named)


def messages(container, kind):
    """Return the payloads of one kind that wait in the outbox."""
    with container.store.transaction() as tx:
        waiting = container.outbox.waiting(tx, reveal=True)
    return [row["payload"] for row in waiting if row["kind"] == kind]
