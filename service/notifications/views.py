"""Webhooks as the routes show them, and messages as the host's commands do."""

from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from service.domain.formats import Id, Timestamp


class WebhookView(TypedDict):
    """A webhook, without its secrets."""

    id: Id
    url: Annotated[str, Field(examples=["https://events.example.com/lamina"])]
    kinds: Annotated[
        str,
        Field(
            description="The events that it receives, separated by spaces.",
            examples=["authenticator.* subject.suspended"],
        ),
    ]
    client: Annotated[
        Id | None, Field(description="Only events of this client's requests; null for all.")
    ]
    created_at: Timestamp
    old_secret_until: Annotated[
        Timestamp | None, Field(description="Until when the replaced secret signs too.")
    ]


class WebhookWithSecret(WebhookView):
    """A webhook with its new secret, which is shown only once."""

    secret: Annotated[
        str,
        Field(
            description="The signing key (Standard Webhooks 1.0).",
            examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        ),
    ]


class MessageView(TypedDict):
    """An undelivered message; `payload` only on request."""

    id: str
    at: str
    kind: str
    subject: str | None
    client: str | None
    state: str
    attempts: int
    error: str | None
    payload: NotRequired[dict[str, object] | None]
