"""Scores and imports of behavior, as the routes show them."""

from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

_Llr = Annotated[
    float,
    Field(
        description="The log-likelihood ratio, genuine over impostor, in nats to one decimal.",
        examples=[2.4],
    ),
]


class BehaviorReason(TypedDict):
    """One contribution to a score."""

    code: Annotated[str, Field(examples=["keystroke_learning"])]
    contribution: _Llr
    detail: Annotated[str, Field(description="A text for people.")]


class SignalView(TypedDict):
    """The score of one kind of behavior."""

    llr: _Llr
    samples: Annotated[int, Field(description="How many samples the profile learned.")]
    reasons: list[BehaviorReason]


class BehaviorScoreView(TypedDict):
    """The score of a sample; without the scope `risk:read` only its band."""

    band: Annotated[str, Field(examples=["low"])]
    llr: NotRequired[_Llr]
    samples: NotRequired[Annotated[int, Field(description="The most that a signal learned.")]]
    replayed: NotRequired[Annotated[bool, Field(description="Whether it repeats a known sample.")]]
    signals: NotRequired[Annotated[dict[str, SignalView], Field(description="By signal.")]]


class RefusedSample(TypedDict):
    """A sample that was not learned."""

    index: Annotated[int, Field(description="Its place in the request, from 0.")]
    code: Annotated[str, Field(description="Why not.", examples=["behavior_replayed"])]


class ImportView(TypedDict):
    """The result of an import."""

    accepted: Annotated[int, Field(description="How many of the samples were learned.")]
    total: Annotated[int, Field(description="How many samples the profiles hold now.")]
    refused: list[RefusedSample]
