"""Append leaves in the deciding transaction; chain them afterwards; prove the chain."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from crypto import chain
from crypto.canonical import canonical_json
from crypto.errors import ChainBroken
from service.audit import store
from service.audit.store import Leaf
from service.domain.caller import SERVICE, who_acts
from service.domain.clock import Clock
from service.domain.ids import new_id
from service.store.engine import Tx

_PAGE: Final = 500


def _bytes(leaf: Leaf) -> bytes:
    return canonical_json(
        {
            "id": str(leaf.id),
            "at": leaf.at.isoformat(),
            "kind": leaf.kind,
            "subject": str(leaf.subject_id) if leaf.subject_id else None,
            "actor": leaf.actor,
            "data": leaf.data,
        }
    )


class AuditLog:
    """The log; what is appended commits or rolls back with the decision itself."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def append(
        self, tx: Tx, kind: str, *, subject: UUID | None = None, actor: str | None = None,
        **data: Any,  # noqa: ANN401 - JSON members of any kind
    ) -> None:  # fmt: skip
        """Leave an unsequenced leaf; `data` must hold no personal data and no secret.

        Args:
            tx: The unit of work of the decision.
            kind: What was decided.
            subject: Whom it is about.
            actor: Who did it; None for who is calling, or for the service itself. Where that is
                not the calling client, the leaf names the client too, as `via`.
            data: What else is to be kept.
        """
        now, caller = self._clock.now(), who_acts()
        if actor is None:
            actor = caller.actor if caller else SERVICE
        if caller and actor != str(caller.client):
            data = {"via": str(caller.client)} | data
        values = {
            "id": new_id(now), "at": now, "kind": kind, "subject_id": subject, "actor": actor,
            "data": data,
        }  # fmt: skip
        store.add(tx, values)

    def sequence(self, tx: Tx, limit: int = _PAGE) -> int:
        """Give waiting leaves their place in the chain; return how many."""
        store.lock(tx)
        last = store.last_link(tx)
        position, head = (last.position, last.head) if last else (0, chain.GENESIS)
        leaves = store.waiting(tx, limit)
        for leaf in leaves:
            position += 1
            head = chain.link(head, _bytes(leaf))
            store.place(tx, leaf, position, head)
        return len(leaves)

    def checkpoint(self, tx: Tx) -> tuple[int, bytes] | None:
        """Return the last position of the chain and its head, None while it is empty."""
        last = store.last_link(tx)
        return (last.position, last.head) if last else None

    def last_at(self, tx: Tx) -> datetime | None:
        """Return when the newest entry of the chain was written, by the clock of its writer."""
        return store.last_at(tx)

    def head_at(self, tx: Tx, position: int) -> bytes | None:
        """Return the head of the chain at a position, None where it does not reach that far."""
        return store.head_at(tx, position)

    def verify(self, tx: Tx) -> int:
        """Recompute the whole chain; return its length.

        Raises:
            ChainBroken: A leaf was changed, removed or put elsewhere; names the position.
        """
        position, head = 0, chain.GENESIS
        while page := store.chained(tx, position, _PAGE):
            for link, leaf in page:
                head = chain.link(head, _bytes(leaf))
                if link.position != position + 1 or head != link.head:
                    raise ChainBroken(position + 1)
                position = link.position
        last = store.last_link(tx)
        if last and last.position != position:
            raise ChainBroken(position + 1)
        return position
