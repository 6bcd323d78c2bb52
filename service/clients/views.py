"""Clients as the routes show them."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from service.domain.formats import Id, Timestamp


class ClientView(TypedDict):
    """A client, without its secrets."""

    client_id: Id
    name: Annotated[str, Field(examples=["Shop"])]
    status: Annotated[str, Field(description="active or revoked.", examples=["active"])]
    scopes: Annotated[list[str], Field(examples=[["flows:write", "subjects:read"]])]
    idle_scopes: Annotated[
        list[str],
        Field(description="Scopes granted earlier that open nothing now.", examples=[[]]),
    ]
    first_party: bool
    asserts_context: Annotated[
        bool, Field(description="Whether it may state the network and device of a person.")
    ]
    segments: Annotated[list[str], Field(examples=[["default"]])]
    created_at: Timestamp
    keys: Annotated[int, Field(description="How many public keys it has.", ge=0, examples=[1])]
    old_secret_until: Annotated[
        Timestamp | None, Field(description="Until when the replaced secret is valid too.")
    ]
    old_jwks_until: Annotated[
        Timestamp | None, Field(description="Until when the replaced keys are valid too.")
    ]


class ClientList(TypedDict):
    """All clients."""

    items: list[ClientView]


class ClientWithSecret(ClientView):
    """A client with its new secret, which is shown only once."""

    client_secret: Annotated[str, Field(examples=["lsec_Zx8nVwC5rkqWJm3hTt0yLg"])]
