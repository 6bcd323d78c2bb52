"""Count attempts: slow checks are reserved before they start, fast ones counted on failure."""

import hashlib
import hmac
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from service.domain.clock import Clock
from service.domain.errors import Throttled
from service.domain.ids import new_id
from service.store.ahead import PlannedRead
from service.store.engine import Tx
from service.store.moment import moment
from service.throttling.model import (
    EMPTY_KEPT,
    FEW_KEPT,
    FREE,
    LONGEST_DELAY,
    MANY_KEPT,
    AttemptLimit,
    Counter,
    Lane,
    delay,
    free,
)
from service.throttling.store import buckets as store
from service.throttling.store import limits

_LATER: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Reservation:
    """A counted attempt.

    Args:
        era: The era of the row in which it was counted.
        until: The end of the throttle delay that it started; None if none.
    """

    row: UUID
    counter: Counter
    era: int
    until: datetime | None


class Throttling:
    """The attempt counters."""

    def __init__(
        self, purpose_key: Callable[[Tx, str], bytes], clock: Clock, free_attempts: int = FREE
    ) -> None:
        self._purpose_key = purpose_key
        self._clock = clock
        self._free = free_attempts

    def bucket(self, tx: Tx, name: str) -> str:
        """Return the bucket of an account or of an unknown identifier: a keyed digest."""
        key = self._purpose_key(tx, "throttle")
        return hmac.new(key, name.encode(), hashlib.sha256).hexdigest()

    def reserve(self, tx: Tx, bucket: str, lane: Lane, counter: Counter) -> Reservation:
        """Count an attempt in advance; the caller commits it before the check starts.

        Raises:
            Throttled: The account is delayed, or its limit is reached.
        """
        now = self._clock.now()
        count = _raised(tx, bucket=bucket, lane=lane, counter=counter, now=now)
        if count is None:
            raise _throttled(tx, bucket=bucket, lane=lane, counter=counter, now=now)
        return Reservation(count.row, counter, count.era, self._waits(tx, count, counter, now))

    def ahead(self, tx: Tx, bucket: str, lane: Lane, counter: Counter) -> list[PlannedRead]:
        """Return what `require` and `verified` read."""
        now = moment(tx, self._clock)
        wanted = store.open_ahead(bucket=bucket, lane=lane, counter=counter, now=now)
        return [wanted, store.state_ahead(bucket, lane)]

    def require(self, tx: Tx, bucket: str, lane: Lane, counter: Counter) -> None:
        """Check that an attempt may start, if it is counted by `failed` only on failure.

        For a check that is decided in the same transaction, under the lock of its subject: checks
        of one person are serialized, and each sees the attempts counted before.

        Raises:
            Throttled: The account is delayed, or its limit is reached.
        """
        now = moment(tx, self._clock)
        asked = store.open_ahead(bucket=bucket, lane=lane, counter=counter, now=now)
        if not store.is_open(tx, asked):
            raise _throttled(tx, bucket=bucket, lane=lane, counter=counter, now=now)

    def failed(self, tx: Tx, bucket: str, lane: Lane, counter: Counter) -> None:
        """Count a failed attempt, even if the bucket was locked meanwhile.

        A slow check holds no lock on the subject, so a throttle delay may have started since
        `require`. A comparison that was made must count all the same.
        """
        now = self._clock.now()
        count = _raised(tx, bucket=bucket, lane=lane, counter=counter, now=now, always=True)
        if count is not None:
            self._waits(tx, count, counter, now)

    def release(self, tx: Tx, reservation: Reservation) -> None:
        """Undo the attempt that verified; other failures and their delays remain.

        A delay started by others during the check ends by time only; a counter reset meanwhile has
        nothing to undo.
        """
        taken = reservation
        store.lower_count(tx, taken.row, counter=taken.counter, era=taken.era, until=taken.until)

    def give_back(self, tx: Tx, bucket: str, lane: Lane, counters: Iterable[Counter]) -> None:
        """Undo verified attempts that stayed counted while disclosure was deferred."""
        row = store.row_of(tx, bucket, lane)
        for counter in counters:
            if row is not None:
                store.lower_count(tx, row[0], counter=counter, era=row[1], until=None)

    def verified(self, tx: Tx, bucket: str, lane: Lane, counters: Iterable[Counter]) -> None:
        """Clear the failures of the kinds that a flow has freshly verified at its level.

        Others remain: knowing a password grants no new guesses at a code.
        """
        store.clear_some(tx, bucket, lane, {counter.column for counter in counters})

    def _waits(
        self, tx: Tx, count: store.Count, counter: Counter, now: datetime
    ) -> datetime | None:
        """Start the throttle delay for a count; return its end, None if there is none.

        It ends later than an existing delay, so that each attempt can undo only its own.
        """
        seconds = delay(count.failures, free(counter, strict=count.strict, most=self._free))
        if not seconds:
            return None
        until = now + timedelta(seconds=seconds)
        if count.until is not None:
            until = max(until, count.until + _LATER)
        store.lock(tx, count.row, until)
        return until

    def drop_unused(self, tx: Tx, now: datetime) -> int:
        """Delete a page of expired rows; return how many.

        A hundred consecutive failures lock an account, so rows with a delay are retained long
        enough that deletion grants no more: 4 guesses in 30 days, or 100 in two years.
        """
        ends = store.CounterRetention(now - EMPTY_KEPT, now - FEW_KEPT, now - MANY_KEPT)
        return store.drop_unused(tx, ends)

    def reset(self, tx: Tx, bucket: str, lane: Lane | None = None) -> int:
        """Clear failures, by an operator."""
        return store.clear(tx, bucket, lane)


