"""How a recovery by the help desk goes on, and what it may give back. Pure."""

from collections.abc import Iterable
from datetime import timedelta
from enum import StrEnum
from typing import Final

from service.domain.authenticator import FACTOR_OF_TYPE
from service.policy.model.engine import highest

CODE_LIFE: Final = timedelta(hours=24)
"""For how long a code that was sent by e-mail is good (SP 800-63B-4 section 4.2)."""
SENDING: Final = timedelta(hours=24)
"""For how long it is tried to send a code whose time has come."""
KEPT: Final = timedelta(days=400)
"""For how long it is kept that there was a recovery."""


class RecoveryState(StrEnum):
    """Where a recovery stands."""

    ASKED = "asked"
    WAITING = "waiting"
    """Two operators agreed; there is no code yet."""
    SENT = "sent"
    USED = "used"
    STOPPED = "stopped"
    OVER = "over"
    """It came to its end by itself."""


OPEN: Final = (RecoveryState.ASKED, RecoveryState.WAITING, RecoveryState.SENT)
"""The states of a recovery under way, of which a subject has one at most."""


def lifts(kind: str, former: Iterable[str]) -> bool:
    """Tell whether one more authenticator would lift an account above the level it once had.

    Args:
        kind: The type of the authenticator.
        former: The types that were active at some time.
    """
    had = {FACTOR_OF_TYPE[name] for name in former}
    return highest(had | {FACTOR_OF_TYPE[kind]}) > highest(had)
