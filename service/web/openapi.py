"""The OpenAPI 3.1 document, generated from the registry, and a page that shows it."""

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaValue
from werkzeug.http import HTTP_STATUS_CODES

from service.domain.scopes import ALL
from service.web import codes, multipart, parameters, problems, schemas
from service.web.call import JSON
from service.web.operation import Operation

Schemas = Mapping[tuple[object, schemas.Mode], JsonSchemaValue]
BEARER: Final = "client"
BASIC: Final = "client_authentication"
_BASIC: Final = (
    "The id and the secret of the client, each form-url-encoded. Instead, the form may hold"
    " client_id and client_secret, or a client_assertion signed by a key of the client."
)
_LATER: Final = frozenset({429, 503})
_RETRY_AFTER: Final = {
    "description": "Seconds after which the request may be tried again.",
    "schema": {"type": "integer", "minimum": 1},
}
_LOCATION: Final = {
    "description": "The address of the job.",
    "schema": {"type": "string", "format": "uri-reference"},
}
_ACCEPTED: Final = 202
_NO_CONTENT: Final = 204
_FORM: Final = "application/x-www-form-urlencoded"
_COMPONENT: Final = "#/components/schemas/"


def _security(operation: Operation) -> list[dict[str, list[str]]]:
    if operation.oauth:
        return [{BASIC: []}]
    if operation.scope is None:
        return []
    return [{BEARER: [operation.scope] if operation.scope else []}]


def _body(operation: Operation, known: Schemas) -> JsonSchemaValue:
    if operation.body is None:
        content = {_FORM: {"schema": known[operation.form, "validation"]}}
        return {"content": content, "required": True}
    content = {JSON: {"schema": known[operation.body, "validation"]}}
    if operation.frames:
        content[multipart.MEDIA_TYPE] = {"schema": {"$ref": _COMPONENT + _frames(operation.body)}}
    # An empty body is read as `{}`.
    return {
        "content": content,
        "required": bool(operation.body.model_json_schema().get("required")),
    }


def _frames(body: type[BaseModel]) -> str:
    """Return the name of the component that describes the multipart form of a body."""
    return f"{body.__name__}Frames"


def _success(operation: Operation, status: int, answer: object, known: Schemas) -> JsonSchemaValue:
    described: JsonSchemaValue = {"description": HTTP_STATUS_CODES[status]}
    if status == _ACCEPTED:
        described["headers"] = {"Location": _LOCATION}
    if status != _NO_CONTENT:
        described["content"] = {operation.media: {"schema": _answer(operation, answer, known)}}
    return described


def _answer(operation: Operation, answer: object, known: Schemas) -> JsonSchemaValue:
    if answer is not None:
        return known[answer, "serialization"]
    return {} if operation.media == JSON else {"type": "string"}


def _refusal(status: int, named: Sequence[str], oauth: Sequence[str]) -> JsonSchemaValue:
    content = {}
    if named:
        content[problems.MEDIA_TYPE] = _of("Problem", "code", named)
    if oauth:
        # First, because generated clients read a status by its first media type.
        content = {JSON: _of("OAuthProblem", "error", oauth)} | content
    described: JsonSchemaValue = {"description": HTTP_STATUS_CODES[status], "content": content}
    return described | ({"headers": {"Retry-After": _RETRY_AFTER}} if status in _LATER else {})


def _of(component: str, member: str, known: Sequence[str]) -> JsonSchemaValue:
    # Beside `$ref`, so that generators make one class of all problems.
    narrowed = {member: {"enum": list(known)}}
    return {"schema": {"$ref": _COMPONENT + component, "properties": narrowed}}


def _responses(operation: Operation, known: Schemas) -> JsonSchemaValue:
    answers = {operation.status: operation.answer, **operation.others}
    responses = {
        str(status): _success(operation, status, answer, known)
        for status, answer in answers.items()
    }
    named = codes.of(operation)
    oauth = codes.of_oauth(operation)
    for status in sorted({*named, *oauth}):
        refusal = _refusal(status, named.get(status, ()), oauth.get(status, ()))
        also = responses.get(str(status), {}).get("content", {})
        responses[str(status)] = refusal | {"content": also | refusal["content"]}
    return responses


