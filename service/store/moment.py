"""The time of a transaction: equal values for the statement read ahead and the one that runs."""

from datetime import datetime
from typing import Final

from sqlalchemy.orm import Session

from service.domain.clock import Clock

_MOMENT: Final = "lamina_moment"


def moment(tx: Session, clock: Clock) -> datetime:
    """Return the time at which a transaction first asked, the same for all of it."""
    found: datetime = tx.info.setdefault(_MOMENT, clock.now())
    return found
