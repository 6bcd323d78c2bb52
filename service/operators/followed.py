"""Port through which approvals notify a feature that stores its own state of an act."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from service.domain.caller import Caller
from service.operators.views import StartedAct
from service.store.engine import Tx


@dataclass(frozen=True, slots=True)
class RequestedAct:
    """A requested act on a subject.

    Args:
        number: The id of the approval.
        target: The subject as the request names it; it may not exist.
        params: The parameters of the act.
    """

    number: UUID
    target: str
    params: Mapping[str, str]


class Followed(Protocol):
    """A feature that follows each step of its act's approval, in the same transaction."""

    def ask(self, tx: Tx, caller: Caller, asked: RequestedAct) -> None:
        """Lock the subject and record the request, or refuse it."""

    def hold(self, tx: Tx, asked: RequestedAct) -> None:
        """Lock the subject before anything else about it is read (ADR 6)."""

    def approve(self, tx: Tx, caller: Caller, asked: RequestedAct) -> StartedAct:
        """Start the approved act, or refuse it; return members to add to the response."""

    def reject(self, tx: Tx, caller: Caller, asked: RequestedAct) -> bool:
        """End the act, approved or not; False if there is nothing to end."""
