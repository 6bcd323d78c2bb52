"""Policies and risk parameters as the routes show them."""

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypeAliasType, TypedDict

from service.domain.formats import FaultView, JsonObject, Timestamp

Version = Annotated[
    str,
    Field(
        description="SHA-256 of the canonical document, in hex.",
        examples=["ba0a1f90f6edea59604670a204903189536e31c5f4f393647b16ff7f2bd7257a"],
    ),
]
Status = Literal["draft", "validated", "shadow", "active", "retired"]
PolicySchema = TypeAliasType(
    "PolicySchema",
    Annotated[
        dict[str, object], Field(description="The JSON Schema (2020-12) of a policy document.")
    ],
)


class PolicySummary(TypedDict):
    """A policy document in a list."""

    version: Version
    name: Annotated[str, Field(examples=["retail"])]
    status: Status
    created_at: Timestamp
    created_by: Annotated[
        str, Field(description="Who drafted it: an operator, a client or a command.")
    ]
    validated_at: Annotated[Timestamp | None, Field(description="Null while it is a draft.")]


class ShadowCount(TypedDict):
    """How often a shadow decided otherwise than the active policy, in one segment."""

    segment: Annotated[str, Field(examples=["default"])]
    change: Annotated[
        str | None,
        Field(
            description="`same`, `step_up`, `denied`, `eased`, `other`, or `fault`.",
            examples=["step_up"],
        ),
    ]
    decisions: Annotated[
        int | None, Field(description="Null if fewer than 20 people are behind the count.")
    ]


class PolicyView(PolicySummary):
    """A policy document, and how it did as a shadow."""

    document: Annotated[
        JsonObject, Field(description="The document, as `/v1/policy-schema` describes it.")
    ]
    shadow: list[ShadowCount]


class ValidatedPolicy(PolicyView):
    """A policy document that this deployment can satisfy."""

    warnings: Annotated[
        list[FaultView], Field(description="Rules that may not act as their author expects.")
    ]


class ThresholdShiftView(TypedDict):
    """A shift of every risk threshold, in nats; above 0 is stricter."""

    value: Annotated[float, Field(description="The value now.", examples=[0.5])]
    target: Annotated[float, Field(description="The value after the ramp.", examples=[1.0])]
    since: NotRequired[Timestamp]
    ramp: NotRequired[
        Annotated[int, Field(description="Seconds of the move to the target.", examples=[600])]
    ]
    expires_at: NotRequired[
        Annotated[Timestamp, Field(description="When it begins to move back to 0.")]
    ]
    actor: NotRequired[Annotated[str, Field(description="Who set it.")]]
    automatic: NotRequired[Annotated[bool, Field(description="Whether a program set it.")]]


class RiskParameters(TypedDict):
    """The live risk parameters; only a shift that was set has a course."""

    tighten: ThresholdShiftView