def _operation(operation: Operation, known: Schemas) -> JsonSchemaValue:
    described: JsonSchemaValue = {
        "summary": operation.summary,
        "operationId": operation.operation_id,
        "tags": list(operation.tags),
        "parameters": parameters.described(operation),
        "responses": _responses(operation, known),
        "security": _security(operation),
    }
    if operation.description:
        described["description"] = operation.description
    if operation.body is not None or operation.form is not None:
        described["requestBody"] = _body(operation, known)
    return described


def _types(operations: Sequence[Operation]) -> Iterator[tuple[object, schemas.Mode]]:
    """Yield the types of bodies and responses, each once, in a stable order."""
    bodies = {operation.body for operation in operations if operation.body is not None}
    for model in sorted(bodies, key=lambda model: f"{model.__module__}.{model.__name__}"):
        yield model, "validation"
    for form in dict.fromkeys(item.form for item in operations if item.form is not None):
        yield form, "validation"
    answers: dict[object, None] = {problems.Problem: None, problems.OAuthProblem: None}
    for operation in operations:
        others = (*operation.others.values(), *operation.members.values())
        answers |= dict.fromkeys((operation.answer, *others))
    for answer in answers:
        if answer is not None:
            yield answer, "serialization"


def document(operations: Sequence[Operation], issuer: str, version: str) -> JsonSchemaValue:
    """Return the OpenAPI document of all operations."""
    known, definitions = schemas.generated(_types(operations))
    definitions |= {
        _frames(item.body): multipart.schema(item.body.model_json_schema())
        for item in operations
        if item.body is not None and item.frames
    }
    for item in operations:
        members = {name: known[kind, "serialization"] for name, kind in item.members.items()}
        definitions["Problem"]["properties"] |= members
    paths: JsonSchemaValue = {}
    for operation in operations:
        entry = paths.setdefault(operation.path, {})
        entry[operation.method.lower()] = _operation(operation, known)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Lamina",
            "version": version,
            "summary": "Layered sign-in for services.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": issuer}],
        "tags": [{"name": tag} for tag in dict.fromkeys(_tags(operations))],
        "paths": paths,
        "components": {
            "schemas": definitions,
            "securitySchemes": {
                BEARER: {
                    "type": "oauth2",
                    "description": "An access token for this API, in Authorization: Bearer.",
                    "flows": {
                        "clientCredentials": {
                            "tokenUrl": f"{issuer}/oauth2/token",
                            "scopes": _scopes(operations),
                        }
                    },
                },
                BASIC: {"type": "http", "scheme": "basic", "description": _BASIC},
            },
        },
    }


def _tags(operations: Sequence[Operation]) -> Iterator[str]:
    for operation in operations:
        yield from operation.tags


def _scopes(operations: Sequence[Operation]) -> dict[str, str]:
    """Return the sentence of each scope that an operation takes; raises KeyError without one."""
    named = {scope for operation in operations for scope in (operation.scope, *operation.also)}
    return {scope: ALL[scope] for scope in sorted(filter(None, named))}


def _needed(operation: Operation) -> str:
    """Return who may call an operation: a scope, or what stands for one."""
    if operation.oauth:
        return "client authentication"
    return "public" if operation.scope is None else operation.scope or "any client"


def page(operations: Sequence[Operation]) -> str:
    """Return an HTML page of all operations, without scripts or external resources."""
    rows = "".join(
        f"<tr><td><code>{html.escape(item.method)}</code><td><code>{html.escape(item.path)}</code>"
        f"<td>{html.escape(item.summary)}<td>{html.escape(_needed(item))}"
        for item in sorted(operations, key=lambda item: (item.path, item.method))
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Lamina API</title>"
        "<meta name=viewport content='width=device-width'><style>body{font:16px/1.5 system-ui;"
        "margin:2rem auto;max-width:70rem;padding:0 1rem}table{border-collapse:collapse;"
        "width:100%}td,th{padding:.4rem .8rem;border-bottom:1px solid #ccc;text-align:left}"
        "</style><h1>Lamina API</h1><p>The whole contract: <a href=/openapi.json>openapi.json"
        "</a>.</p><table><thead><tr><th>Method<th>Path<th>What it does<th>Scope</thead>"
        f"<tbody>{rows}</tbody></table></html>"
    )
