"""HTTP routes of behavior outside of flows."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from service.signals.behavior.actions import Measuring
from service.signals.behavior.actions.api import VALUES
from service.signals.behavior.schema import Behavior
from service.signals.behavior.views import BehaviorScoreView, ImportView
from service.web.call import Call
from service.web.operation import delete, post

_PATH = "/v1/subjects/{subject}/behavior"
_WRITE = "behavior:write"
_GRANT = ("403 grant_invalid", "403 grant_required")
MOST_SAMPLES = 50
_Agent = Annotated[str, Field(max_length=1024)]


class Probe(BaseModel):
    """A sample to score, with the device it came from."""

    model_config = ConfigDict(extra="forbid")

    behavior: Behavior
    user_agent: _Agent = ""


class NewSamples(BaseModel):
    """Samples to import, oldest first, all from one device."""

    model_config = ConfigDict(extra="forbid")

    samples: Annotated[list[Behavior], Field(min_length=1, max_length=MOST_SAMPLES)]
    user_agent: _Agent = ""


class BehaviorRoutes:
    """The operations on behavior outside a flow."""

    def __init__(self, measuring: Measuring) -> None:
        self._measuring = measuring

    @post(
        f"{_PATH}/score",
        scope="behavior:read",
        body=Probe,
        also=(VALUES,),
        answer=BehaviorScoreView,
        problems=("429 too_many_attempts", "503 profile_unreadable"),
    )
    def score_behavior(self, call: Call) -> BehaviorScoreView:
        """Score a sample against a profile."""
        wanted = call.read(Probe)
        subject = call.id("subject", "subject")
        return self._measuring.score(call.by, subject, wanted.behavior, wanted.user_agent)

    @post(
        f"{_PATH}/samples",
        scope=_WRITE,
        body=NewSamples,
        idempotent=True,
        headers=("Grant",),
        classes=("behavior",),
        answer=ImportView,
        problems=(*_GRANT, "403 aal2_required", "409 no_password", "409 profile_not_empty"),
    )
    def import_behavior_samples(self, call: Call) -> ImportView:
        """Teach a profile samples from elsewhere."""
        wanted = call.read(NewSamples)
        subject = call.id("subject", "subject")
        grant = call.header("Grant")
        return self._measuring.take_in(
            call.by, subject, samples=wanted.samples, user_agent=wanted.user_agent, grant=grant
        )

    @delete(_PATH, scope=_WRITE, status=204, headers=("Grant",), problems=_GRANT)
    def forget_behavior(self, call: Call) -> None:
        """Forget a profile."""
        self._measuring.reset(call.by, call.id("subject", "subject"), call.header("Grant"))
