"""Sessions as the routes show them."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from service.domain.formats import Id, Timestamp


class DeviceView(TypedDict):
    """A kind of device."""

    agent: Annotated[str, Field(examples=["firefox"])]
    system: Annotated[str, Field(examples=["linux"])]


class NetworkView(TypedDict):
    """A network, without the address in it."""

    prefix: Annotated[str, Field(examples=["203.0.113.0/24"])]
    country: Annotated[
        str | None, Field(description="ISO 3166-1 alpha-2; null if unknown.", examples=["NO"])
    ]


class SessionView(TypedDict):
    """A session in force."""

    id: Id
    client_id: Id
    acr: Annotated[
        str | None,
        Field(
            description="The level that its evidence has now; null for none.",
            examples=["urn:lamina:acr:aal2"],
        ),
    ]
    amr: Annotated[
        list[str],
        Field(description="The methods of that evidence (RFC 8176).", examples=[["pwd", "otp"]]),
    ]
    auth_time: Annotated[
        Timestamp | None, Field(description="When the person last proved something that counts.")
    ]
    created_at: Timestamp
    expires_at: Timestamp
    last_used_at: Timestamp
    device: Annotated[DeviceView | None, Field(description="The kind of device that began it.")]
    network: Annotated[NetworkView | None, Field(description="The network that began it.")]
    current: Annotated[bool, Field(description="Whether `Session-Token` names this session.")]
