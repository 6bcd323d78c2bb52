"""Write what others must hear of; delivery is another job."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson

from service.domain.clock import Clock
from service.domain.ids import new_id
from service.notifications import store
from service.notifications.store import Outgoing
from service.store.engine import Tx


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

    def forget(self, tx: Tx, subject: UUID) -> None:
        """Delete what waits about a subject that is erased: its addresses stand in there."""
        store.forget(tx, subject)
