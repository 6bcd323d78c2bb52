"""Count attempts: a slow check before it begins, to be given back; a fast one when it fails."""

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
from service.store.engine import Tx
from service.throttling import store
from service.throttling.model import (
    EMPTY_KEPT,
    FEW_KEPT,
    LONGEST_DELAY,
    MANY_KEPT,
    AttemptLimit,
    Counter,
    Lane,
    delay,
)
from service.throttling.store import limits

_LATER: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Reservation:
    """One counted attempt.

    Args:
        era: The era of the row that it was counted in.
        until: The end of the wait that it began; None where it began none.
    """

    row: UUID
    counter: Counter
    era: int
    until: datetime | None


class Throttling:
    """The attempt counters."""

    def __init__(self, purpose_key: Callable[[Tx, str], bytes], clock: Clock) -> None:
        self._purpose_key = purpose_key
        self._clock = clock

    def bucket(self, tx: Tx, name: str) -> str:
        """Return the keyed digest of an account or of an identifier that has none."""
        key = self._purpose_key(tx, "throttle")
        return hmac.new(key, name.encode(), hashlib.sha256).hexdigest()

    def reserve(self, tx: Tx, bucket: str, lane: Lane, counter: Counter) -> Reservation:
        """Count an attempt; the caller commits it before the check begins.

        Raises:
            Throttled: The account must wait, or its limit is used up.
        """
        now = self._clock.now()
        count = _raised(tx, bucket, lane, counter, now)
        if count is None:
            raise _throttled(tx, bucket, lane, counter, now)
        return Reservation(count.row, counter, count.era, _waits(tx, count, now))

    def require(self, tx: Tx, bucket: str, lane: Lane, counter: Counter) -> None:
        """Let an attempt begin that is counted, by `failed`, only if it fails.

        For a check that is decided in the same unit of work, under the lock of its subject: those
        of one person come one after the other, each finds what the one before has counted.

        Raises:
            Throttled: The account must wait, or its limit is used up.
        """
        now = self._clock.now()
        if not store.is_open(tx, bucket, lane, counter, now):
            raise _throttled(tx, bucket, lane, counter, now)

    def failed(self, tx: Tx, bucket: str, lane: Lane, counter: Counter) -> None:
        """Count an attempt that has failed, whatever others have begun in this bucket meanwhile.

        A slow check holds no lock on the subject: its wait may have begun since `require`. What
        was compared must count all the same.
        """
        now = self._clock.now()
        count = _raised(tx, bucket, lane, counter, now, always=True)
        if count is not None:
            _waits(tx, count, now)

    def release(self, tx: Tx, reservation: Reservation) -> None:
        """Take back the attempt that verified; other failures and their waits stay.

        A wait that others began while this one was checked ends by time only; one set to zero
        meanwhile has nothing left of it to give back.
        """
        taken = reservation
        store.lower_count(tx, taken.row, taken.counter, taken.era, taken.until)

    def give_back(self, tx: Tx, bucket: str, lane: Lane, counters: Iterable[Counter]) -> None:
        """Take back attempts that verified but were kept until nothing could be told from them."""
        row = store.row_of(tx, bucket, lane)
        for counter in counters:
            if row is not None:
                store.lower_count(tx, row[0], counter, row[1], None)

    def verified(self, tx: Tx, bucket: str, lane: Lane, counters: Iterable[Counter]) -> None:
        """Forget the failures of the kinds that a flow has verified afresh at its level.

        Others stay: whoever knows a password signs in with it to no new guesses at a code.
        """
        store.clear_some(tx, bucket, lane, {counter.column for counter in counters})

    def drop_unused(self, tx: Tx, now: datetime) -> int:
        """Forget a page of rows that have come to their end; return how many.

        A hundred failures in a row end an account's attempts, so those that made it wait are kept
        so long that what is forgotten adds up to no more: 4 in 30 days, or 100 in two years.
        """
        ends = store.CounterRetention(now - EMPTY_KEPT, now - FEW_KEPT, now - MANY_KEPT)
        return store.drop_unused(tx, ends)

    def reset(self, tx: Tx, bucket: str, lane: Lane | None = None) -> int:
        """Forget failures, by an operator."""
        return store.clear(tx, bucket, lane)


def _raised(
    tx: Tx, bucket: str, lane: Lane, counter: Counter, now: datetime, *, always: bool = False
) -> store.Count | None:
    count = store.raise_count(tx, bucket, lane, counter, now, always=always)
    if count is None:
        # Another attempt may have made the row just now: it is counted there all the same.
        store.ensure(tx, new_id(now), bucket, lane, now)
        count = store.raise_count(tx, bucket, lane, counter, now, always=always)
    return count


def _waits(tx: Tx, count: store.Count, now: datetime) -> datetime | None:
    """Begin the wait that a count asks for; return its end, None where there is none.

    It ends later than one that is there: that may be given back, as an attempt's own.
    """
    seconds = delay(count.failures, count.free)
    if not seconds:
        return None
    until = now + timedelta(seconds=seconds)
    if count.until is not None:
        until = max(until, count.until + _LATER)
    store.lock(tx, count.row, until)
    return until


def _throttled(tx: Tx, bucket: str, lane: Lane, counter: Counter, now: datetime) -> Throttled:
    until = store.locked_until(tx, bucket, lane, counter)
    left = int((until - now).total_seconds()) + 1 if until and until > now else None
    return Throttled(min(left or LONGEST_DELAY, LONGEST_DELAY + 1))


class Limits:
    """Counts of what may be done only so often, kept under keyed digests of names."""

    def __init__(self, purpose_key: Callable[[Tx, str], bytes], clock: Clock) -> None:
        self._purpose_key = purpose_key
        self._clock = clock

    def take(self, tx: Tx, rule: AttemptLimit, name: str) -> int:
        """Count one time; return 0, or the seconds to wait where it is not allowed."""
        bucket, now = self._bucket(tx, rule, name), self._clock.now()
        if limits.take(tx, bucket, rule, now) is None:
            limits.ensure_limit(tx, bucket, now)
            if limits.take(tx, bucket, rule, now) is None:
                return max(1, self._left(tx, bucket, rule))
        return 0

    def left(self, tx: Tx, rule: AttemptLimit, name: str) -> int:
        """Return the seconds to wait before the next time, and count nothing."""
        return self._left(tx, self._bucket(tx, rule, name), rule)

    def drop_ended(self, tx: Tx, now: datetime) -> int:
        """Forget counts that have ended; return how many."""
        return limits.drop_ended(tx, now)

    def _left(self, tx: Tx, bucket: str, rule: AttemptLimit) -> int:
        now = self._clock.now()
        at = limits.free_at(tx, bucket, rule, now)
        return math.ceil((at - now).total_seconds()) if at and at > now else 0

    def _bucket(self, tx: Tx, rule: AttemptLimit, name: str) -> str:
        key, text = self._purpose_key(tx, "limits"), f"{rule.name}|{name}"
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
