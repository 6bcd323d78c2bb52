"""Route messages to their targets and deliver each at least once, with a stable id."""

import threading
import time
from collections import Counter as Tally
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

import orjson

from crypto import opaque
from crypto.errors import CryptoError
from service.domain.clock import SKEW, Clock
from service.domain.errors import LaminaError
from service.domain.ids import new_id
from service.notifications.actions.webhooks import Webhooks
from service.notifications.model import (
    ALARM,
    LEASE,
    Channel,
    DeliveryState,
    Message,
    Undelivered,
    pause,
    wanted,
)
from service.notifications.store import deliveries
from service.notifications.store import outbox as store
from service.notifications.store.deliveries import Depth
from service.notifications.store.outbox import Outgoing
from service.notifications.store.webhooks import Webhook
from service.store.engine import AnyRow, Store, Tx
from service.telemetry import logs
from service.telemetry.metrics import Metrics

_PAGE: Final = 200
_TURN: Final = 20
"""How many messages a thread delivers to one target before other targets have their turn."""
_LONGEST: Final = pause(20, 1.0)
_AT_ONCE: Final = {Channel.EMAIL.value: 3, Channel.SMS.value: 3}
"""How many threads deliver to one target; one for targets not listed."""
_RARELY: Final = 3600
"""Seconds until a delivery without a configured sender is retried."""
_LATE: Final = "too_late"
_EVERY: Final = timedelta(seconds=15)
"""How often depths are measured."""
_GRACE: Final = 5.0
"""Seconds that a stop waits for deliveries in progress."""
_FOR_HOOKS: Final = 5
"""The limit of threads for webhooks: those that hang leave the other threads to people."""


class Sender(Protocol):
    """A way to deliver, called outside transactions and from several threads."""

    def send(self, message: Message) -> None:
        """Deliver a message; raises Undelivered."""


