"""The policy document and the pure function that decides: signals add to it, never take away."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from service.domain.assurance import Acr, Evidence, Kind, achieved, parse_acr
from service.domain.decision import Decision, Effect, Facts
from service.domain.risk import Assessment, Band, Reason

MOST_OFFSET: Final = 2.0
"""What good signals may make up for, in nats, all together."""
_FACTORS: Final = ("password", "totp", "recovery_code", "face")
Factor = Literal["password", "totp", "recovery_code", "face"]
Layer = Annotated[tuple[Factor, ...], Field(min_length=1)]
Layers = tuple[tuple[str, ...], ...]


class Rule(BaseModel):
    """What one kind of flow asks for in a segment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    acr: str
    layers: tuple[Layer, ...] = ()
    when_enrolled: tuple[Layer, ...] = ()
    max_age: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _known(self) -> "Rule":
        if self.acr != "highest":
            parse_acr(self.acr)
        return self


class Raise(BaseModel):
    """Further layers that a band of risk asks for; `critical` always denies."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    elevated: tuple[Layer, ...] = ()
    high: tuple[Layer, ...] = ()


class Segment(BaseModel):
    """The rules of one segment."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    login: Rule
    step_up: Rule
    enrollment: Rule
    recovery: Rule
    raised: Raise = Field(alias="raise")


class Bands(BaseModel):
    """Where each band begins: the sum of log-likelihood ratios at or below the value."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    elevated: float
    high: float
    critical: float

    @model_validator(mode="after")
    def _ordered(self) -> "Bands":
        if not self.critical < self.high < self.elevated < 0:
            raise ValueError("bands must descend: elevated > high > critical, all below 0")
        return self


class Document(BaseModel):
    """A whole policy."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: str
    bands: Bands
    segments: dict[str, Segment]

    @model_validator(mode="after")
    def _default(self) -> "Document":
        if "default" not in self.segments:
            raise ValueError("a policy needs the segment default")
        return self


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is required before evidence is looked at."""

    acr: Acr
    layers: Layers
    max_age: int | None


def band(bands: Bands, assessments: Sequence[Assessment]) -> Band:
    """Return the band: ratios add, good ones offset at most 2 nats and no hard finding."""
    against = sum(min(item.llr, 0.0) for item in assessments)
    favor = min(MOST_OFFSET, sum(max(item.llr, 0.0) for item in assessments))
    # What speaks for a person lowers no band below what a single bad signal would give.
    total = min(0.0, against + favor)
    found = Band.LOW
    for step in (Band.ELEVATED, Band.HIGH, Band.CRITICAL):
        if total <= getattr(bands, step.label):
            found = step
    return max(found, Band.HIGH) if any(item.hard for item in assessments) else found


def highest(enrolled: frozenset[str], now: datetime) -> Acr:
    """Return the highest level that the enrolled authenticators reach together."""
    return achieved([_supposed(name, now) for name in enrolled], now).acr


def unmet(layers: Layers, evidence: Sequence[Evidence]) -> Layers:
    """Return the layers that lack evidence; each piece of evidence serves one layer only."""
    left = [item.factor for item in evidence]
    missing = []
    for layer in layers:
        shown = next((name for name in layer if name in left), None)
        if shown is None:
            missing.append(layer)
        else:
            left.remove(shown)
    return tuple(missing)


def decide(document: Document, facts: Facts) -> Decision:
    """Return what is still to be shown, or that it is enough, or that it ends here."""
    segment = document.segments.get(facts.segment) or document.segments["default"]
    found = band(document.bands, facts.assessments)
    reasons = tuple(reason for item in facts.assessments for reason in item.reasons)
    asked = _asked(segment, facts, found)
    decision = Decision(Effect.REQUIRE, asked.acr, (), found, reasons, document.version, ())
    if facts.suspended:
        return _denied(decision, "suspended", "Signing in is suspended.")
    if found is Band.CRITICAL:
        return _denied(decision, "critical_risk", "The risk is critical.")
    return _measure(decision, asked, facts)


def _asked(segment: Segment, facts: Facts, found: Band) -> _Asked:
    rule: Rule = getattr(segment, facts.purpose)
    base = highest(facts.enrolled, facts.now) if rule.acr == "highest" else parse_acr(rule.acr)
    layers = [*rule.layers, *(layer for layer in rule.when_enrolled if layer[0] in facts.enrolled)]
    if found >= Band.ELEVATED:
        raised = segment.raised.high if found >= Band.HIGH else segment.raised.elevated
        layers += [layer for layer in raised if layer not in layers]
    ages = [age for age in (rule.max_age, facts.max_age) if age is not None]
    return _Asked(max(base, facts.requested), tuple(layers), min(ages, default=None))


def _measure(decision: Decision, asked: _Asked, facts: Facts) -> Decision:
    fresh = [item for item in facts.evidence if _young(item, asked.max_age, facts.now)]
    if highest(facts.enrolled | {item.factor for item in fresh}, facts.now) < asked.acr:
        return _unreachable(decision)
    missing = unmet(asked.layers, fresh)
    if not missing:
        level = achieved(fresh, facts.now).acr
        if level >= asked.acr:
            return replace(decision, effect=Effect.ALLOW)
        missing = (_lifting(fresh, facts),)
    # What nobody enrolled cannot be shown; a layer without a way left ends the flow.
    open_ways = tuple(tuple(name for name in layer if name in facts.enrolled) for layer in missing)
    if not all(open_ways):
        return _unreachable(decision)
    return replace(decision, layers=open_ways)


def _lifting(fresh: Sequence[Evidence], facts: Facts) -> tuple[str, ...]:
    """Return the factors that bring the level nearer to the one that is wanted."""
    now = achieved(fresh, facts.now).acr
    with_each = {
        name: achieved([*fresh, _supposed(name, facts.now)], facts.now).acr
        for name in _FACTORS
        if name in facts.enrolled
    }
    return tuple(name for name, level in with_each.items() if level > now)


def _young(item: Evidence, max_age: int | None, now: datetime) -> bool:
    return max_age is None or (now - item.at).total_seconds() <= max_age


def _supposed(factor: str, now: datetime) -> Evidence:
    nobody = UUID(int=0)
    kind = Kind.KNOWLEDGE if factor == "password" else Kind.POSSESSION
    return Evidence(nobody, "", factor, nobody, kind, (), now)


def _unreachable(decision: Decision) -> Decision:
    detail = "The required level cannot be reached with what is enrolled."
    return _denied(decision, "unmet_authentication_requirements", detail)


def _denied(decision: Decision, code: str, detail: str) -> Decision:
    reason = Reason(code, "policy", 0.0, detail)
    return replace(decision, effect=Effect.DENY, reasons=(*decision.reasons, reason))
