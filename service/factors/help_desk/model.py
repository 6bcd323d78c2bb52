"""States of a help-desk recovery, and which authenticators it may restore. Pure."""

from collections.abc import Iterable
from datetime import timedelta
from enum import StrEnum
from typing import Final

from service.domain.authenticator import FACTOR_OF_TYPE
from service.policy.model.engine import highest

CODE_LIFE: Final = timedelta(hours=24)
"""How long a code sent by e-mail is valid (SP 800-63B-4 section 4.2)."""
SENDING: Final = timedelta(hours=24)
"""How long sending a due code is retried."""
KEPT: Final = timedelta(days=400)
"""How long the record of a recovery is retained."""


class RecoveryState(StrEnum):
    """The state of a recovery."""

    ASKED = "asked"
    WAITING = "waiting"
    """Two operators agreed; the code does not exist yet."""
    SENT = "sent"
    USED = "used"
    STOPPED = "stopped"
    OVER = "over"
    """It expired."""


OPEN: Final = (RecoveryState.ASKED, RecoveryState.WAITING, RecoveryState.SENT)
"""The states of an open recovery; a subject has at most one."""


def lifts(kind: str, former: Iterable[str]) -> bool:
    """Return whether another authenticator would raise an account above its former level.

    Args:
        kind: The type of the authenticator.
        former: The types that were ever active.
    """
    had = {FACTOR_OF_TYPE[name] for name in former}
    return highest(had | {FACTOR_OF_TYPE[kind]}) > highest(had)
