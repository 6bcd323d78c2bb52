"""The time, as an argument: every rule takes `now`, every action takes a Clock."""

import time
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

SKEW: Final = timedelta(minutes=5)
"""How far apart clocks may be. What was written later than that from now was written by one that
went wrong."""


class Clock(Protocol):
    """Tells the time in UTC."""

    def now(self) -> datetime:
        """Return an aware datetime in UTC."""


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        """Return the present time in UTC."""
        return datetime.now(UTC)


class FrozenClock:
    """A clock that moves only when told; for tests and replays."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._passed = 0.0

    def now(self) -> datetime:
        """Return the time that was set."""
        return self._now

    def advance(self, **amount: float) -> None:
        """Move on by a timedelta given in its keywords, as time passes."""
        self._now += timedelta(**amount)
        self._passed += timedelta(**amount).total_seconds()

    def jump(self, **amount: float) -> None:
        """Show another time, forwards or back, without any that passes: the clock was set."""
        self._now += timedelta(**amount)

    def passed(self) -> float:
        """Return how many seconds have passed since some moment."""
        return self._passed


def passed(clock: Clock) -> float:
    """Return how many seconds have passed since some moment, whatever the clock was set to."""
    own = getattr(clock, "passed", None)
    return float(own()) if own is not None else time.monotonic()


def in_force(ends: datetime, now: datetime, life: timedelta) -> bool:
    """Tell whether what lives so long is in force: not over, and not from the future."""
    return now < ends <= now + life + SKEW


def has_come(moment: datetime, now: datetime) -> bool:
    """Tell whether a stored time is not of the future, but for what clocks differ."""
    return moment <= now + SKEW


def rfc3339(moment: datetime) -> str:
    """Return a time as RFC 3339 in UTC with a `Z`, to the second."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def unix(moment: datetime) -> int:
    """Return whole seconds since 1970."""
    return int(moment.timestamp())
