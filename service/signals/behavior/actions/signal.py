"""The signal `behavior`, assessed in every flow in which the password was typed."""

import threading
from collections.abc import Hashable, Sequence
from typing import Final

from crypto import opaque
from crypto.errors import CryptoError, KeyUnavailable
from service.domain.assurance import Acr
from service.risk.fusion import Availability
from service.risk.model import Assessment, SignalFacts
from service.signals.behavior.actions.profiles import Behaviors, Opened, TypingProfileKey
from service.signals.behavior.features import ANOTHER_TEXT, Read, read
from service.signals.behavior.schema import Behavior, device_class, device_classes
from service.signals.behavior.scoring import LOWEST, NAME, assessment, make_reason
from service.store.ahead import PlannedRead
from service.store.engine import Tx
from service.telemetry import logs

_TYPED: Final = "password"
_MOST_FLOWS: Final = 256


_Key = tuple[str, bytes, Hashable]


class _Recent:
    """Cache of assessments of recent flows, as each action of a flow asks again.

    A score costs as much as the rest of the action. An entry belongs to one flow, one sample and
    one exact state of the profiles; it is dropped when its flow ends at AAL2, or as others are
    added. It holds no sample and no profile.
    """

    def __init__(self) -> None:
        self._cached: dict[str, tuple[_Key, Assessment]] = {}
        self._lock = threading.Lock()

    def get(self, key: _Key) -> Assessment | None:
        """Return the cached assessment; None for another sample or changed profiles."""
        with self._lock:
            found = self._cached.get(key[0])
        return found[1] if found and found[0] == key else None

    def put(self, key: _Key, result: Assessment) -> None:
        """Cache an assessment; drops the oldest entries beyond the limit."""
        with self._lock:
            self._cached.pop(key[0], None)
            self._cached[key[0]] = key, result
            while len(self._cached) > _MOST_FLOWS:
                del self._cached[next(iter(self._cached))]

    def forget(self, flow: str) -> None:
        """Drop the entry of a flow."""
        with self._lock:
            self._cached.pop(flow, None)


class BehaviorSignal:
    """The signal `behavior`."""

    name = NAME
    worst = LOWEST

    def __init__(self, behaviors: Behaviors) -> None:
        self._behaviors = behaviors
        self._recent = _Recent()

    def assess(self, tx: Tx, facts: SignalFacts) -> Assessment:
        """Compare the sample sent with the password with the subject's profile."""
        content = facts.samples.get(_TYPED)
        if content is None or facts.password is None:
            return self._without(tx, facts)
        rows = self._behaviors.stored(tx, facts.subject)
        state = (facts.password, *(row.state for row in rows))
        key = (facts.flow, opaque.digest(content, "sample"), state)
        if (result := self._recent.get(key)) is not None:
            return result
        sample = Behavior.model_validate_json(content)
        typist = TypingProfileKey(
            facts.subject, facts.password, device_class(facts.client_context, sample)
        )
        try:
            opened = self._behaviors.open(tx, typist, rows)
        except (CryptoError, ValueError):
            reason = make_reason("profile_unreadable", "a stored profile does not open", LOWEST)
            return Assessment(signal=NAME, llr=LOWEST, reasons=(reason,))
        result = self._compared(opened, read(sample))
        self._recent.put(key, result)
        return result

    def ahead(self, tx: Tx, facts: SignalFacts) -> Sequence[PlannedRead]:  # noqa: ARG002 - the port's signature
        """Return what `assess` reads."""
        return (self._behaviors.ahead(facts.subject),)

    def learn(self, tx: Tx, facts: SignalFacts) -> None:
        """Update the profile if the verification of this flow alone reached AAL2."""
        self._recent.forget(facts.flow)
        if facts.level < Acr.AAL2 or facts.password is None:
            return
        sample = _sample(facts)
        if sample is None:
            self._behaviors.missed(tx, facts.subject, device_classes(facts.client_context))
        elif self._behaviors.consented(tx, facts.subject, for_share=True):
            where = device_class(facts.client_context, sample)
            try:
                self._behaviors.learn(
                    tx, TypingProfileKey(facts.subject, facts.password, where), sample
                )
            except KeyUnavailable:
                logs.get().warning("behavior_not_learned", code="key_unavailable")

    def failed(self, tx: Tx, facts: SignalFacts) -> None:
        """Do nothing: failures are not learned."""

    def _compared(self, opened: Opened, found: Read) -> Assessment:
        parts = self._behaviors.compare(found, opened)
        return assessment(parts, replay=opened.replayed(found)) if parts else _nothing()

    def _without(self, tx: Tx, facts: SignalFacts) -> Assessment:
        if facts.password is not None:
            classes = device_classes(facts.client_context)
            part = self._behaviors.usual(tx, facts.subject, facts.password, classes)
            if part is not None:
                return Assessment(
                    signal=NAME, llr=part.nats, reasons=part.reasons, seen=Availability.WITHHELD
                )
        return _nothing(another=bool(facts.samples))


def _sample(facts: SignalFacts) -> Behavior | None:
    content = facts.samples.get(_TYPED)
    return Behavior.model_validate_json(content) if content is not None else None


def _nothing(*, another: bool = False) -> Assessment:
    code, detail = ANOTHER_TEXT if another else ("not_offered", "no sample was sent")
    return Assessment(
        signal=NAME, llr=0.0, reasons=(make_reason(code, detail),), seen=Availability.NOT_OFFERED
    )
