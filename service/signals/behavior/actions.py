"""Take in behavioral samples with consent, and answer for the signal."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from service.accounts.actions import Accounts
from service.domain.clock import Clock
from service.domain.errors import BadInput, Fault
from service.domain.ids import new_id
from service.domain.risk import Assessment, Reason, SignalFacts
from service.signals.behavior import store
from service.signals.behavior.model import Behavior
from service.signals.behavior.store import Sample
from service.store.engine import Tx
from service.web.inputs import parse

PURPOSE: Final = "behavior"
LARGEST: Final = 32 * 1024
_UNLEARNED_LIFE: Final = timedelta(minutes=15)


class Behaviors:
    """The samples."""

    def __init__(self, accounts: Accounts, clock: Clock) -> None:
        self._accounts = accounts
        self._clock = clock

    def parse(self, values: object, at: str) -> Behavior:
        """Return a validated sample; raises BadInput with pointers below `at`."""
        sample = parse(Behavior, values, at)
        if len(sample.model_dump_json()) > LARGEST:
            raise BadInput(Fault(at, "too_long", f"must have at most {LARGEST} bytes"))
        return sample

    def keep(self, tx: Tx, subject: UUID, flow: str, field: str, sample: Behavior) -> bool:
        """Keep a sample until its flow ends; without consent it is dropped, unstored."""
        if not self._accounts.consented(tx, subject, PURPOSE):
            return False
        now = self._clock.now()
        row = Sample(
            id=new_id(now), subject_id=subject, flow=flow, field=field, learned=False,
            received_at=now,
        )  # fmt: skip
        row.content = sample.model_dump_json(by_alias=True, exclude_none=True).encode()
        tx.add(row)
        return True

    def learn(self, tx: Tx, flow: str) -> int:
        """Let the samples of a flow count, once it has reached AAL2; return how many."""
        return store.learn(tx, flow)

    def forget(self, tx: Tx, subject: UUID) -> int:
        """Forget a subject's samples; return how many."""
        return store.drop(tx, subject)

    def learned(self, tx: Tx, subject: UUID) -> int:
        """Return how many samples a subject's profile could be made of, at most 200."""
        return store.count(tx, subject)

    def drop_unlearned(self, tx: Tx, now: datetime) -> int:
        """Forget samples whose flow never reached its level; return how many."""
        return store.drop_unlearned(tx, now - _UNLEARNED_LIFE)


class BehaviorSignal:
    """The signal `behavior`: it collects, and says so, until samples are scored."""

    name = "behavior"
    worst = -6.0

    def assess(self, facts: SignalFacts) -> Assessment:
        """Return no evidence either way, with the reason."""
        seen: Mapping[str, Any] = facts.context
        code = "learning" if seen.get("behavior") else "not_offered"
        reason = Reason(code, self.name, 0.0, "behavior is collected and not scored yet")
        return Assessment(self.name, 0.0, (reason,))
