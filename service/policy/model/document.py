"""The policy document format: all members, their bounds, and the published JSON Schema."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from service.policy.model import conditions

PURPOSES: Final = ("login", "step_up", "enrollment", "recovery", "transaction")
FACTORS: Final = ("webauthn", "password", "totp", "face", "recovery_code")
"""All factor names; a registry knows which of them a deployment can verify."""
BIOMETRIC: Final = frozenset({"face"})
FRICTION: Final[dict[str, float]] = {
    "webauthn": 1.0,
    "password": 2.0,
    "totp": 3.0,
    "face": 3.0,
    "recovery_code": 9.0,
}
"""Default cost to a person of presenting a factor."""
MOST_RULES: Final = 200
LONGEST_DELAY: Final = 120
PSD2_IDLE: Final = 300
"""Idle timeout of a session in seconds, RTS (EU) 2018/389 article 4(3)(d)."""
COOLDOWN_HOURS: Final = 72
"""Default cool-down of new authenticators in hours."""
COOLDOWN_SPELLINGS: Final = ("cooldown_hours", "young_hours")
"""Names of the cool-down in a segment, the deprecated one last; a segment uses one of them."""
RECOVERY_HOURS: Final = 24
"""Default delay of a recovery by the help desk in hours."""
TIGHTEN: Final = 2.0

TypeName = Literal["password", "totp", "recovery_codes", "face"]
FactorName = Literal["webauthn", "password", "totp", "face", "recovery_code"]
Layer = Annotated[tuple[FactorName, ...], Field(min_length=1, max_length=len(FACTORS))]
Layers = Annotated[tuple[Layer, ...], Field(max_length=6)]
AcrName = Literal[
    "urn:lamina:acr:aal1", "urn:lamina:acr:aal2", "urn:lamina:acr:aal2:phr", "highest", "none"
]
RaisedAcr = Literal["urn:lamina:acr:aal1", "urn:lamina:acr:aal2", "urn:lamina:acr:aal2:phr"]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
Seconds = Annotated[int, Field(ge=0, le=LONGEST_DELAY)]
Hours = Annotated[int, Field(ge=0, le=720)]
Probability = Annotated[float, Field(gt=0, lt=1)]
When = Annotated[object, WithJsonSchema(conditions.SCHEMA)]


class DocumentPart(BaseModel):
    """Common configuration of all parts of a document."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )


class Requirement(DocumentPart):
    """The requirement of one purpose before risk is considered.

    `ways` lists alternatives, each a list of layers; `layers` is a single way.
    """

    acr: AcrName
    layers: Layers = ()
    ways: Annotated[tuple[Layers, ...], Field(max_length=8)] = ()
    when_enrolled: Layers = ()
    max_age: Annotated[int, Field(ge=0, le=31_536_000)] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> "Requirement":
        if self.layers and self.ways:
            raise ValueError("name layers or ways, not both")
        return self

    @property
    def alternatives(self) -> tuple[tuple[tuple[str, ...], ...], ...]:
        """Return the ways, at least one."""
        return self.ways or (self.layers,)


class RuleEffect(DocumentPart):
    """The effect of a band or rule: added layers, forbidden factors, delay, level."""

    layers: Layers = ()
    acr: RaisedAcr | None = None
    forbid: tuple[FactorName, ...] = ()
    delay: Seconds = 0


class Critical(DocumentPart):
    """The effect of the critical band: ends the flow, and may suspend the subject."""

    suspend: bool = False


class Raise(DocumentPart):
    """The additional effect of each band on top of the bands below it."""

    elevated: RuleEffect = RuleEffect()
    high: RuleEffect = RuleEffect()
    critical: Critical = Critical()


class Relief(DocumentPart):
    """The part of the base requirement that an exemption keeps; it can only remove."""

    acr: RaisedAcr | Literal["none"]
    layers: Layers = ()


class Then(RuleEffect):
    """The effect of a rule while its condition is true."""

    deny: bool = False
    suspend: bool = False
    relief: Relief | None = None


class Rule(DocumentPart):
    """A rule; with `audit_only` its effect is only recorded."""

    id: Name
    stage: Literal["admission", "approval", "transaction", "after"] = "admission"
    purposes: tuple[Literal["login", "step_up", "enrollment", "recovery", "transaction"], ...] = ()
    when: When = None
    then: Then
    audit_only: bool = False

    @model_validator(mode="after")
    def _relief_alone(self) -> "Rule":
        if self.then.relief is None:
            return self
        if self.then.model_fields_set != {"relief"}:
            raise ValueError("a rule relieves or raises, not both")
        if self.stage != "transaction":
            raise ValueError("only rules of the stage transaction relieve")
        if self.when is None:
            raise ValueError("a relief needs a condition")
        return self


class ProbabilityBands(DocumentPart):
    """Lower limits of the bands for the calibrated fraud probability of a transaction."""

    elevated: Probability
    high: Probability
    critical: Probability

    @model_validator(mode="after")
    def _ordered(self) -> "ProbabilityBands":
        if not self.elevated < self.high < self.critical:
            raise ValueError("probabilities must ascend: elevated < high < critical")
        return self


