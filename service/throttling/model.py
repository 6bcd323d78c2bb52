"""Throttle delays by the number of failures (SP 800-63B-4 sections 3.2.2 and 3.2.3).

Faces share one counter, with or without active liveness. While all consecutive failures had
active liveness, ten are free and a hundred are the limit. From the first one without, the limits
are five and fifty, as if none had: mixing the two grants no more than the stricter rule. Such a
row is marked strict.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

HARD_TOTAL: Final = 100
FREE: Final = 5
FIRST_DELAY: Final = 30
LONGEST_DELAY: Final = 3600
FACE_TOTAL: Final = 50
LIVE_FREE: Final = 10
EMPTY_KEPT: Final = timedelta(days=1)
FEW_KEPT: Final = timedelta(days=30)
MANY_KEPT: Final = timedelta(days=730)
STEPS_TO_LONGEST: Final = 7


class Counter(StrEnum):
    """The kinds of counted attempts."""

    KNOWLEDGE = "knowledge"
    OTHER = "other"
    FACE = "face"
    LIVE_FACE = "live_face"
    """A face with active liveness; shares one count with `FACE`."""

    @property
    def column(self) -> str:
        """Return the name of the counter column."""
        return Counter.FACE.value if self is Counter.LIVE_FACE else self.value


class Lane(StrEnum):
    """Separate attempt counters, so that strangers cannot lock out a known device."""

    KNOWN_DEVICE = "known_device"
    STRANGER = "stranger"


def limit(counter: Counter) -> int:
    """Return the number of consecutive failures that locks a counter until it is reset."""
    return FACE_TOTAL if counter is Counter.FACE else HARD_TOTAL


def free(counter: Counter, *, strict: bool, most: int = FREE) -> int:
    """Return the number of consecutive failures without a delay.

    Args:
        counter: What is counted.
        strict: Whether the row holds a face capture without commanded gestures.
        most: The setting; captures with commanded gestures have a number of their own.
    """
    return LIVE_FREE if counter is Counter.LIVE_FACE and not strict else most


def delay(failures: int, after: int = FREE) -> int:
    """Return the throttle delay in seconds: 0, then 30, doubling up to an hour.

    Args:
        failures: Number of consecutive failures.
        after: Number of failures without a delay.
    """
    if failures < after:
        return 0
    return min(LONGEST_DELAY, FIRST_DELAY << min(failures - after, STEPS_TO_LONGEST))


@dataclass(kw_only=True, frozen=True, slots=True)
class AttemptLimit:
    """A rate limit of an operation.

    Args:
        name: The name of the count; another rule with the same name is another count.
        most: Maximum number of uses in a span.
        span: Duration of a count.
        gaps: Seconds to wait after the first use, the second and so on; the last value repeats.
        rolling: Whether each use restarts the span; otherwise it starts with the first use.
    """

    name: str
    most: int
    span: timedelta
    gaps: tuple[int, ...] = (0,)
    rolling: bool = True

    def gap(self, count: int) -> timedelta:
        """Return the time to wait after a number of uses."""
        return timedelta(seconds=self.gaps[min(count, len(self.gaps)) - 1])
