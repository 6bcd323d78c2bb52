"""How long to wait after how many failures (SP 800-63B-4 section 3.2.2)."""

from enum import StrEnum
from typing import Final

HARD_TOTAL: Final = 100
FREE: Final = 5
FIRST_DELAY: Final = 30
LONGEST_DELAY: Final = 3600
FACE_TOTAL: Final = 50
STEPS_TO_LONGEST: Final = 7


class Counter(StrEnum):
    """What kind of attempt is counted."""

    KNOWLEDGE = "knowledge"
    OTHER = "other"
    FACE = "face"


class Lane(StrEnum):
    """Strangers fill a bucket of their own and cannot lock out a known device."""

    KNOWN_DEVICE = "known_device"
    STRANGER = "stranger"


def limit(counter: Counter) -> int:
    """Return the number of failures in a row after which a counter is off until it is reset."""
    return FACE_TOTAL if counter is Counter.FACE else HARD_TOTAL


def delay(failures: int) -> int:
    """Return the seconds to wait after so many failures: 0, then 30 doubling to an hour."""
    if failures < FREE:
        return 0
    return min(LONGEST_DELAY, FIRST_DELAY << min(failures - FREE, STEPS_TO_LONGEST))