class Bands(DocumentPart):
    """Thresholds of the bands for the sum of log-likelihood ratios, reached at or below them."""

    elevated: float
    high: float
    critical: float
    hard: Literal["elevated", "high", "critical"] = "high"
    probability: ProbabilityBands | None = None

    @model_validator(mode="after")
    def _ordered(self) -> "Bands":
        if not self.critical < self.high < self.elevated < 0:
            raise ValueError("bands must descend: elevated > high > critical, all below 0")
        return self


class SubjectRiskRule(DocumentPart):
    """When risk is held against a subject beyond a session, and what clears it."""

    remember: Literal["elevated", "high", "critical"] = "high"
    clears: Literal["phr", "highest"] = "highest"


class Face(DocumentPart):
    """The liveness that a segment requires of a face."""

    liveness: Literal["off", "passive", "active"]


class Subjects(DocumentPart):
    """What a segment lets the claims of its people do.

    Args:
        unverified_email_sign_in: Whether an e-mail address that nobody has verified leads a login
            to the only subject that claims it.
    """

    unverified_email_sign_in: Annotated[bool, Field(strict=True)] = False


class LoginEnrollment(DocumentPart):
    """What a completed login lets a person enroll next, who has none of it.

    Args:
        offer: The types of authenticator for which it gives a grant.
    """

    offer: Annotated[tuple[TypeName, ...], Field(max_length=8)] = ()


class Segment(DocumentPart):
    """The rules of a segment; missing members are inherited through `extends`."""

    # A document keeps the spelling of the cool-down that it was written with, as its version is
    # the hash of it: `young_hours` is read like `cooldown_hours`, and is never rewritten.
    model_config = ConfigDict(json_schema_extra={"not": {"required": list(COOLDOWN_SPELLINGS)}})

    extends: Name | None = None
    regime: Literal["standard", "psd2"] | None = None
    disclosure: Literal["stepwise", "deferred"] | None = None
    attempts: Literal["lanes", "one_bucket"] | None = None
    factors: Annotated[tuple[FactorName, ...], Field(min_length=1)] | None = None
    fallback: tuple[FactorName, ...] | None = None
    friction: Mapping[FactorName, Annotated[float, Field(ge=0, le=100)]] | None = None
    face: Face | None = None
    subjects: Subjects | None = None
    login_enrollment: LoginEnrollment | None = None
    session_idle: Annotated[int, Field(ge=60, le=2_592_000)] | None = None
    cooldown_hours: Hours | None = None
    young_hours: Annotated[
        Hours | None,
        # Not pydantic's own mark, which would warn whenever the service reads the member.
        Field(json_schema_extra={"deprecated": True, "description": "Use cooldown_hours."}),
    ] = None
    recovery_hours: Annotated[int, Field(ge=1, le=168)] | None = None
    keep_sessions_on_change: bool | None = None
    bands: Bands | None = None
    subject_risk: SubjectRiskRule | None = None
    login: Requirement | None = None
    step_up: Requirement | None = None
    enrollment: Requirement | None = None
    recovery: Requirement | None = None
    transaction: Requirement | None = None
    raised: Raise | None = Field(default=None, alias="raise")
    rules: Annotated[tuple[Rule, ...], Field(max_length=MOST_RULES)] = ()

    @field_validator("fallback")
    @classmethod
    def _not_biometric(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value and BIOMETRIC & set(value):
            raise ValueError("a fallback for a biometric must not be biometric")
        return value

    @model_validator(mode="after")
    def _one_cooldown(self) -> "Segment":
        if self.model_fields_set.issuperset(COOLDOWN_SPELLINGS):
            raise ValueError("name cooldown_hours or young_hours, not both")
        return self

    @property
    def cooldown(self) -> int | None:
        """Return the cool-down in hours under either of its names; None if the segment has none."""
        return self.young_hours if self.cooldown_hours is None else self.cooldown_hours

    @model_validator(mode="after")
    def _psd2(self) -> "Segment":
        if self.regime == "psd2" and (self.disclosure == "stepwise" or self.attempts == "lanes"):
            raise ValueError("under psd2 disclosure is deferred and attempts fill one_bucket")
        if self.regime == "psd2" and (self.session_idle or 0) > PSD2_IDLE:
            raise ValueError(f"under psd2 a session idles {PSD2_IDLE} s at most")
        if self.regime == "psd2" and (self.recovery_hours or RECOVERY_HOURS) < RECOVERY_HOURS:
            raise ValueError(f"under psd2 a recovery waits {RECOVERY_HOURS} hours at least")
        return self


class Document(DocumentPart):
    """A policy document; its version is the hash of its canonical form."""

    format: Literal[1]
    name: Name
    description: Annotated[str, Field(max_length=1000)] = ""
    bands: Bands
    signal_budget_ms: Annotated[int, Field(ge=1, le=10_000)] = 1000
    retention_days: Annotated[int, Field(ge=1, le=3660)] = 180
    segments: Annotated[dict[Name, Segment], Field(min_length=1, max_length=64)]

    @model_validator(mode="after")
    def _whole(self) -> "Document":
        if "default" not in self.segments:
            raise ValueError("a policy needs the segment default")
        if sum(len(segment.rules) for segment in self.segments.values()) > MOST_RULES:
            raise ValueError(f"a policy has at most {MOST_RULES} rules")
        return self


def schema() -> dict[str, object]:
    """Return the JSON Schema (2020-12) of a document."""
    found = Document.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Lamina policy"} | {
        name: value for name, value in found.items() if name != "title"
    }
