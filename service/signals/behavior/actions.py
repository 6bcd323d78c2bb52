"""Take in behavioral samples with consent, and answer for the signal."""

from collections.abc import Mapping
from typing import Final
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

    def admit(self, tx: Tx, subject: UUID, sample: Behavior) -> str | None:
        """Return a sample to hold in its flow; None without consent, so that it is dropped."""
        if not self._accounts.consented(tx, subject, PURPOSE):
            return None
        return sample.model_dump_json(by_alias=True, exclude_none=True)

    def learn(self, tx: Tx, subject: UUID, flow: str, samples: Mapping[str, str]) -> int:
        """Keep the samples of a flow that reached AAL2, by factor; return how many."""
        if not samples or not self._accounts.consented(tx, subject, PURPOSE):
            return 0
        now = self._clock.now()
        for field, content in samples.items():
            row = Sample(
                id=new_id(now), subject_id=subject, flow=flow, field=field, received_at=now
            )
            row.content = content.encode()
            tx.add(row)
        return len(samples)

    def forget(self, tx: Tx, subject: UUID) -> int:
        """Forget a subject's samples; return how many."""
        return store.drop(tx, subject)

    def learned(self, tx: Tx, subject: UUID) -> int:
        """Return how many samples a subject's profile could be made of, at most 200."""
        return store.count(tx, subject)


class BehaviorSignal:
    """The signal `behavior`: it collects, and says so, until samples are scored."""

    name = "behavior"
    worst = -6.0

    def __init__(self, behaviors: Behaviors) -> None:
        self._behaviors = behaviors

    def assess(self, _tx: Tx, facts: SignalFacts) -> Assessment:
        """Return no evidence either way, with the reason."""
        code = "learning" if facts.samples else "not_offered"
        reason = Reason(code, self.name, 0.0, "behavior is collected and not scored yet")
        return Assessment(self.name, 0.0, (reason,))

    def learn(self, tx: Tx, facts: SignalFacts) -> None:
        """Keep the samples of the flow."""
        self._behaviors.learn(tx, facts.subject, facts.flow, facts.samples)

    def failed(self, tx: Tx, facts: SignalFacts) -> None:
        """Learn nothing from a failure: the samples of a flow are kept when it succeeds."""
