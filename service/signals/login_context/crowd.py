"""Population statistics: how common values are, and whether failures surge."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from service.signals.login_context.features import Level
from service.signals.login_context.population import COUNTED, EMPTY, HALF_LIFE, ContextCounts

WINDOW: Final = timedelta(minutes=5)
COMPARED: Final = timedelta(hours=24)
_EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
_LEAST_WINDOWS: Final = 12
_RECENT: Final = 2
_SPARE: Final = 5.0
_WIDTH: Final = 9


@dataclass(frozen=True, slots=True)
class Crowd:
    """A snapshot of the population.

    Args:
        surge: Failures of the last two windows over the usual number; 0 without a day of history.
    """

    population: ContextCounts
    surge: float


NOBODY: Final = Crowd(EMPTY, 0.0)


def weight(now: datetime) -> float:
    """Return the weight of a login at a time, which grows instead of older counts fading.

    Forward decay (Cormode et al., ICDE 2009): counts are only ever incremented.
    """
    return float(2.0 ** ((now - _EPOCH).total_seconds() / HALF_LIFE))


def joined(digests: dict[Level, bytes]) -> bytes:
    """Encode the values of a login, 9 bytes each: level and digest."""
    return b"".join(bytes([level]) + digests[level] for level in COUNTED if level in digests)


def folded(logins: Iterable[bytes], each: float) -> dict[bytes, float]:
    """Return the increments of the counts by some logins."""
    found: dict[bytes, float] = {}
    for login in logins:
        for at in range(0, len(login), _WIDTH):
            name = login[at : at + _WIDTH]
            found[name] = found.get(name, 0.0) + each
    return found


def population(rows: Iterable[tuple[bytes, float]], now: datetime) -> ContextCounts:
    """Return the snapshot of stored counts at a time."""
    scale = 1 / weight(now)
    counts, totals = {}, [0.0] * len(Level)
    for name, stored in rows:
        counts[name[1:]] = scale * stored
        totals[name[0]] += scale * stored
    return ContextCounts(counts, totals)


def window_of(now: datetime) -> datetime:
    """Return the start of the window that contains a time."""
    return now - (now - _EPOCH) % WINDOW


def surge(tallies: Sequence[tuple[datetime, int]], now: datetime) -> float:
    """Return the failures of the last two windows relative to the day before."""
    edge = window_of(now) - WINDOW
    before = [count for window, count in tallies if edge - COMPARED <= window < edge]
    if len(before) < _LEAST_WINDOWS:
        return 0.0
    recent = sum(count for window, count in tallies if window >= edge)
    return recent / (_RECENT * sum(before) / len(before) + _SPARE)
