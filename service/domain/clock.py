"""Clocks: every rule takes `now` as an argument, every action takes a Clock."""

import time
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

SKEW: Final = timedelta(minutes=5)
"""Maximum difference between clocks. A time further in the future was written by a wrong clock."""


class Clock(Protocol):
    """A source of the current time in UTC."""

    def now(self) -> datetime:
        """Return an aware datetime in UTC."""


class SystemClock:
    """The system clock."""

    def now(self) -> datetime:
        """Return the current time in UTC."""
        return datetime.now(UTC)


class FrozenClock:
    """A clock that only moves when advanced; for tests and replays."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._passed = 0.0

    def now(self) -> datetime:
        """Return the set time."""
        return self._now

    def advance(self, **amount: float) -> None:
        """Let time pass by a timedelta given as keywords."""
        self._now += timedelta(**amount)
        self._passed += timedelta(**amount).total_seconds()

    def jump(self, **amount: float) -> None:
        """Set the clock forwards or back by a timedelta, without time passing."""
        self._now += timedelta(**amount)

    def passed(self) -> float:
        """Return the seconds passed since an arbitrary start."""
        return self._passed


def passed(clock: Clock) -> float:
    """Return monotonic seconds since an arbitrary start, unaffected by changes of the clock."""
    own = getattr(clock, "passed", None)
    return float(own()) if own is not None else time.monotonic()


def in_force(ends: datetime, now: datetime, life: timedelta) -> bool:
    """Return whether an expiry time is in the future and not later than the lifetime allows."""
    return now < ends <= now + life + SKEW


def has_come(moment: datetime, now: datetime) -> bool:
    """Return whether a stored time is not in the future, allowing for clock differences."""
    return moment <= now + SKEW


def rfc3339(moment: datetime) -> str:
    """Format a time as RFC 3339 in UTC with a `Z`, to the second."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def unix(moment: datetime) -> int:
    """Return whole seconds since 1970."""
    return int(moment.timestamp())
