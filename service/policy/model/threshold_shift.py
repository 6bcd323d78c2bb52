"""Threshold shifts: bounded, ramped and expiring; the course decides who may set one."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypedDict

from service.policy.model.document import TIGHTEN

LONGEST_RAMP: Final = 86_400
LONGEST_LIFE: Final = timedelta(days=30)
LONGEST_AUTOMATIC: Final = timedelta(hours=24)


class ShiftJson(TypedDict):
    """A threshold shift as JSON values, with times in ISO 8601."""

    origin: float
    target: float
    since: str
    ramp: int
    expires_at: str
    actor: str
    automatic: bool


@dataclass(kw_only=True, frozen=True, slots=True)
class ThresholdShift:
    """A shift in nats over time: from the previous value to a target, held, then back to 0.

    Args:
        origin: The value when it was set.
        target: The target from -2 to 2; above 0 is stricter.
        since: The time it was set.
        ramp: Seconds of the move to the target, and of the move back.
        expires_at: The time at which it starts to move back.
        actor: The actor who set it.
        automatic: Whether a program set it.
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
        """Return the time at which the shift is back to 0."""
        return self.expires_at + timedelta(seconds=self.ramp)

    def at(self, now: datetime) -> float:
        """Return the shift at a time, in nats."""
        if now >= self.expires_at:
            left = 1 - _share(now - self.expires_at, self.ramp)
            return self._rising(self.expires_at) * left
        return self._rising(now)

    def _rising(self, now: datetime) -> float:
        return self.origin + (self.target - self.origin) * _share(now - self.since, self.ramp)

    def to_json(self) -> ShiftJson:
        """Return the members as JSON values."""
        return {
            "origin": self.origin,
            "target": self.target,
            "since": self.since.isoformat(),
            "ramp": self.ramp,
            "expires_at": self.expires_at.isoformat(),
            "actor": self.actor,
            "automatic": self.automatic,
        }

    @classmethod
    def from_json(cls, value: ShiftJson) -> "ThresholdShift":
        """Build the shift from the output of `to_json`; raises TypeError for more members."""
        if unknown := value.keys() - ShiftJson.__annotations__.keys():
            raise TypeError(f"a threshold shift has {len(unknown)} unknown members")
        return cls(
            origin=value["origin"],
            target=value["target"],
            since=datetime.fromisoformat(value["since"]),
            ramp=value["ramp"],
            expires_at=datetime.fromisoformat(value["expires_at"]),
            actor=value["actor"],
            automatic=value.get("automatic", False),
        )


def value_at(course: ThresholdShift | None, now: datetime) -> float:
    """Return the shift at a time, 0 if none was set; bounded whatever is stored."""
    found = course.at(now) if course else 0.0
    return max(-TIGHTEN, min(TIGHTEN, found))


def never_looser(old: ThresholdShift | None, new: ThresholdShift, now: datetime) -> bool:
    """Return whether a shift is never below another, so that one person may set it alone.

    Both are piecewise linear, so comparing them at their corners is enough.
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
    """Return the elapsed share of a ramp, 0 to 1; a ramp lasts at least one second."""
    return max(0.0, min(1.0, passed.total_seconds() / max(ramp, 1)))
