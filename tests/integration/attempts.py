"""Makes attempts at one bucket."""

import pytest

from service.domain.errors import Throttled
from service.throttling.model import Counter, Lane


def reserve(container, bucket="alice", lane=Lane.STRANGER, counter=Counter.OTHER):
    """Count an attempt in a unit of work of its own."""
    with container.store.transaction() as tx:
        return container.throttling.reserve(tx, bucket, lane, counter)


def release(container, reservation):
    """Give an attempt back."""
    with container.store.transaction() as tx:
        container.throttling.release(tx, reservation)


def reset(container, bucket="alice", lane=None):
    """Forget the failures of a bucket."""
    with container.store.transaction() as tx:
        return container.throttling.reset(tx, bucket, lane)


def wait(container, *arguments, **named):
    """Return how long an attempt that is refused must wait."""
    with pytest.raises(Throttled) as refused:
        reserve(container, *arguments, **named)
    return refused.value.retry_after


def fill(container, failures, **named):
    """Let attempts fail one after the other, each as soon as it may."""
    for _ in range(failures):
        reserve(container, **named)
        container.clock.advance(hours=1)
