"""How long to wait after how many failures (SP 800-63B-4 sections 3.2.2 and 3.2.3).

Faces are counted in one number, whether they were to show that they live or not. While all of the
failures in a row followed a command, ten are free and a hundred end it; from the first that did
not on, five and fifty, as if none had: to mix the two gives nobody more than the stricter grants.
Such a row is marked strict.
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
    """What kind of attempt is counted."""

    KNOWLEDGE = "knowledge"
    OTHER = "other"
    FACE = "face"
    LIVE_FACE = "live_face"
    """A face that was told to move; with `FACE` it makes one count."""

    @property
    def column(self) -> str:
        """Return the name of the number that it is counted in."""
        return Counter.FACE.value if self is Counter.LIVE_FACE else self.value


class Lane(StrEnum):
    """Strangers fill a bucket of their own and cannot lock out a known device."""

    KNOWN_DEVICE = "known_device"
    STRANGER = "stranger"


def limit(counter: Counter) -> int:
    """Return the number of failures in a row after which a counter is off until it is reset."""
    return FACE_TOTAL if counter is Counter.FACE else HARD_TOTAL


def free(counter: Counter, *, strict: bool) -> int:
    """Return how many failures in a row wait for nothing, in a row that is strict or not."""
    return LIVE_FREE if counter is Counter.LIVE_FACE and not strict else FREE


def delay(failures: int, after: int = FREE) -> int:
    """Return the seconds to wait after so many failures: 0, then 30 doubling to an hour.

    Args:
        failures: How many there are in a row.
        after: How many of them are free.
    """
    if failures < after:
        return 0
    return min(LONGEST_DELAY, FIRST_DELAY << min(failures - after, STEPS_TO_LONGEST))


@dataclass(frozen=True, slots=True)
class AttemptLimit:
    """How often one thing may be done.

    Args:
        name: What is counted; the same name with another rule is another count.
        most: How often, until the count ends.
        span: How long a count lasts.
        gaps: Seconds to wait after the first, the second and so on; the last holds from then on.
        rolling: Each time makes the count last its span anew; else it lasts from the first.
    """

    name: str
    most: int
    span: timedelta
    gaps: tuple[int, ...] = (0,)
    rolling: bool = True

    def gap(self, count: int) -> timedelta:
        """Return how long to wait after so many times."""
        return timedelta(seconds=self.gaps[min(count, len(self.gaps)) - 1])
