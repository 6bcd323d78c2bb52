"""Claims of access tokens, and the responses of the OAuth endpoints."""

from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from service.domain.formats import Id

_Unix = Annotated[int, Field(description="Unix seconds.", examples=[1795521665])]
_Issuer = Annotated[str, Field(examples=["https://id.example.com"])]


class LevelClaims(TypedDict, closed=True):
    """The level of a session; without current evidence only `amr`, which is empty."""

    amr: Annotated[
        list[str], Field(description="The methods (RFC 8176).", examples=[["pwd", "otp", "mfa"]])
    ]
    acr: NotRequired[Annotated[str, Field(examples=["urn:lamina:acr:aal2"])]]
    auth_time: NotRequired[_Unix]


class SubjectClaims(TypedDict):
    """The claims that say who a token is about and who may read it."""

    sub: Annotated[str, Field(description="The subject, or the client itself.")]
    aud: Annotated[str, Field(description="The client, or the issuer.")]
    sid: NotRequired[Annotated[Id, Field(description="The session.")]]
    amr: NotRequired[list[str]]
    acr: NotRequired[str]
    auth_time: NotRequired[int]


class AccessClaims(SubjectClaims):
    """The claims of an access token (RFC 9068)."""

    iss: str
    client_id: str
    iat: int
    exp: int
    jti: str
    scope: str


class TokenView(TypedDict):
    """The response of the token endpoint (RFC 6749)."""

    access_token: Annotated[str, Field(description="A JWT (RFC 9068).")]
    token_type: Annotated[str, Field(examples=["Bearer"])]
    expires_in: Annotated[int, Field(description="Seconds.", examples=[300])]
    scope: Annotated[str, Field(examples=["flows:write subjects:read"])]
    refresh_token: NotRequired[
        Annotated[str, Field(description="For a session: the next refresh token, used once.")]
    ]


class IntrospectionView(TypedDict):
    """The state of a token (RFC 7662); of one that is not active nothing else is shown."""

    active: bool
    token_type: NotRequired[Annotated[str, Field(examples=["Bearer"])]]
    iss: NotRequired[_Issuer]
    client_id: NotRequired[Id]
    iat: NotRequired[_Unix]
    exp: NotRequired[_Unix]
    jti: NotRequired[Id]
    scope: NotRequired[str]
    sub: NotRequired[Annotated[Id, Field(description="The subject.")]]
    aud: NotRequired[str]
    sid: NotRequired[Annotated[Id, Field(description="The session.")]]
    amr: NotRequired[
        Annotated[list[str], Field(description="The methods that count now (RFC 8176).")]
    ]
    acr: NotRequired[Annotated[str, Field(description="The level now.")]]
    auth_time: NotRequired[_Unix]


class RevocationView(TypedDict):
    """The empty response to a revocation (RFC 7009)."""
