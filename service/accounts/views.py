"""Subjects, consents and suspensions as the routes show them."""

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from service.domain.formats import FaultView, Id, Timestamp

_Segment = Annotated[str, Field(examples=["default"])]
_Status = Annotated[str, Field(description="active or erased.", examples=["active"])]
_Purpose = Annotated[str, Field(examples=["face"])]


class IdentifiersView(TypedDict, total=False):
    """The identifiers that a subject has."""

    username: Annotated[str, Field(examples=["alice"])]
    email: Annotated[str, Field(examples=["alice@example.com"])]
    phone: Annotated[str, Field(examples=["+4722225555"])]


class ProfileView(TypedDict, total=False):
    """The members of the profile that were given."""

    name: Annotated[str, Field(examples=["Alice Example"])]
    birthdate: Annotated[str, Field(examples=["1985-04-12"])]
    national_id: str
    address: str
    locale: Annotated[str, Field(examples=["nb-NO"])]


class ListedSubject(TypedDict):
    """A subject in a list, without personal data."""

    id: Id
    status: _Status
    segment: _Segment
    created_at: Timestamp


class SubjectView(ListedSubject):
    """A subject with its personal data."""

    identifiers: IdentifiersView
    verified: Annotated[
        list[str], Field(description="The verified addresses.", examples=[["email"]])
    ]
    sign_in: Annotated[
        list[str],
        Field(description="The identifiers that sign in.", examples=[["username", "email"]]),
    ]
    profile: ProfileView
    updated_at: Timestamp
    notices: Annotated[
        NotRequired[list[FaultView]],
        Field(description="Addresses that are not verified, and what follows from that."),
    ]


class VerificationView(TypedDict):
    """The state of the verification of an address."""

    status: Annotated[
        Literal["sent", "verified"],
        Field(description="`sent`: a code is on its way; `verified`: it was right."),
    ]


class ConsentView(TypedDict):
    """A consent, and its withdrawal."""

    purpose: _Purpose
    version: Annotated[str, Field(description="Of the wording.", examples=["2026-11"])]
    text_hash: Annotated[str, Field(description="The digest of the wording.")]
    locale: Annotated[str, Field(description="The language of the wording.", examples=["nb-NO"])]
    channel: Annotated[str, Field(description="Where it was given.", examples=["web"])]
    given_at: Timestamp
    withdrawn_at: Annotated[Timestamp | None, Field(description="Null while it is active.")]


class SuspensionView(TypedDict):
    """A capability that the subject may not use."""

    capability: Annotated[str, Field(description="login or payment.", examples=["login"])]
    reason: Annotated[str, Field(examples=["fraud_suspected"])]
    since: Timestamp
