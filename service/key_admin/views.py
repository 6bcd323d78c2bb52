"""Keys, their instances and findings as the routes show them."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from service.domain.formats import JsonObject, Timestamp
from service.keys.views import KekView


class IndexKeyView(TypedDict):
    """A version of the blind-index key."""

    version: Annotated[int, Field(ge=1, examples=[1])]
    status: Annotated[
        str,
        Field(description="`pending`, `writing`, `active` or `retiring`.", examples=["active"]),
    ]


class SigningKeyView(TypedDict):
    """A token-signing key."""

    kid: Annotated[str, Field(description="The thumbprint of the key (RFC 7638).")]
    status: Annotated[
        str, Field(description="`pending`, `active` or `verify_only`.", examples=["active"])
    ]


class InstanceView(TypedDict):
    """A serving process, as of its last heartbeat."""

    label: Annotated[str, Field(examples=["host-1"])]
    seen_at: Timestamp
    alive: Annotated[bool, Field(description="Whether the last heartbeat is recent enough.")]
    classes: Annotated[list[str], Field(description="The key classes that it holds.")]


class FindingView(TypedDict):
    """A problem or an unfinished step of keys."""

    what: Annotated[str, Field(description="The key.", examples=["kek contact 2"])]
    state: Annotated[str, Field(examples=["is pending"])]
    mend: Annotated[
        str,
        Field(
            description="The command or step that resolves it.",
            examples=["lamina keys promote --tier kek --class contact"],
        ),
    ]


class KeyOverview(TypedDict):
    """All keys, and the instances that hold them."""

    keks: list[KekView]
    index: list[IndexKeyView]
    signing: list[SigningKeyView]
    instances: list[InstanceView]


class KeysView(KeyOverview):
    """All keys, the instances that hold them, and what is half done."""

    findings: list[FindingView]


class KeyStepView(TypedDict):
    """The keys that a step of the key lifecycle changed."""

    keys: Annotated[list[str], Field(examples=[["kek contact 2"]])]


class KeyExportView(TypedDict):
    """A recovery export, sealed for its recipient."""

    export: Annotated[JsonObject, Field(description="The content of the file to keep offline.")]
