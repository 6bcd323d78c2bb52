"""Views of authenticators for callers and other features, and their errors."""

from datetime import datetime
from typing import NotRequired, Protocol, TypedDict
from uuid import UUID

from service.domain.authenticator import Authenticator, Status
from service.domain.clock import rfc3339
from service.domain.errors import Conflict, NotFound


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

    min: int
    max: int
    max_bytes: int


class CaptureChallenge(TypedDict):
    """A challenge that the pictures of a face answer."""

    challenge_id: str
    mode: str
    gestures: list[str]
    frames: FrameLimits
    issued_at: str
    expires_at: str


class NewAuthenticator(TypedDict):
    """An authenticator just enrolled, with its secrets, which are shown only this once."""

    id: str
    status: str
    name: NotRequired[str | None]
    secret: NotRequired[str]
    otpauth_uri: NotRequired[str]
    qr_svg: NotRequired[str]
    codes: NotRequired[list[str]]
    challenge: NotRequired[CaptureChallenge]


class Renewal(TypedDict, total=False):
    """The members that a refused confirmation adds to its problem."""

    challenge: CaptureChallenge


class AuthenticatorView(TypedDict):
    """An authenticator in the list of a subject."""

    id: str
    type: str
    name: str | None
    status: str
    created_at: str
    last_used_at: str | None


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
