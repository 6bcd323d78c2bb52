"""Views of authenticators for callers and other features, and their errors."""

from datetime import datetime
from typing import Annotated, NotRequired, Protocol
from uuid import UUID

from pydantic import Field
from typing_extensions import TypedDict

from service.domain.authenticator import Authenticator, Status
from service.domain.clock import rfc3339
from service.domain.errors import Conflict, NotFound
from service.domain.fault_views import SetAside
from service.domain.formats import Id, Timestamp


class StoredAuthenticator(Protocol):
    """The columns of an authenticator that are not sealed."""

    @property
    def id(self) -> UUID:
        """Return its id."""

    @property
    def subject_id(self) -> UUID:
        """Return the subject that owns it."""

    @property
    def type(self) -> str:
        """Return its type."""

    @property
    def status(self) -> str:
        """Return its state, a `Status`."""

    @property
    def created_at(self) -> datetime:
        """Return when it was enrolled."""

    @property
    def last_used_at(self) -> datetime | None:
        """Return when it was used last."""


class NamedAuthenticator(StoredAuthenticator, Protocol):
    """An authenticator with its name opened."""

    name: str | None


class FrameLimits(TypedDict):
    """The bounds on the pictures of a capture."""

    min: Annotated[int, Field(examples=[7])]
    max: Annotated[int, Field(examples=[28])]
    max_bytes: Annotated[
        int, Field(description="The largest size of one picture.", examples=[360448])
    ]


class CaptureChallenge(TypedDict):
    """A challenge that the pictures of a face answer."""

    challenge_id: Annotated[str, Field(examples=["6f1b2c0d9e3a4f58a7c6d5e4f3a2b1c0"])]
    mode: Annotated[
        str, Field(description="`off`, `passive` or `active`: how strictly liveness is checked.")
    ]
    gestures: Annotated[
        list[str],
        Field(description="The commanded gestures, in order; empty unless `mode` is `active`."),
    ]
    frames: FrameLimits
    issued_at: Timestamp
    expires_at: Timestamp


class NewAuthenticator(TypedDict):
    """An authenticator just enrolled, with its secrets, which are shown only this once."""

    id: Id
    status: Annotated[str, Field(description="`pending` until confirmed, or `active`.")]
    name: NotRequired[
        Annotated[str | None, Field(description="The name of a code generator; null for none.")]
    ]
    secret: NotRequired[
        Annotated[str, Field(description="The secret of a code generator, in base32.")]
    ]
    otpauth_uri: NotRequired[
        Annotated[str, Field(description="The secret as a URI for authenticator apps.")]
    ]
    qr_svg: NotRequired[Annotated[str, Field(description="A QR code of the URI, as SVG.")]]
    codes: NotRequired[Annotated[list[str], Field(description="The recovery codes.")]]
    challenge: NotRequired[
        Annotated[CaptureChallenge, Field(description="The challenge that confirms a face.")]
    ]


class EnrolledAuthenticator(NewAuthenticator):
    """An authenticator just enrolled, with its type."""

    type: Annotated[str, Field(examples=["totp"])]


class ConfirmedAuthenticator(SetAside):
    """An authenticator that a confirmation made active."""

    id: Id
    type: Annotated[str, Field(examples=["totp"])]
    status: Annotated[str, Field(examples=["active"])]


class Renewal(TypedDict, total=False):
    """The members that a refused confirmation adds to its problem."""

    challenge: CaptureChallenge


class AuthenticatorView(TypedDict):
    """An authenticator in the list of a subject."""

    id: Id
    type: Annotated[str, Field(examples=["password"])]
    name: Annotated[str | None, Field(description="The name of a code generator.")]
    status: Annotated[str, Field(description="`pending` or `active`.", examples=["active"])]
    created_at: Timestamp
    last_used_at: Annotated[Timestamp | None, Field(description="Null before the first use.")]


def as_value(row: StoredAuthenticator) -> Authenticator:
    """Return a row as a value without its verifier."""
    return Authenticator(
        id=row.id,
        subject=row.subject_id,
        type=row.type,
        status=Status(row.status),
        created_at=row.created_at,
        last_used_at=row.last_used_at,
    )


def shown(row: NamedAuthenticator) -> AuthenticatorView:
    """Return the list view of a row."""
    return {
        "id": str(row.id),
        "type": row.type,
        "name": row.name,
        "status": row.status,
        "created_at": rfc3339(row.created_at),
        "last_used_at": rfc3339(row.last_used_at) if row.last_used_at else None,
    }


def not_pending() -> Conflict:
    """Return the error for confirming an authenticator that is not pending."""
    detail = "This authenticator is not pending; enroll another."
    return Conflict("not_pending", detail)


def no_authenticator() -> NotFound:
    """Return the error for an authenticator that the subject does not have."""
    return NotFound("authenticator_not_found", "This subject has no such authenticator.")
