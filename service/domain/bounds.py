"""Limits on resources and requests per owner; each is a setting of the same name."""

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
    """The limits; `docs/retention.md` documents what happens at each."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_pending_authenticators: _Few = 5
    """Authenticators of a subject that await confirmation."""
    max_totps: Annotated[int, Field(ge=1, le=10)] = 3
    """Active code generators of a subject: each one makes a guess more likely."""
    max_sessions: _Few = 50
    """Active sessions of a subject; beyond it, the least recently used one ends."""
    max_devices: _Few = 20
    """Known devices of a subject; beyond it, the least recently used one is forgotten."""
    max_consents: _Few = 200
    """Active consents of a subject, and as many ended ones; beyond it, the oldest is dropped."""
    max_exports: _Few = 5
    """Data exports of a subject that are pending or not yet collected."""
    max_approvals: _Few = 50
    """Undecided approvals of an operator."""
    max_jobs: _Few = 20
    """Unfinished jobs of a requester."""
    max_drafts: _Few = 100
    """Policy drafts that were never active."""
    max_webhooks: _Few = 100
    """Webhooks of the service: each causes one request for every event."""
    max_idempotency_keys: _Many = 100_000
    """Stored idempotency keys of a client."""
    max_assertions: _Many = 100_000
    """Used client assertions of a client that have not expired."""
    max_calls_per_minute: _Many = 60_000
    """Calls of a client under /v1."""
    max_token_calls_per_minute: _Many = 60_000
    """Calls of a client under /oauth2."""
    max_flows_per_minute: _Many = 3_000
    """Flows started by a client."""
    max_flows_per_identifier: _Many = 300
    """Flows started by a client for one identifier or session per minute."""


USUAL: Final = Bounds()
"""The default limits."""


def room_in(ends: Sequence[datetime], most: int, now: datetime) -> int:
    """Return the seconds until one more fits under a limit.

    Args:
        ends: Expiry times of the existing items, soonest first; at least `most` of them.
        most: The limit.
        now: The current time.
    """
    return max(1, math.ceil((ends[len(ends) - most] - now).total_seconds()))


@dataclass(slots=True)
class _Counted:
    """The count of an owner's items at a time, plus those added in this process since."""

    at: datetime
    kept: int


class Tally:
    """Enforces a limit on many items of one kind per owner.

    Items are counted every few seconds, and again before a request is refused: counting a hundred
    thousand for each request would cost more than answering it.
    """

    def __init__(self, recount: timedelta = timedelta(seconds=10)) -> None:
        self._recount = recount
        self._counted: dict[UUID, _Counted] = {}

    def full(self, owner: UUID, most: int, now: datetime, count: Callable[[], int]) -> bool:
        """Return whether an owner is at its limit; otherwise count one more item."""
        known = self._counted.get(owner)
        if known is None or known.kept >= most or abs(now - known.at) > self._recount:
            known = self._counted[owner] = _Counted(now, count())
        if known.kept >= most:
            return True
        known.kept += 1
        return False
