"""Entries of the audit log as the routes show them."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from service.domain.formats import Id, Timestamp


class AuditEntry(TypedDict):
    """An entry of the log."""

    id: Id
    position: Annotated[
        int | None, Field(description="Its place in the chain; null until it has one.", ge=1)
    ]
    at: Timestamp
    name: Annotated[str, Field(examples=["flow.completed"])]
    subject: Id | None
    actor: Annotated[
        str | None,
        Field(
            description="Who did it: a client, an operator, or the service.",
            examples=["01a20d6d-6d88-726f-95cd-42a4410cdc1d"],
        ),
    ]
    data: Annotated[
        dict[str, object] | None,
        Field(description="Further members; null if something else edited the entry."),
    ]
    head: Annotated[
        str | None,
        Field(description="The digest of the chain up to the entry, in hex; null without a place."),
    ]
    intact: Annotated[
        bool | None,
        Field(description="Whether it is as it was written; null if nothing proves it yet."),
    ]
