"""Facts go into a policy and one decision comes out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from service.domain.assurance import Acr, Evidence
from service.risk.model import Assessment, Band, Reason


class Effect(StrEnum):
    """What a decision does."""

    ALLOW = "allow"
    REQUIRE = "require"
    DENY = "deny"
    SUSPEND = "suspend"


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything a policy may look at.

    Args:
        disclosed: Whether the answer may depend on the subject. Before that the policy sees the
            client and the time only, and no rule suspends or denies.
        proven: Whether a factor has verified in this flow; nothing is suspended before that.
        standing: What is held against the subject from earlier, in nats, 0 or below.
        tighten: The live risk parameter: nats that every threshold is moved by, from -2 to 2.
        stage: When the decision is made: admission, approval, transaction or after.
        context: Further fields by their names in the vocabulary of conditions.
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
    context: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Decision:
    """One answer: what is still to be shown, as layers of alternatives, and why.

    Args:
        policy_version: The content hash of the document that decided.
        delay: Seconds to wait before the next attempt.
        hold: What is to be held against the subject beyond this session, in nats, 0 or below.
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
