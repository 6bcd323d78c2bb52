"""The forms of the OAuth endpoints, for OpenAPI; `service.tokens.model` reads them."""

from typing import Annotated, NotRequired

from pydantic import Field, with_config
from typing_extensions import TypedDict

from service.tokens.model import ASSERTION_TYPE, FLOW_GRANT

_Secret = Annotated[str, Field(description="The secret of the client, without HTTP Basic.")]
_Assertion = Annotated[str, Field(description="A JWT signed by a key of the client (RFC 7523).")]
_AssertionType = Annotated[
    str, Field(description="The type of `client_assertion`.", examples=[ASSERTION_TYPE])
]


# RFC 6749 section 3.2: parameters that are not known are ignored.
@with_config(extra="allow")
class ClientForm(TypedDict):
    """The credentials of a client, where they are not sent by HTTP Basic."""

    client_id: NotRequired[Annotated[str, Field(description="The id of the client.")]]
    client_secret: NotRequired[_Secret]
    client_assertion: NotRequired[_Assertion]
    client_assertion_type: NotRequired[_AssertionType]


@with_config(extra="allow")
class TokenRequest(ClientForm):
    """A request for tokens."""

    grant_type: Annotated[
        str,
        Field(
            description=f"`client_credentials`, `refresh_token`, or `{FLOW_GRANT}`.",
            examples=["client_credentials", FLOW_GRANT],
        ),
    ]
    code: NotRequired[
        Annotated[str, Field(description=f"The `completion_code` of a flow, for `{FLOW_GRANT}`.")]
    ]
    refresh_token: NotRequired[
        Annotated[str, Field(description="The latest refresh token, for `refresh_token`.")]
    ]
    scope: NotRequired[
        Annotated[
            str,
            Field(
                description="Scopes, separated by spaces, for `client_credentials`; all if absent.",
                examples=["flows:write subjects:read"],
            ),
        ]
    ]
    resource: NotRequired[
        Annotated[
            str,
            Field(description="The issuer, for an operator's token for this API (RFC 8707)."),
        ]
    ]


@with_config(extra="allow")
class TokenReference(ClientForm):
    """The token to introspect or to revoke."""

    token: Annotated[str, Field(description="An access token or a refresh token of the client.")]
