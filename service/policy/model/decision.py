"""The facts that a policy evaluates and the decision it returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from service.domain.assurance import Acr, Evidence
from service.risk.model import Assessment, Band, Reason


class Effect(StrEnum):
    """The effect of a decision."""

    ALLOW = "allow"
    REQUIRE = "require"
    DENY = "deny"
    SUSPEND = "suspend"


@dataclass(kw_only=True, frozen=True, slots=True)
class Facts:
    """All inputs of a policy decision.

    Args:
        disclosed: Whether the answer may depend on the subject. Before that the policy sees only
            the client and the time, and no rule suspends or denies.
        proven: Whether a factor was verified in this flow; no one is suspended before that.
        standing: Risk held against the subject from earlier sessions, in nats, 0 or below.
        tighten: The threshold shift: nats by which every threshold is moved, from -2 to 2.
        stage: Stage of the decision: admission, approval, transaction or after.
        context: Further fields by their names in the vocabulary.
    """

    purpose: str
    segment: str
    evidence: tuple[Evidence, ...]
    enrolled: frozenset[str]
    assessments: tuple[Assessment, ...]
    requested: Acr
    max_age: int | None
    now: datetime
    suspended: bool = False
    disclosed: bool = True
    proven: bool = True
    standing: float = 0.0
    tighten: float = 0.0
    stage: str = "admission"
    context: Mapping[str, object] = field(default_factory=dict, repr=False)


@dataclass(kw_only=True, frozen=True, slots=True)
class Decision:
    """A policy decision: the layers of factors still required, and the reasons.

    Args:
        policy_version: The content hash of the document that decided.
        delay: Throttle delay before the next attempt, in seconds.
        hold: Risk to hold against the subject beyond this session, in nats, 0 or below.
    """

    effect: Effect
    required: Acr
    layers: tuple[tuple[str, ...], ...]
    band: Band
    reasons: tuple[Reason, ...]
    policy_version: str
    obligations: tuple[str, ...] = ()
    delay: int = 0
    hold: float = 0.0
