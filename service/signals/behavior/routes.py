"""HTTP routes of behavior outside of flows."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from service.signals.behavior.actions import Measuring
from service.signals.behavior.actions.api import VALUES
from service.signals.behavior.schema import Behavior
from service.web.api import Api, Call, Operation

_PATH = "/v1/subjects/{subject}/behavior"
MOST_SAMPLES = 50
_Agent = Annotated[str, Field(max_length=1024)]


class Probe(BaseModel):
    """A sample to score, with the device it came from."""

    model_config = ConfigDict(extra="forbid")

    behavior: Behavior
    user_agent: _Agent = ""


class Samples(BaseModel):
    """Samples to import, oldest first, all from one device."""

    model_config = ConfigDict(extra="forbid")

    samples: Annotated[list[Behavior], Field(min_length=1, max_length=MOST_SAMPLES)]
    user_agent: _Agent = ""


def routes(api: Api, measuring: Measuring) -> None:
    """Register the operations."""

    def score(call: Call) -> Mapping[str, Any]:
        wanted: Probe = call.body
        subject = call.id("subject", "subject")
        return measuring.score(call.by, subject, wanted.behavior, wanted.user_agent)

    def take_in(call: Call) -> Mapping[str, Any]:
        wanted: Samples = call.body
        subject, grant = call.id("subject", "subject"), call.header("Grant")
        return measuring.take_in(
            call.by, subject, samples=wanted.samples, user_agent=wanted.user_agent, grant=grant
        )

    def reset(call: Call) -> None:
        measuring.reset(call.by, call.id("subject", "subject"), call.header("Grant"))

    write, grant = "behavior:write", ("Grant",)
    api.add(
        Operation(
            "POST",
            f"{_PATH}/score",
            "Score a sample against a profile",
            "behavior:read",
            Probe,
            also=(VALUES,),
        ),
        score,
    )
    api.add(
        Operation(
            "POST",
            f"{_PATH}/samples",
            "Teach a profile samples from elsewhere",
            write,
            Samples,
            idempotent=True,
            headers=grant,
            classes=("behavior",),
        ),
        take_in,
    )
    api.add(Operation("DELETE", _PATH, "Forget a profile", write, status=204, headers=grant), reset)
