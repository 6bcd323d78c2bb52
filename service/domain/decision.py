"""Facts go into a policy and one decision comes out."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from service.domain.assurance import Acr, Evidence
from service.domain.risk import Assessment, Band, Reason


class Effect(StrEnum):
    """What a decision does."""

    ALLOW = "allow"
    REQUIRE = "require"
    DENY = "deny"
    SUSPEND = "suspend"


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything a policy may look at."""

    purpose: str
    segment: str
    evidence: tuple[Evidence, ...]
    enrolled: frozenset[str]
    assessments: tuple[Assessment, ...]
    requested: Acr
    max_age: int | None
    now: datetime
    suspended: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """One answer: what is still to be shown, as layers of alternatives, and why."""

    effect: Effect
    required: Acr
    layers: tuple[tuple[str, ...], ...]
    band: Band
    reasons: tuple[Reason, ...]
    policy_version: str
    obligations: tuple[str, ...] = ()
