"""HTTP routes for authenticators."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from service.authenticators.enrolling import Enrolling
from service.domain.codes import LONGEST
from service.web.api import Api, Call, Operation
from service.web.multipart import MOST_PICTURES

_MEDIA = 12 * 1024 * 1024
_PATH = "/v1/subjects/{subject}/authenticators"


class Enroll(BaseModel):
    """An authenticator to enroll."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["password", "totp", "recovery_codes", "face"]
    password: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    name: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """For a code generator, of which there may be several."""


class FrameInput(BaseModel):
    """A frame: a picture and when it was taken, in ms."""

    model_config = ConfigDict(extra="forbid")

    t: Annotated[float, Field(ge=0, le=600_000)]
    image: Annotated[str, Field(max_length=4 * 1024 * 1024)]


class Confirm(BaseModel):
    """The confirmation of a pending authenticator: a first code, or frames for its challenge."""

    model_config = ConfigDict(extra="forbid")

    code: Annotated[str, Field(max_length=LONGEST)] | None = None
    challenge_id: Annotated[str, Field(max_length=64)] | None = None
    frames: Annotated[list[FrameInput], Field(max_length=MOST_PICTURES)] | None = None


def routes(api: Api, enrolling: Enrolling) -> None:
    """Register the operations."""

    def listing(call: Call) -> Mapping[str, Any]:
        return enrolling.page(call.by, _subject(call), call.page)

    def enroll(call: Call) -> Mapping[str, Any]:
        values = call.body.model_dump(exclude={"type"}, exclude_none=True)
        grant = call.header("Grant")
        return enrolling.enroll(
            call.by, _subject(call), kind=call.body.type, values=values, grant=grant
        )

    def confirm(call: Call) -> Mapping[str, Any]:
        found = call.id("authenticator", "authenticator")
        return enrolling.confirm(
            call.by, _subject(call), found, call.body.model_dump(exclude_none=True)
        )

    def revoke(call: Call) -> None:
        found = call.id("authenticator", "authenticator")
        enrolling.revoke(call.by, _subject(call), found, call.header("Grant"))

    write = "authenticators:write"
    api.add(
        Operation("GET", _PATH, "List what a subject has enrolled", "subjects:read", paged=True),
        listing,
    )
    api.add(
        Operation(
            "POST",
            _PATH,
            "Enroll an authenticator",
            write,
            Enroll,
            201,
            idempotent=True,
            secret=True,
            headers=("Grant",),
            classes=("factor",),
        ),
        enroll,
    )
    api.add(
        Operation(
            "POST",
            f"{_PATH}/{{authenticator}}/confirm",
            "Confirm a pending authenticator",
            write,
            Confirm,
            idempotent=True,
            max_body=_MEDIA,
            frames=True,
        ),
        confirm,
    )
    api.add(
        Operation(
            "DELETE",
            f"{_PATH}/{{authenticator}}",
            "Revoke an authenticator",
            write,
            status=204,
            headers=("Grant",),
        ),
        revoke,
    )


def _subject(call: Call) -> UUID:
    return call.id("subject", "subject")
