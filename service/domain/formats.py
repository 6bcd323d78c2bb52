"""Types of members of JSON responses, with their format and an example for OpenAPI.

At run time each is a plain string or object: nothing is parsed or checked.
"""

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema
from typing_extensions import TypedDict

Id = Annotated[
    str,
    WithJsonSchema(
        {
            "type": "string",
            "format": "uuid",
            "examples": ["01a20d6d-6d88-726f-95cd-42a4410cdc1d"],
        }
    ),
]
"""An id: a UUID, as `str` writes it."""
Timestamp = Annotated[
    str,
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-11-24T12:00:05Z"]}),
]
"""A time in UTC, as `service.domain.clock.rfc3339` writes it."""
JsonObject = dict[str, Any]
"""An object with members that a standard or another document defines."""


class FaultView(TypedDict):
    """One part of the input that is invalid, or was ignored."""

    pointer: Annotated[
        str, Field(description="A JSON pointer (RFC 6901).", examples=["/identifiers/email"])
    ]
    code: Annotated[str, Field(examples=["bad_email"])]
    detail: Annotated[str, Field(examples=["is not an email address"])]
