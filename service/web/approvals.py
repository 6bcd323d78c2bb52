"""Use of an approval by a route: its act takes two operators."""

from collections.abc import Mapping
from typing import Final, Protocol
from uuid import UUID

from service.domain.caller import Caller
from service.store.engine import Tx

PROBLEMS: Final = (
    "403 approval_mismatch",
    "403 approval_of_others",
    "404 approval_not_found",
    "409 approval_decided",
    "409 approval_void",
    "410 approval_expired",
)
"""Problem codes of an operation that uses an approval."""
REQUIRED: Final = ("403 approval_required", *PROBLEMS)
"""Problem codes of an operation that is refused without one."""


class UseApproval(Protocol):
    """Uses an approval of the caller for exactly one act; see `Operators.consume`."""

    def __call__(
        self,
        tx: Tx,
        caller: Caller,
        *,
        number: UUID,
        act: str,
        target: str,
        params: Mapping[str, object] = ...,
    ) -> str:
        """Return the actors who agreed on the act; raises if the approval is not for it."""
