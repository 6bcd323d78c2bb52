"""The signal `face_passive`, which may count against a verified face by at most one nat."""

from collections.abc import Sequence
from typing import Final

from biometrics.face import passive
from service.risk.fusion import Availability
from service.risk.model import Assessment, Reason, SignalFacts
from service.store.ahead import PlannedRead
from service.store.engine import Tx

FACTOR: Final = "face"
FMR_UPPER: Final = "fmr_upper"
"""The reading with the upper bound of the false match rate at this face's distance."""
_DETAILS: Final = {
    "faded": "the colors of the face are as faded as those of a print",
    "shine": "the face shines as a screen does",
}


class FacePassiveSignal:
    """Assesses the readings of a face verified in the flow; without a face it gives no evidence."""

    name = "face_passive"
    worst = passive.WORST

    def assess(self, tx: Tx, facts: SignalFacts) -> Assessment:  # noqa: ARG002 - the port's signature
        """Return the evidence against the face; never evidence for it."""
        readings = dict(facts.readings.get(FACTOR, {}))
        if not readings:
            return Assessment(signal=self.name, llr=0.0, seen=Availability.NOT_OFFERED)
        reasons = []
        if (bound := readings.pop(FMR_UPPER, None)) is not None:
            detail = f"of strangers at most {bound:.2%} match at this distance (95 % bound)"
            reasons.append(Reason("face_distance", self.name, 0.0, detail))
        against = passive.judge(readings)
        reasons += [
            Reason(f"face_{name}", self.name, nats, _DETAILS[name])
            for name, nats in against.items()
        ]
        return Assessment(signal=self.name, llr=passive.llr(against), reasons=tuple(reasons))

    def ahead(self, tx: Tx, facts: SignalFacts) -> Sequence[PlannedRead]:  # noqa: ARG002 - the port's signature
        """Return nothing: `assess` reads only what the flow holds."""
        return ()

    def learn(self, tx: Tx, facts: SignalFacts) -> None:
        """Do nothing: the readings end with their flow."""

    def failed(self, tx: Tx, facts: SignalFacts) -> None:
        """Do nothing."""
