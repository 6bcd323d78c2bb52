"""The parameters of operations for OpenAPI: path, query and headers, each described."""

import re
from typing import Final

from pydantic.json_schema import JsonSchemaValue

from service.web import paging, queries
from service.web.operation import Operation

_PARAMETER: Final = re.compile(r"{([a-z_]+)}")
_NAMES: Final = {
    "name": "The kind of an identifier (`email`, `phone`), or the name of a legal action.",
    "purpose": "The purpose that was consented to.",
    "capability": "The suspended capability: `payment` or `login`.",
    "version": "The version of a policy: its hash, or a unique prefix of it.",
}
"""Path parameters that are no ids; every other one is a UUID."""
_HEADERS: Final = {
    "Flow-Token": "The `flow_token` of the answer that began the flow.",
    "Grant": "A grant of the person for this act: once, within five minutes.",
    "Approval": "The id of an approval that another operator gave for this act and target.",
    "If-Match": "The revision of the flow that the request is about; another one is refused.",
    "Session-Token": "An access token of the person, issued to this client: marks its session.",
    "Idempotency-Key": "At most 255 characters: a repeated request gets the first response.",
}
_REQUIRED: Final = frozenset({"Flow-Token"})
"""Headers without which the operations that read them refuse every request."""


def ids(path: str) -> list[str]:
    """Return the names of the path parameters that are UUIDs, in order."""
    return [name for name in _PARAMETER.findall(path) if name not in _NAMES]


def described(operation: Operation) -> list[JsonSchemaValue]:
    """Return the Parameter Objects of an operation.

    Raises:
        KeyError: A header or a query parameter has no description.
    """
    narrowing = queries.schemas(operation.query) if operation.query else {}
    pages = paging.SCHEMAS if operation.paged else {}
    headers = (*operation.headers, *(("Idempotency-Key",) if operation.idempotent else ()))
    return [
        *map(_of_path, _PARAMETER.findall(operation.path)),
        *(_of_query(name, schema) for name, schema in (narrowing | pages).items()),
        *map(_header, headers),
    ]


def _of_query(name: str, schema: JsonSchemaValue) -> JsonSchemaValue:
    # Left out, not null: a query has no null.
    plain = next((it for it in schema.get("anyOf", ()) if it != {"type": "null"}), schema)
    left = {key: value for key, value in plain.items() if key not in {"title", "description"}}
    return {"name": name, "in": "query", "description": schema["description"], "schema": left}


def _of_path(name: str) -> JsonSchemaValue:
    place = {"name": name, "in": "path", "required": True}
    if name in _NAMES:
        return place | {"description": _NAMES[name], "schema": {"type": "string"}}
    return place | {
        "description": f"The id of the {name}.",
        "schema": {"type": "string", "format": "uuid"},
    }


def _header(name: str) -> JsonSchemaValue:
    schema = {"type": "string"} | ({"format": "uuid"} if name == "Approval" else {})
    place = {"name": name, "in": "header", "description": _HEADERS[name], "schema": schema}
    return place | ({"required": True} if name in _REQUIRED else {})
