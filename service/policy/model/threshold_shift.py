"""The live risk parameter: bounded, ramped, expiring; who may set it follows from its course."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from service.policy.model.document import TIGHTEN

LONGEST_RAMP: Final = 86_400
LONGEST_LIFE: Final = timedelta(days=30)
LONGEST_AUTOMATIC: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class ThresholdShift:
    """A course of nats over time: from where it was to a target, held, and back to 0.

    Args:
        origin: The value when it was set.
        target: From -2 to 2; above 0 is stricter.
        since: When it was set.
        ramp: Seconds in which it moves, and later moves back.
        expires_at: When it begins to move back.
        actor: Who set it.
        automatic: Whether no person did.
    """

    origin: float
    target: float
    since: datetime
    ramp: int
    expires_at: datetime
    actor: str
    automatic: bool = False

    @property
    def ends_at(self) -> datetime:
        """Return when nothing is left of it."""
        return self.expires_at + timedelta(seconds=self.ramp)

    def at(self, now: datetime) -> float:
        """Return the value that counts at a time."""
        if now >= self.expires_at:
            left = 1 - _share(now - self.expires_at, self.ramp)
            return self._rising(self.expires_at) * left
        return self._rising(now)

    def _rising(self, now: datetime) -> float:
        return self.origin + (self.target - self.origin) * _share(now - self.since, self.ramp)

    def to_json(self) -> dict[str, Any]:
        """Return the members as JSON values."""
        return asdict(self) | {
            "since": self.since.isoformat(),
            "expires_at": self.expires_at.isoformat(),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "ThresholdShift":
        """Return what `to_json` wrote."""
        moments = {name: datetime.fromisoformat(value[name]) for name in ("since", "expires_at")}
        return cls(**value | moments)


def value_at(course: ThresholdShift | None, now: datetime) -> float:
    """Return the value that counts; 0 where none was ever set. Bounded whatever is stored."""
    found = course.at(now) if course else 0.0
    return max(-TIGHTEN, min(TIGHTEN, found))


def never_looser(old: ThresholdShift | None, new: ThresholdShift, now: datetime) -> bool:
    """Tell whether a course is nowhere below another: then one person may set it.

    Both are linear between their corners, so that the corners of both are all there is to compare.
    """
    corners = {now, *_corners(new), *(_corners(old) if old else ())}
    return all(
        value_at(new, moment) >= value_at(old, moment) - 1e-9 for moment in corners if moment >= now
    )


def _corners(course: ThresholdShift) -> tuple[datetime, ...]:
    return (
        course.since,
        course.since + timedelta(seconds=course.ramp),
        course.expires_at,
        course.ends_at,
    )


def _share(passed: timedelta, ramp: int) -> float:
    """Return how much of a ramp is behind, from 0 to 1; a ramp lasts a second at least."""
    return max(0.0, min(1.0, passed.total_seconds() / max(ramp, 1)))
