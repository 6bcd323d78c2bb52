"""What the approvals of an act tell the feature that keeps a state of its own about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from service.domain.caller import Caller
from service.store.engine import Tx


@dataclass(frozen=True, slots=True)
class RequestedAct:
    """An act on a subject that somebody asked for.

    Args:
        number: Of the approval.
        target: The subject, as the request names it; it may be none.
        params: What of the act is asked for.
    """

    number: UUID
    target: str
    params: Mapping[str, str]


class Followed(Protocol):
    """An act on a subject, told of each step of its approval, in the same unit of work."""

    def ask(self, tx: Tx, caller: Caller, asked: RequestedAct) -> None:
        """Lock the subject and note that it was asked for, or refuse it."""

    def hold(self, tx: Tx, asked: RequestedAct) -> None:
        """Lock the subject before anything else of it is read (ADR 6)."""

    def approve(self, tx: Tx, caller: Caller, asked: RequestedAct) -> Mapping[str, Any]:
        """Begin what two agreed on, or refuse it; return what the answer tells of it."""

    def reject(self, tx: Tx, caller: Caller, asked: RequestedAct) -> bool:
        """End it, approved or not; False where there is nothing to end."""
