"""The signal `face_passive`: it may speak against a face that verified, by a nat at most."""

from typing import Any, Final

from biometrics.face import passive
from service.risk.fusion import Availability
from service.risk.model import Assessment, Reason, SignalFacts

FACTOR: Final = "face"
FMR_UPPER: Final = "fmr_upper"
"""The reading that is no cue: how often strangers match at the distance of this face, at most."""
_DETAILS: Final = {
    "faded": "the colors of the face are as faded as those of a print",
    "shine": "the face shines as a screen does",
}


class FacePassiveSignal:
    """Judges the readings that a face left in its flow; without a face it says nothing."""

    name = "face_passive"
    worst = passive.WORST

    def assess(self, tx: Any, facts: SignalFacts) -> Assessment:  # noqa: ANN401, ARG002 - the protocol's signature
        """Return what speaks against the face; never anything for it."""
        readings = dict(facts.readings.get(FACTOR, {}))
        if not readings:
            return Assessment(self.name, 0.0, seen=Availability.NOT_OFFERED)
        reasons = []
        if (bound := readings.pop(FMR_UPPER, None)) is not None:
            detail = f"of strangers at most {bound:.2%} match at this distance (95 % bound)"
            reasons.append(Reason("face_distance", self.name, 0.0, detail))
        against = passive.judge(readings)
        reasons += [
            Reason(f"face_{name}", self.name, nats, _DETAILS[name])
            for name, nats in against.items()
        ]
        return Assessment(self.name, passive.llr(against), tuple(reasons))

    def learn(self, tx: Any, facts: SignalFacts) -> None:  # noqa: ANN401 - the protocol's signature
        """Learn nothing: the readings end with their flow."""

    def failed(self, tx: Any, facts: SignalFacts) -> None:  # noqa: ANN401 - the protocol's signature
        """Learn nothing."""