def _raised(
    tx: Tx, *, bucket: str, lane: Lane, counter: Counter, now: datetime, always: bool = False
) -> store.Count | None:
    count = store.raise_count(tx, bucket=bucket, lane=lane, counter=counter, now=now, always=always)
    if count is None:
        # A concurrent attempt may have inserted the row just now; this attempt is counted in it.
        store.ensure(tx, new_id(now), bucket=bucket, lane=lane, now=now)
        count = store.raise_count(
            tx, bucket=bucket, lane=lane, counter=counter, now=now, always=always
        )
    return count


def _throttled(tx: Tx, *, bucket: str, lane: Lane, counter: Counter, now: datetime) -> Throttled:
    until = store.locked_until(tx, bucket, lane, counter)
    left = int((until - now).total_seconds()) + 1 if until and until > now else None
    return Throttled(min(left or LONGEST_DELAY, LONGEST_DELAY + 1))


class Limits:
    """Rate limits, counted under keyed digests of names."""

    def __init__(self, purpose_key: Callable[[Tx, str], bytes], clock: Clock) -> None:
        self._purpose_key = purpose_key
        self._clock = clock

    def take(self, tx: Tx, rule: AttemptLimit, name: str) -> int:
        """Count one use; return 0, or the seconds to wait if it is not allowed."""
        bucket = self._bucket(tx, rule, name)
        now = self._clock.now()
        if limits.take(tx, bucket, rule, now) is None:
            limits.ensure_limit(tx, bucket, now)
            if limits.take(tx, bucket, rule, now) is None:
                return max(1, self._left(tx, bucket, rule))
        return 0

    def left(self, tx: Tx, rule: AttemptLimit, name: str) -> int:
        """Return the seconds until the next use is allowed, without counting."""
        return self._left(tx, self._bucket(tx, rule, name), rule)

    def drop_ended(self, tx: Tx, now: datetime) -> int:
        """Delete expired counts; return how many."""
        return limits.drop_ended(tx, now)

    def _left(self, tx: Tx, bucket: str, rule: AttemptLimit) -> int:
        now = self._clock.now()
        at = limits.free_at(tx, bucket, rule, now)
        return math.ceil((at - now).total_seconds()) if at and at > now else 0

    def _bucket(self, tx: Tx, rule: AttemptLimit, name: str) -> str:
        key = self._purpose_key(tx, "limits")
        text = f"{rule.name}|{name}"
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
