"""HTTP routes for authenticators."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from service.authenticators.enrolling import Enrolling
from service.authenticators.views import (
    AuthenticatorView,
    CaptureChallenge,
    ConfirmedAuthenticator,
    EnrolledAuthenticator,
)
from service.domain.codes import LONGEST
from service.web.call import Call
from service.web.multipart import MOST_PICTURES
from service.web.operation import delete, get, post
from service.web.paging import Page
from service.web.queues import Effort

_MEDIA = 12 * 1024 * 1024
_PATH = "/v1/subjects/{subject}/authenticators"
_ONE = f"{_PATH}/{{authenticator}}"
_WRITE = "authenticators:write"
_GRANT = ("403 grant_invalid", "403 grant_required")


class Enroll(BaseModel):
    """An authenticator to enroll."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["password", "totp", "recovery_codes", "face"]
    password: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    name: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """For a code generator, of which there may be several."""


class ConfirmFrame(BaseModel):
    """A frame: a picture and when it was taken, in ms."""

    model_config = ConfigDict(extra="forbid")

    t: Annotated[float, Field(ge=0, le=600_000)]
    image: Annotated[str, Field(max_length=4 * 1024 * 1024)]


class Confirm(BaseModel):
    """The confirmation of a pending authenticator: a first code, or frames for its challenge."""

    model_config = ConfigDict(extra="forbid")

    code: Annotated[str, Field(max_length=LONGEST)] | None = None
    challenge_id: Annotated[str, Field(max_length=64)] | None = None
    frames: Annotated[list[ConfirmFrame], Field(max_length=MOST_PICTURES)] | None = None


class AuthenticatorRoutes:
    """The operations on authenticators."""

    def __init__(self, enrolling: Enrolling) -> None:
        self._enrolling = enrolling

    @get(_PATH, scope="subjects:read", paged=True, answer=Page[AuthenticatorView])
    def list_authenticators(self, call: Call) -> Page[AuthenticatorView]:
        """List what a subject has enrolled."""
        return self._enrolling.page(call.by, _subject(call), call.page)

    @post(
        _PATH,
        scope=_WRITE,
        effort=Effort.START,
        body=Enroll,
        status=201,
        idempotent=True,
        secret=True,
        headers=("Grant",),
        classes=("factor",),
        answer=EnrolledAuthenticator,
        problems=(
            "403 consent_required",
            *_GRANT,
            "409 too_many_totp",
            "429 too_many_pending",
            "503 face_unavailable",
        ),
    )
    def enroll_authenticator(self, call: Call) -> EnrolledAuthenticator:
        """Enroll an authenticator."""
        wanted = call.read(Enroll)
        values = wanted.model_dump(exclude={"type"}, exclude_none=True)
        grant = call.header("Grant")
        return self._enrolling.enroll(
            call.by, _subject(call), kind=wanted.type, values=values, grant=grant
        )

    @post(
        f"{_ONE}/confirm",
        scope=_WRITE,
        effort=Effort.STEP,
        body=Confirm,
        idempotent=True,
        max_body=_MEDIA,
        frames=True,
        answer=ConfirmedAuthenticator,
        members={"challenge": CaptureChallenge},
        problems=(
            "403 consent_required",
            "409 not_pending",
            "409 too_many_totp",
            "422 verification_failed",
            "429 too_many_attempts",
            "503 face_unavailable",
        ),
    )
    def confirm_authenticator(self, call: Call) -> ConfirmedAuthenticator:
        """Confirm a pending authenticator."""
        found = call.id("authenticator", "authenticator")
        values = call.read(Confirm).model_dump(exclude_none=True)
        return self._enrolling.confirm(call.by, _subject(call), found, values)

    @delete(
        _ONE,
        scope=_WRITE,
        status=204,
        headers=("Grant",),
        problems=(*_GRANT, "409 already_revoked"),
    )
    def revoke_authenticator(self, call: Call) -> None:
        """Revoke an authenticator."""
        found = call.id("authenticator", "authenticator")
        self._enrolling.revoke(call.by, _subject(call), found, call.header("Grant"))


def _subject(call: Call) -> UUID:
    return call.id("subject", "subject")
