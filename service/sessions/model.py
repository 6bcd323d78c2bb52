"""How long evidence carries a session, and at which level (SP 800-63B-4 section 2)."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from service.domain.assurance import Achieved, Acr, Evidence, achieved

AAL1_LIFE: Final = timedelta(days=30)
AAL2_LIFE: Final = timedelta(hours=24)
AAL2_IDLE: Final = timedelta(hours=1)


def current(evidence: Sequence[Evidence], now: datetime) -> Achieved:
    """Return the level that the evidence still carries: AAL2 for a day, AAL1 for a month."""
    fresh = achieved(evidence, now, int(AAL2_LIFE.total_seconds()))
    if fresh.acr >= Acr.AAL2:
        return fresh
    older = achieved(evidence, now, int(AAL1_LIFE.total_seconds()))
    return Achieved(min(older.acr, Acr.AAL1), older.amr, older.auth_time)


def life(level: Achieved) -> timedelta:
    """Return how long a session begun at a level lasts at most."""
    return AAL2_LIFE if level.acr >= Acr.AAL2 else AAL1_LIFE


def idle(level: Achieved, policy: timedelta | None = None) -> timedelta:
    """Return how long a session may stay unused; at AAL1 as long as it lasts.

    Args:
        level: What the session is at.
        policy: What the policy of the segment allows, where it says; it can only shorten.
    """
    by_level = AAL2_IDLE if level.acr >= Acr.AAL2 else AAL1_LIFE
    return min(by_level, policy) if policy else by_level
