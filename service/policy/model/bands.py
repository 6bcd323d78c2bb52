"""The risk bands of a session and of its subject, and the risk that is held against the subject."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from service.policy.model.compiler import (
    Compiled,
)
from service.policy.model.decision import Facts
from service.policy.model.document import (
    Bands,
    ProbabilityBands,
)
from service.risk.fusion import Fused, Share, fuse
from service.risk.model import Assessment, Band, Reason

_STEPS: Final = (Band.ELEVATED, Band.HIGH, Band.CRITICAL)


_NO_RISK: Final = math.nextafter(0.0, -1.0)
"""The greatest sum at which any band above the low one may begin."""


_BY_LABEL: Final = {band.label: band for band in Band}


@dataclass(frozen=True, slots=True)
class Risk:
    """The risk of the session and of the subject."""

    fused: Fused
    session: Band
    subject: Band

    @property
    def band(self) -> Band:
        """The greater of both; a subject's band never ends a flow, or nothing could clear it."""
        return max(self.session, min(self.subject, Band.HIGH))


def total(assessments: Sequence[Assessment]) -> Fused:
    """Return the fused score of all signals."""
    return fuse(Share(item.signal, item.llr, item.hard) for item in assessments)


def band(bands: Bands, fused: Fused, tighten: float = 0.0) -> Band:
    """Return the risk band of a session.

    Args:
        bands: The thresholds of the bands.
        fused: The fused score of the signals.
        tighten: Nats by which every threshold is moved towards 0, from -2 to 2. A threshold moves
            at most to that of the next milder band in the document, and none reaches 0: without
            evidence of risk the band is always low.
    """
    found = _by_total(bands, fused.total, tighten)
    return max(found, _BY_LABEL[bands.hard]) if fused.hard else found


def risk_of(segment: Compiled, facts: Facts) -> Risk:
    """Return the bands of the session and of the subject."""
    fused = total(facts.assessments)
    bands = segment.bands
    session = band(bands, fused, facts.tighten)
    if facts.stage == "transaction" and bands.probability is not None:
        probability = facts.context.get("probability")
        known = probability if isinstance(probability, int | float) else None
        session = max(session, _by_probability(bands.probability, known, facts.tighten))
    return Risk(fused, session, _by_total(bands, facts.standing, facts.tighten))


def held_risk(segment: Compiled, risk: Risk, tighten: float) -> float:
    """Return the risk to hold against the subject: at least enough to keep the band found."""
    if risk.session < _BY_LABEL[segment.subject_risk.remember]:
        return 0.0
    step = min(risk.session, Band.HIGH)
    kept: float = getattr(segment.bands, step.label)
    return min(risk.fused.total, kept + min(tighten, 0.0))


def _by_total(bands: Bands, total: float, tighten: float) -> Band:
    found = Band.LOW
    milder = _NO_RISK
    for step, begins in zip(_STEPS, (bands.elevated, bands.high, bands.critical), strict=True):
        if total <= min(begins + tighten, milder):
            found = step
        milder = begins
    return found


def _by_probability(begins: ProbabilityBands, probability: float | None, tighten: float) -> Band:
    if probability is None or not 0 <= probability <= 1:
        # Without a valid answer of the model, no transaction passes unchecked.
        return Band.ELEVATED
    found = Band.LOW
    milder = 0.0
    for step, base in zip(_STEPS, (begins.elevated, begins.high, begins.critical), strict=True):
        odds = math.log(base / (1 - base)) - tighten
        if probability >= max(1 / (1 + math.exp(-odds)), milder):
            found = step
        milder = base
    return found


def policy_reasons(risk: Risk, facts: Facts) -> list[Reason]:
    """Return the policy's own reasons about the score."""
    found = []
    favor = sum(max(item.llr, 0.0) for item in facts.assessments)
    if favor > risk.fused.excused:
        detail = "good signals excuse this much and no more"
        found.append(Reason("offset", "policy", round(risk.fused.excused, 4), detail))
    if facts.standing < 0:
        detail = "risk that is held against the subject from earlier"
        found.append(Reason("subject_risk", "policy", round(facts.standing, 4), detail))
    if facts.tighten:
        detail = "every threshold is moved by this much"
        found.append(Reason("tighten", "policy", facts.tighten, detail))
    return found
