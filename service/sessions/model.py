"""How long a session lasts, and how long it may stay unused (SP 800-63B-4 section 2)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from service.domain.assurance import AAL1_LIFE, Achieved, Acr, lasting

AAL2_IDLE: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class SessionOrigin:
    """Where a session begins.

    Args:
        device: The known device; None for none.
        origin: Kind of device and network, as a list shows them; None where nothing is said.
    """

    device: UUID | None = None
    origin: Mapping[str, Any] | None = field(default=None, repr=False)


NOWHERE: Final = SessionOrigin()


def ends(level: Achieved, now: datetime) -> datetime:
    """Return when a session that begins at a level is over, whatever it is used for.

    It is counted from the oldest evidence that the level rests on, so that only fresh evidence at
    that level makes it later.
    """
    return now if level.auth_time is None else level.auth_time + lasting(level.acr)


def idle(level: Achieved, policy: timedelta | None = None) -> timedelta:
    """Return how long a session may stay unused; at AAL1 as long as it lasts.

    Args:
        level: What the session is at.
        policy: What the policy of the segment allows, where it says; it can only shorten.
    """
    by_level = AAL2_IDLE if level.acr >= Acr.AAL2 else AAL1_LIFE
    return min(by_level, policy) if policy else by_level
