"""The OpenAPI 3.1 document, generated from the registry, and a page that shows it."""

import html
import re
from typing import Any, Final

from pydantic.json_schema import models_json_schema

from service.web import multipart, paging, queries
from service.web.api import Operation

_REF: Final = "#/components/schemas/{model}"
_PARAMETER: Final = re.compile(r"{([a-z_]+)}")


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    text = {"type": "string"}
    path = [
        {"name": name, "in": "path", "required": True, "schema": text}
        for name in _PARAMETER.findall(operation.path)
    ]
    wanted = (*operation.headers, *(("Idempotency-Key",) if operation.idempotent else ()))
    narrowing = queries.schemas(operation.query) if operation.query else {}
    pages = paging.SCHEMAS if operation.paged else {}
    query = [
        {"name": name, "in": "query", "schema": schema}
        for name, schema in (narrowing | pages).items()
    ]
    return path + query + [{"name": name, "in": "header", "schema": text} for name in wanted]


def _security(operation: Operation) -> list[dict[str, list[str]]]:
    if operation.scope is None:
        return []
    return [{"client": [operation.scope] if operation.scope else []}]


def _operation(operation: Operation, schemas: dict[Any, Any]) -> dict[str, Any]:
    problem = {"$ref": "#/components/responses/Problem"}
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": f"{operation.method.lower()}{re.sub('[^a-z0-9]+', '_', operation.path)}",
        "parameters": _parameters(operation),
        "responses": {str(operation.status): {"description": operation.summary}, "4XX": problem},
        "security": _security(operation),
    }
    if operation.body is not None:
        schema = schemas[operation.body, "validation"]
        content = {"application/json": {"schema": schema}}
        if operation.frames:
            content[multipart.MEDIA_TYPE] = {
                "schema": multipart.schema(operation.body.model_json_schema())
            }
        described["requestBody"] = {"content": content}
    return described


def document(operations: list[Operation], issuer: str, version: str) -> dict[str, Any]:
    """Return the OpenAPI document of all operations."""
    models = {operation.body for operation in operations if operation.body is not None}
    ordered = sorted(models, key=lambda model: f"{model.__module__}.{model.__name__}")
    schemas, definitions = models_json_schema(
        [(model, "validation") for model in ordered], ref_template=_REF
    )
    paths: dict[str, Any] = {}
    for operation in operations:
        entry = paths.setdefault(operation.path, {})
        entry[operation.method.lower()] = _operation(operation, schemas)
    named = {scope for operation in operations for scope in (operation.scope, *operation.also)}
    scopes = sorted(filter(None, named))
    flow = {"tokenUrl": f"{issuer}/oauth2/token", "scopes": {name: name for name in scopes}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Lamina",
            "version": version,
            "summary": "Layered sign-in for services.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": issuer}],
        "paths": paths,
        "components": {
            "schemas": definitions.get("$defs", {}),
            "responses": {
                "Problem": {
                    "description": "A problem document (RFC 9457).",
                    "content": {"application/problem+json": {"schema": {"type": "object"}}},
                }
            },
            "securitySchemes": {"client": {"type": "oauth2", "flows": {"clientCredentials": flow}}},
        },
    }


def page(operations: list[Operation]) -> str:
    """Return an HTML page of all operations, without scripts or external resources."""
    rows = "".join(
        f"<tr><td><code>{html.escape(item.method)}</code><td><code>{html.escape(item.path)}</code>"
        f"<td>{html.escape(item.summary)}<td>"
        f"{'public' if item.scope is None else html.escape(item.scope or 'any client')}"
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
