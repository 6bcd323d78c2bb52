"""How much anybody may own or ask for: every bound in one place, each a setting of its name."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

_Few = Annotated[int, Field(ge=1, le=1_000)]
_Many = Annotated[int, Field(ge=1, le=100_000_000)]


class Bounds(BaseModel):
    """The bounds; `docs/retention.md` says what happens at each."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_pending_authenticators: _Few = 5
    """Of a subject, waiting for their confirmation."""
    max_totps: Annotated[int, Field(ge=1, le=10)] = 3
    """Code generators of a subject, active: each makes a guess likelier."""
    max_sessions: _Few = 50
    """Of a subject, in force; the one that was unused longest ends."""
    max_devices: _Few = 20
    """Of a subject, known; the one that was unused longest is forgotten."""
    max_consents: _Few = 200
    """Of a subject, in force; and as many that are over, of which the oldest is dropped."""
    max_exports: _Few = 5
    """Of what is held about a subject, waiting to be made or collected."""
    max_approvals: _Few = 50
    """Of an operator, undecided."""
    max_jobs: _Few = 20
    """Of whoever asks, unfinished."""
    max_drafts: _Few = 100
    """Of policies, neither in force now nor before."""
    max_webhooks: _Few = 100
    """Of the service: each of them is told of an event by a request of its own."""
    max_idempotency_keys: _Many = 100_000
    """Of a client, kept."""
    max_assertions: _Many = 100_000
    """Of a client, used and not over yet."""
    max_calls_per_minute: _Many = 60_000
    """Of a client, under /v1."""
    max_flows_per_minute: _Many = 3_000
    """Of a client, begun."""
    max_flows_per_identifier: _Many = 300
    """Of a client for one identifier or session in a minute, begun."""


USUAL: Final = Bounds()
"""The bounds where nothing is set."""


def room_in(ends: Sequence[datetime], most: int, now: datetime) -> int:
    """Return the seconds until one more fits.

    Args:
        ends: When what there is ends by itself, soonest first; as much as may be, or more.
        most: How much there may be.
        now: The time.
    """
    return max(1, math.ceil((ends[len(ends) - most] - now).total_seconds()))


@dataclass(slots=True)
class _Counted:
    """How many things an owner had at a time, with those added here since."""

    at: datetime
    kept: int


class Tally:
    """Holds owners to a bound on many things of one kind.

    They are counted every few seconds, and again before anybody is refused: to count a hundred
    thousand for each request would cost more than to answer it.
    """

    def __init__(self, recount: timedelta = timedelta(seconds=10)) -> None:
        self._recount = recount
        self._counted: dict[UUID, _Counted] = {}

    def full(self, owner: UUID, most: int, now: datetime, count: Callable[[], int]) -> bool:
        """Tell whether an owner may have no more; counts one more where it may."""
        known = self._counted.get(owner)
        if known is None or known.kept >= most or abs(now - known.at) > self._recount:
            known = self._counted[owner] = _Counted(now, count())
        if known.kept >= most:
            return True
        known.kept += 1
        return False