class Delivering:
    """Delivers the messages of the outbox; only the leader of the processes calls it.

    Args:
        database: Stores the messages.
        webhooks: The recipients of events.
        senders: By channel; without a sender, messages of a channel wait until they are dead.
        locale: Returns the language of a person.
        clock: The time.
        metrics: Records depth, age and outcomes.
        alarmed: How many operators receive alarms, each by a separate delivery.
    """

    def __init__(  # noqa: PLR0913 - one argument per dependency
        self,
        *,
        database: Store,
        webhooks: Webhooks,
        senders: Mapping[Channel, Sender],
        locale: Callable[[Tx, UUID], str],
        clock: Clock,
        metrics: Metrics,
        alarmed: int = 1,
    ) -> None:
        self._database = database
        self._webhooks = webhooks
        self._senders = senders
        self._locale = locale
        self._clock = clock
        self._metrics = metrics
        self._alarmed = alarmed
        self._busy: Tally[str] = Tally()
        self._begun: dict[str, datetime] = {}
        self._threads: set[threading.Thread] = set()
        self._guard = threading.Lock()
        self._stopped = threading.Event()
        self._measured: datetime | None = None

    def depths(self, tx: Tx) -> list[Depth]:
        """Return how many deliveries are waiting and dead, by channel."""
        return deliveries.depths(tx)

    def reach(self, channel: Channel) -> str:
        """Test a channel without sending a message; return why it fails, or an empty string."""
        check = getattr(self._senders.get(channel), "check", None)
        try:
            if check is not None:
                check()
        except Undelivered as failure:
            return failure.reason
        return ""

    def due(self) -> int:
        """Start to deliver what is due; return how many messages were routed."""
        routed = self._route()
        self._begin()
        now = self._clock.now()
        if self._measured is None or not self._measured <= now < self._measured + _EVERY:
            self._measured = now
            self._measure()
        return routed

    def all_due(self) -> None:
        """Deliver what is due and wait until each delivery was tried once."""
        self._route()
        for thread in self._begin():
            thread.join()

    def stop(self) -> None:
        """Start no more deliveries; wait briefly for those in progress."""
        self._stopped.set()
        ends = time.monotonic() + _GRACE
        for thread in list(self._threads):
            thread.join(max(0.0, ends - time.monotonic()))

    def _route(self) -> int:
        now = self._clock.now()
        with self._database.transaction() as tx:
            rows = store.unrouted(tx, _PAGE)
            hooks = self._webhooks.listening(tx) if rows else []
            found: list[dict[str, object]] = []
            for row in rows:
                targets = [
                    f"{Channel.WEBHOOK.value}:{hook.id}" for hook in hooks if _hears(hook, row)
                ]
                own = _own(row, self._alarmed)
                found += [_waiting(row, target, now) for target in own + targets]
            deliveries.add(tx, found)
            store.mark_routed(tx, [row.id for row in rows], now)
        return len(rows)

    def _begin(self) -> list[threading.Thread]:
        now = self._clock.now()
        with self._database.transaction(read=True) as tx:
            targets = deliveries.due_targets(tx, now, now + _LONGEST + LEASE + SKEW)
        # The target with the longest time since its last turn comes first.
        targets.sort(key=lambda target: (target in self._begun, self._begun.get(target, now)))
        places = (target for target in targets for _ in range(_AT_ONCE.get(target, 1)))
        return [thread for target in places if (thread := self._start(target, now))]

    def _start(self, target: str, now: datetime) -> threading.Thread | None:
        if self._stopped.is_set() or not self._take(target):
            return None
        # The process does not wait for it at exit: what is left is delivered after its lease.
        thread = threading.Thread(target=self._drain, args=(target,), daemon=True)
        self._begun[target] = now
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:
            self._release(target, thread)
            raise
        return thread

    def _take(self, target: str) -> bool:
        with self._guard:
            hooks = sum(
                count for name, count in self._busy.items() if name.startswith(Channel.WEBHOOK)
            )
            full = target.startswith(Channel.WEBHOOK) and hooks >= _FOR_HOOKS
            if full or self._busy[target] >= _AT_ONCE.get(target, 1):
                return False
            self._busy[target] += 1
            return True

    def _release(self, target: str, thread: threading.Thread) -> None:
        with self._guard:
            self._busy[target] -= 1
            self._threads.discard(thread)

    def _drain(self, target: str) -> None:
        """Deliver to one target until nothing more is due or a delivery fails."""
        try:
            for _ in range(_TURN):
                message = None if self._stopped.is_set() else self._claim(target)
                if message is None or not self._deliver(message):
                    break
        except Exception as error:  # noqa: BLE001 - what was claimed is tried again after its lease
            logs.get().error("delivery_stopped", channel=_channel(target).value, **logs.kind(error))
        finally:
            self._release(target, threading.current_thread())

    def _claim(self, target: str) -> Message | None:
        """Claim one message; read its data only now, so that erased data is not sent."""
        now = self._clock.now()
        with self._database.transaction() as tx:
            beyond = now + _LONGEST + LEASE + SKEW
            taken = deliveries.claim(tx, target=target, now=now, beyond=beyond, until=now + LEASE)
            if taken is None:
                return None
            rows = store.messages(tx, [taken.message_id])
            return self._message(tx, rows[0], taken, target) if rows else None

    def _message(self, tx: Tx, row: Outgoing, each: AnyRow, target: str) -> Message:
        message = Message(
            id=row.id,
            delivery=each.id,
            kind=row.kind,
            at=row.at,
            until=each.until,
            target=target,
            attempts=each.attempts,
            subject=row.subject_id,
            client=row.client_id,
        )
        try:
            payload = orjson.loads(row.payload)
        except CryptoError:
            # Its keys are destroyed or unavailable: it has no content for now.
            return replace(message, readable=False)
        return replace(message, payload=payload, locale=self._locale_of(tx, row, target))

    def _locale_of(self, tx: Tx, row: Outgoing, target: str) -> str:
        if row.subject_id is None or _channel(target) not in {Channel.EMAIL, Channel.SMS}:
            return ""
        try:
            return self._locale(tx, row.subject_id)
        except (CryptoError, LaminaError):
            # The profile is erased or refused: send the message in the default language.
            return ""

    def _deliver(self, message: Message) -> bool:
        """Try to deliver a message; tell whether its target may receive another now."""
        channel = _channel(message.target)
        failure = None
        if self._clock.now() > message.until:
            failure = Undelivered(_LATE, final=True)
        else:
            try:
                self._send(channel, message)
            except Undelivered as undelivered:
                failure = undelivered
        self._database.unit(lambda tx: self._settle(tx, message, failure))
        outcome = "delivered" if failure is None else "dead" if failure.final else "failed"
        self._metrics.deliveries.labels(channel.value, outcome).inc()
        if failure is not None:
            logs.get().warning(
                "not_delivered",
                channel=channel.value,
                kind=message.kind,
                reason=failure.reason,
                message=str(message.id),
                attempts=message.attempts,
                final=failure.final,
            )
        return failure is None or failure.final

    def _send(self, channel: Channel, message: Message) -> None:
        sender = self._senders.get(channel)
        if sender is None:
            raise Undelivered("not_configured", after=_RARELY)
        if not message.readable and channel is not Channel.ALARM:
            raise Undelivered("not_readable")
        try:
            sender.send(message)
        except Undelivered:
            raise
        except LaminaError as error:
            raise Undelivered(error.code) from None
        except Exception as error:  # noqa: BLE001 - one message must not hold up the others
            logs.get().error("sender_failed", channel=channel.value, **logs.kind(error))
            raise Undelivered("error") from None

    def _settle(self, tx: Tx, message: Message, failure: Undelivered | None) -> None:
        now = self._clock.now()
        if failure is None:
            values: dict[str, object] = {"state": DeliveryState.DELIVERED.value, "error": None}
        else:
            again = now + pause(message.attempts, _jitter(), failure.after)
            over = failure.final or again > message.until
            values = {"next_at": again}
            if failure.reason != _LATE or message.attempts == 1:
                # The reason for the lateness is worth more than the fact.
                values["error"] = failure.reason[:32]
            values["state"] = (DeliveryState.DEAD if over else DeliveryState.WAITING).value
        if values["state"] != DeliveryState.WAITING:
            values["ended_at"] = now
        # Lock the message before its deliveries, as an erasure does (ADR 6).
        if not store.lock(tx, message.id):
            return
        if not deliveries.settle(tx, message.delivery, message.attempts, values):
            return
        if deliveries.states(tx, message.id) == {DeliveryState.DELIVERED.value}:
            store.mark_delivered(tx, message.id, now)

    def _measure(self) -> None:
        now = self._clock.now()
        with self._database.transaction(read=True) as tx:
            depths = self.depths(tx)
        found = {(each.channel, each.state): each for each in depths}
        for channel in Channel:
            for state in (DeliveryState.WAITING, DeliveryState.DEAD):
                # Five letters identify a channel: the statement cuts off the id this way.
                each = found.get((channel.value[:5], state.value))
                labels = (channel.value, state.value)
                self._metrics.outbox.labels(*labels).set(each.number if each else 0)
                age = max(0.0, (now - each.oldest).total_seconds()) if each else 0
                self._metrics.outbox_seconds.labels(*labels).set(age)


def _own(row: Outgoing, alarmed: int) -> list[str]:
    """Return the fixed targets of a message: the person, or each operator for an alarm."""
    if row.kind.startswith(ALARM):
        return [f"{Channel.ALARM.value}:{number}" for number in range(alarmed)]
    return [row.channel] if row.channel else []


def _hears(hook: Webhook, row: Outgoing) -> bool:
    """Tell whether a webhook receives a message: its kind, and its client or any client."""
    return wanted(hook.kinds, row.kind) and hook.client_id in {None, row.client_id}


def _waiting(row: Outgoing, target: str, now: datetime) -> dict[str, object]:
    return {
        "id": new_id(now),
        "message_id": row.id,
        "target": target,
        "state": DeliveryState.WAITING.value,
        "attempts": 0,
        "next_at": now,
        "until": row.until,
        "error": None,
        "ended_at": None,
    }


def _channel(target: str) -> Channel:
    return Channel(target.partition(":")[0])


def _jitter() -> float:
    return int.from_bytes(opaque.random_bytes(2), "big") / 65536
