"""Mail and webhooks that a test receives."""

import threading

import pytest

from service.notifications.actions.delivering import Delivering
from service.notifications.actions.webhooks import Webhooks
from service.notifications.model import Channel
from service.telemetry.metrics import Metrics


class Post:
    """A sender that keeps what it is given, and fails as it is told."""

    def __init__(self):
        self.got, self.failures, self.guard = [], [], threading.Lock()

    def send(self, message):
        """Take a message, or fail."""
        with self.guard:
            if self.failures:
                raise self.failures.pop(0)
            self.got.append(message)

    @property
    def kinds(self):
        """Return what kinds arrived, in order."""
        return [message.kind for message in self.got]


class Mail:
    """Delivery with senders of its own on the features of a house."""

    def __init__(self, container, *channels):
        self.container = container
        self.posts = {channel: Post() for channel in channels or Channel}
        self.webhooks = Webhooks(container.audit, container.clock, plain=False)
        self.metrics = Metrics()
        self.delivering = self.another()

    def another(self):
        """Return what another process would deliver with."""
        return Delivering(
            database=self.container.store,
            webhooks=self.webhooks,
            senders=self.posts,
            locale=lambda _tx, _subject: "zh-CN",
            clock=self.container.clock,
            metrics=self.metrics,
        )

    def put(self, kind="authenticator.revoked", subject=None, **payload):
        """Put a message in."""
        with self.container.store.transaction() as tx:
            self.container.outbox.put(tx, kind=kind, subject=subject, payload=payload)
        self.container.clock.advance(milliseconds=2)

    def run(self, **after):
        """Let some time pass, then deliver what is due."""
        self.container.clock.advance(**after or {"seconds": 0})
        self.delivering.all_due()

    def rows(self):
        """Return what was not delivered."""
        with self.container.store.transaction(read=True) as tx:
            return self.container.outbox.waiting(tx)

    def hook(self, kinds="*", client=None):
        """Register a webhook."""
        with self.container.store.transaction() as tx:
            return self.webhooks.add(
                tx, url="https://shop.example/hook", kinds=kinds, client=client
            )


@pytest.fixture
def mail(container):
    """Return delivery by senders that keep what they are given."""
    return Mail(container)
