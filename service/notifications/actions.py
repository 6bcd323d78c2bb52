"""Write what others must hear of; delivery is another job."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import orjson

from service.domain.clock import Clock
from service.domain.ids import new_id
from service.notifications import store
from service.notifications.store import Outgoing
from service.store.engine import Tx

_DELIVERED_KEPT: Final = timedelta(days=7)
_CODE_KEPT: Final = timedelta(days=1)
_PERSONAL_KEPT: Final = timedelta(days=30)
_REST_KEPT: Final = timedelta(days=400)


class Outbox:
    """The outbox."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def put(self, tx: Tx, kind: str, subject: UUID | None, payload: Mapping[str, Any]) -> None:
        """Add a message; it commits with what caused it."""
        now = self._clock.now()
        row = Outgoing(id=new_id(now), at=now, kind=kind, subject_id=subject, delivered_at=None)
        row.payload = orjson.dumps(dict(payload)).decode()
        tx.add(row)

    def waiting(self, tx: Tx, limit: int = 100, *, reveal: bool = False) -> list[dict[str, Any]]:
        """Return what waits; payloads only when asked for, as they hold addresses and codes."""
        return [
            {
                "id": str(row.id),
                "at": row.at.isoformat(),
                "kind": row.kind,
                "subject": str(row.subject_id) if row.subject_id else None,
            }
            | ({"payload": orjson.loads(row.payload)} if reveal else {})
            for row in store.waiting(tx, limit)
        ]

    def drop_old(self, tx: Tx, now: datetime) -> int:
        """Forget a page of messages that were delivered, or that nobody will; return how many."""
        ends = store.Ends(
            now - _DELIVERED_KEPT, now - _CODE_KEPT, now - _PERSONAL_KEPT, now - _REST_KEPT
        )
        return store.drop_old(tx, ends)

    def forget(self, tx: Tx, subject: UUID) -> None:
        """Delete what waits about a subject that is erased: its addresses stand in there."""
        store.forget(tx, subject)
