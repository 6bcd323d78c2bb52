"""Re-evaluate stored decisions, with the policy that made them or with another one."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final
from uuid import UUID

from crypto.errors import CryptoError
from service.domain.errors import LaminaError
from service.policy import store
from service.policy.actions import repository
from service.policy.model import engine, replay
from service.policy.model.compiler import Whole
from service.policy.model.packing import unpack
from service.policy.model.replay import StoredDecision, Table
from service.policy.store import PolicyDecision
from service.store.engine import Tx

PAGE: Final = 500


class Backtest:
    """Re-evaluates stored decisions page by page, newest first.

    Args:
        whole: The policy to compare with; None replays each decision with its own policy.
        since: Oldest decision to include.
    """

    def __init__(self, whole: Whole | None, since: datetime | None = None) -> None:
        self._whole = whole
        self._since = since
        self._before: UUID | None = None
        self._by_version: dict[str, Whole | None] = {}
        self.table = Table()
        self.different: list[dict[str, str]] = []

    def total(self, tx: Tx) -> int:
        """Return the number of decisions to evaluate."""
        return store.count_decisions(tx, self._since)

    def page(self, tx: Tx, limit: int = PAGE) -> int:
        """Evaluate the next page; return its number of decisions, 0 at the end."""
        rows = store.decisions(tx, self._before, self._since, limit)
        for row, content in self._opened(rows):
            self._again(tx, row, content)
        if rows:
            self._before = rows[-1].id
        return len(rows)

    def _opened(
        self, rows: list[PolicyDecision]
    ) -> Iterator[tuple[PolicyDecision, StoredDecision]]:
        for row in rows:
            try:
                opened = row.facts
            except CryptoError:
                opened = None
            if opened is None:
                # The subject was erased, and its facts with it.
                self.table.unopened += 1
            else:
                yield row, unpack(opened)

    def _again(self, tx: Tx, row: PolicyDecision, content: StoredDecision) -> None:
        whole = self._whole or self._made_by(tx, row.policy)
        if whole is None:
            self.table.unopened += 1
            return
        found = engine.decide(whole, replay.facts_from_json(content["facts"]))
        new = replay.decision_to_json(found)
        old = content["outcome"]
        self.table.add(row.segment, row.subject_id, old, new)
        if self._whole is None and new != old:
            self.different.append({"decision": str(row.id), "policy": row.policy})

    def _made_by(self, tx: Tx, version: str) -> Whole | None:
        if version not in self._by_version:
            try:
                self._by_version[version] = repository.whole(tx, version)
            except LaminaError:
                self._by_version[version] = None
        return self._by_version[version]
