"""Write messages to others, report their state, and let an operator retry them."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import orjson

from crypto.errors import CryptoError
from service.domain.caller import who_acts
from service.domain.clock import Clock, rfc3339
from service.domain.ids import new_id
from service.notifications.model import CODES, TRIED, Channel, DeliveryState
from service.notifications.store import deliveries
from service.notifications.store import outbox as store
from service.notifications.store.outbox import Outgoing
from service.notifications.views import MessageView
from service.store.engine import AnyRow, Tx
from service.store.erasing import erases

_DELIVERED_KEPT: Final = timedelta(days=7)
_CODE_KEPT: Final = timedelta(days=1)
_PERSONAL_KEPT: Final = timedelta(days=30)
_REST_KEPT: Final = timedelta(days=400)
_PAGE: Final = 1000


class Outbox:
    """The outbox of messages to people and services."""

    def __init__(self, clock: Clock, channels: Collection[Channel] = ()) -> None:
        self._clock = clock
        self._channels = frozenset(channels)

    def reaches(self, address: str) -> bool:
        """Tell whether a sender is configured for the channel of an address."""
        return Channel.of(address) in self._channels

    def put(
        self,
        tx: Tx,
        *,
        kind: str,
        subject: UUID | None,
        payload: Mapping[str, object],
        life: timedelta = TRIED,
    ) -> None:
        """Add a message; it commits with its cause, and is delivered after that.

        Args:
            tx: The deciding transaction.
            kind: The event.
            subject: The subject of the event.
            payload: The content; an address under `to` makes it a message to the person.
            life: How long the message is useful.
        """
        now = self._clock.now()
        caller = who_acts()
        to = payload.get("to")
        row = Outgoing(
            id=new_id(now),
            at=now,
            kind=kind,
            subject_id=subject,
            until=now + life,
            channel=Channel.of(str(to)).value if to else None,
            client_id=caller.client if caller else None,
            routed_at=None,
            delivered_at=None,
        )
        row.payload = orjson.dumps(dict(payload)).decode()
        tx.add(row)

    def waiting(self, tx: Tx, limit: int = 100, *, reveal: bool = False) -> list[MessageView]:
        """Return undelivered messages; payloads only on request, because they hold addresses."""
        rows = store.waiting(tx, limit)
        targets = defaultdict(list)
        for each in deliveries.of_messages(tx, [row.id for row in rows]):
            targets[each.message_id].append(each)
        return [_view(row, targets[row.id], reveal=reveal) for row in rows]

    @staticmethod
    def depth(tx: Tx) -> tuple[int, datetime | None]:
        """Return how many messages wait for delivery, and the time of the oldest."""
        return store.depth(tx)

    def dead(self, tx: Tx) -> list[UUID]:
        """Return a page of messages with a dead delivery, oldest first."""
        return deliveries.dead(tx, _PAGE)

    def retry(self, tx: Tx, ids: Sequence[UUID]) -> int:
        """Retry messages that are dead or had no target; return how many.

        An expired code, after ten minutes, is not retried.
        """
        return sum(self._retried(tx, row) for row in store.messages(tx, ids, lock=True))

    def _retried(self, tx: Tx, row: Outgoing) -> bool:
        now = self._clock.now()
        if row.kind in CODES and row.until <= now:
            return False
        # A retry does not extend the life of a code.
        until = row.until if row.kind in CODES else max(row.until, now + TRIED)
        if deliveries.of_messages(tx, [row.id]):
            return deliveries.revive(tx, [row.id], now, until) > 0
        to = (_payload(row) or {}).get("to")
        if row.channel is None and to:
            # It was written before delivery existed.
            row.channel = Channel.of(str(to)).value
        row.until = until
        row.routed_at = None
        return True

    def drop(self, tx: Tx, ids: Sequence[UUID]) -> int:
        """Delete messages, delivered or not; return how many there were."""
        return store.drop(tx, ids)

    def drop_old(self, tx: Tx, now: datetime) -> int:
        """Delete a page of messages that were delivered or never will be; return how many."""
        ends = store.OutboxRetention(
            now - _DELIVERED_KEPT, now - _CODE_KEPT, now - _PERSONAL_KEPT, now - _REST_KEPT
        )
        return store.drop_old(tx, ends)

    @erases("contact", tables=("outbox", "delivery"))
    def delete_for(self, tx: Tx, subject: UUID) -> None:
        """Delete the messages about a subject that is erased, because they hold its addresses."""
        store.delete_for(tx, subject)


def _view(row: Outgoing, targets: Sequence[AnyRow], *, reveal: bool) -> MessageView:
    view: MessageView = {
        "id": str(row.id),
        "at": rfc3339(row.at),
        "kind": row.kind,
        "subject": str(row.subject_id) if row.subject_id else None,
        "client": str(row.client_id) if row.client_id else None,
        "state": _state(row, targets),
        "attempts": max((each.attempts for each in targets), default=0),
        "error": next((each.error for each in targets if each.error), None),
    }
    if reveal:
        view["payload"] = _payload(row)
    return view


def _payload(row: Outgoing) -> dict[str, object] | None:
    """Return the payload of a message; None if its keys are destroyed or unavailable."""
    try:
        payload: dict[str, object] = orjson.loads(row.payload)
    except CryptoError:
        return None
    return payload


def _state(row: Outgoing, targets: Sequence[AnyRow]) -> str:
    """Return `new`, `waiting` or `dead`; `held` if the message has no target."""
    if row.routed_at is None:
        return "new"
    if not targets:
        return "held"
    dead = any(each.state == DeliveryState.DEAD for each in targets)
    return (DeliveryState.DEAD if dead else DeliveryState.WAITING).value
