"""Scores of pictures against a face, as the route shows them."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from service.domain.fault_views import SetAside


class LivenessView(TypedDict):
    """The liveness of pictures that answer no challenge: it is never shown."""

    mode: Annotated[str, Field(examples=["passive"])]
    passed: Annotated[bool, Field(examples=[False])]
    reasons: Annotated[
        list[str],
        Field(
            description="`not_asked`, and the passive cues that indicate an attack.",
            examples=[["not_asked"]],
        ),
    ]


class FaceScoreView(SetAside):
    """Whether pictures show the subject."""

    matched: bool
    band: Annotated[
        str, Field(description="`low`, `elevated` or `high`: a coarse risk.", examples=["low"])
    ]
    quality: Annotated[
        float, Field(description="The quality of the worst picture, 0 to 1.", examples=[0.83])
    ]
    liveness: LivenessView
