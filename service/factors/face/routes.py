"""HTTP routes for the face outside a flow."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from service.factors.face.model import STILLS, InputFrame
from service.factors.face.scoring import FaceScores
from service.factors.face.views import FaceScoreView
from service.web.call import Call
from service.web.operation import post
from service.web.queues import Effort

_MEDIA = 12 * 1024 * 1024


class FaceScoreRequest(BaseModel):
    """Pictures to compare with the stored face, without a challenge."""

    model_config = ConfigDict(extra="forbid")

    frames: Annotated[list[InputFrame], Field(min_length=1, max_length=STILLS)]


class FaceRoutes:
    """The operation on a face outside a flow."""

    def __init__(self, scores: FaceScores) -> None:
        self._scores = scores

    @post(
        "/v1/subjects/{subject}/face/score",
        scope="face:score",
        effort=Effort.START,
        body=FaceScoreRequest,
        idempotent=True,
        max_body=_MEDIA,
        frames=True,
        classes=("biometric",),
        answer=FaceScoreView,
        problems=("429 too_many_attempts", "503 face_unavailable"),
    )
    def score_face(self, call: Call) -> FaceScoreView:
        """Score pictures against a face."""
        frames = call.read(FaceScoreRequest).frames
        return self._scores.score(call.by, call.id("subject", "subject"), frames)
