"""HTTP routes for the face outside a flow."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from service.factors.face.model import STILLS, InputFrame
from service.factors.face.scoring import FaceScores
from service.web.api import Api, Call, Operation

_MEDIA = 12 * 1024 * 1024


class FaceScoreRequest(BaseModel):
    """Pictures to compare with the stored face, without a challenge."""

    model_config = ConfigDict(extra="forbid")

    frames: Annotated[list[InputFrame], Field(min_length=1, max_length=STILLS)]


def routes(api: Api, scores: FaceScores) -> None:
    """Register the operations."""

    def score(call: Call) -> dict[str, Any]:
        frames = [frame.model_dump() for frame in call.body.frames]
        return scores.score(call.by, call.id("subject", "subject"), frames)

    api.add(
        Operation(
            "POST",
            "/v1/subjects/{subject}/face/score",
            "Score pictures against a face",
            "face:score",
            FaceScoreRequest,
            idempotent=True,
            max_body=_MEDIA,
            frames=True,
            classes=("biometric",),
        ),
        score,
    )
