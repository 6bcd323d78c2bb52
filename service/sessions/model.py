"""Session lifetimes and idle times (SP 800-63B-4 section 2), and evidence as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from service.domain.assurance import AAL1_LIFE, Achieved, Acr, Evidence, lasting

AAL2_IDLE: Final = timedelta(hours=1)
_STORED: Final = TypeAdapter(tuple[Evidence, ...])


def evidence_json(evidence: tuple[Evidence, ...]) -> str:
    """Return evidence as JSON, as a session keeps it."""
    return _STORED.dump_json(evidence).decode()


def evidence_of(text: str) -> tuple[Evidence, ...]:
    """Return the evidence that `evidence_json` wrote, or a list of what `Evidence.to_json` returns.

    Raises:
        ValueError: It is of another form; the text repeats nothing of it.
    """
    try:
        return _STORED.validate_json(text)
    except ValidationError:
        raise ValueError("this is no evidence that is stored with a session") from None


@dataclass(frozen=True, slots=True)
class SessionOrigin:
    """The device and network where a session started.

    Args:
        device: The known device; None for none.
        origin: Kind of device and network, as lists show them; None if unknown.
    """

    device: UUID | None = None
    origin: Mapping[str, object] | None = field(default=None, repr=False)


NOWHERE: Final = SessionOrigin()


def ends(level: Achieved, now: datetime) -> datetime:
    """Return when a session that starts at a level ends, regardless of its use.

    The lifetime starts with the oldest evidence that the level depends on, so that only fresh
    evidence at that level extends it.
    """
    return now if level.auth_time is None else level.auth_time + lasting(level.acr)


def idle(level: Achieved, policy: timedelta | None = None) -> timedelta:
    """Return how long a session may stay unused; at AAL1 as long as its lifetime.

    Args:
        level: The level of the session.
        policy: The limit in the segment's policy, if any; it can only shorten the time.
    """
    by_level = AAL2_IDLE if level.acr >= Acr.AAL2 else AAL1_LIFE
    return min(by_level, policy) if policy else by_level
