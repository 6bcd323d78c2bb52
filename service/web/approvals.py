"""Use of an approval by a route: its act takes two operators."""

from collections.abc import Mapping
from typing import Protocol
from uuid import UUID

from service.domain.caller import Caller
from service.store.engine import Tx


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
