"""Holds every response of the API to the OpenAPI document that the service serves."""

from collections.abc import Iterator
from datetime import datetime
from functools import cache
from uuid import UUID

from flask.testing import FlaskClient
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry
from referencing.jsonschema import DRAFT202012
from werkzeug.exceptions import HTTPException

PROBLEM = "application/problem+json"

_HERE = "urn:lamina:openapi"
_FORMATS = FormatChecker(formats=())


@_FORMATS.checks("uuid", raises=ValueError)
def _uuid(text) -> bool:
    return not isinstance(text, str) or str(UUID(text)) == text


@_FORMATS.checks("date-time", raises=ValueError)
def _moment(text) -> bool:
    return not isinstance(text, str) or datetime.fromisoformat(text).utcoffset() is not None


class Contract:
    """The served document; keeps what broke it.

    Args:
        document: What `/openapi.json` answered.
    """

    def __init__(self, document) -> None:
        self.document = document
        self.broken: list[str] = []
        resource = DRAFT202012.create_resource(document)
        self._registry = Registry().with_resource(_HERE, resource).crawl()
        self._validator = cache(self._compiled)

    def watch(self, monkeypatch) -> None:
        """Check every response that a test client of Flask receives from now on."""
        plain = FlaskClient.open

        def checked(client, *args, **kwargs):
            answer = plain(client, *args, **kwargs)
            if "lamina.api" in client.application.extensions:
                self.broken += self.faults(client.application, answer)
            return answer

        monkeypatch.setattr(FlaskClient, "open", checked)

    def faults(self, app, answer) -> Iterator[str]:
        """Yield how a response differs from what its operation documents."""
        environ = answer.request.environ
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        try:
            rule, _ = app.url_map.bind("localhost").match(path, method, return_rule=True)
        except HTTPException:
            return
        place = rule.rule.replace("<", "{").replace(">", "}")
        operation = self.document["paths"].get(place, {}).get(method.lower())
        if operation is None:
            # HEAD and OPTIONS are of HTTP, not of the contract.
            if method not in {"HEAD", "OPTIONS"}:
                yield f"{method} {place} is not in the document"
            return
        for fault in self._of(operation, place, method.lower(), answer):
            yield f"{operation['operationId']}: {fault}"

    def _of(self, operation, place, method, answer) -> Iterator[str]:
        status = str(answer.status_code)
        named = answer.json["code"] if answer.mimetype == PROBLEM else ""
        described = operation["responses"].get(status)
        if described is None:
            yield f'answered "{status} {named}", a status that it does not name'
            return
        content = described.get("content", {})
        kind = next((it for it in (answer.content_type, answer.mimetype) if it in content), None)
        if kind is None:
            if content or answer.data:
                yield f"answered {status} as {answer.content_type}; documented: {list(content)}"
            return
        if named and named not in content[kind]["schema"]["properties"]["code"]["enum"]:
            yield f'answered "{status} {named}", which its problems do not name'
        elif answer.is_json:
            found = self._validator(place, method, status, kind).iter_errors(answer.json)
            yield from (f"{status} {error.json_path}: {error.message}" for error in found)

    def _compiled(self, *steps) -> Draft202012Validator:
        place, method, status, kind = (step.replace("~", "~0").replace("/", "~1") for step in steps)
        pointer = f"/paths/{place}/{method}/responses/{status}/content/{kind}/schema"
        schema = {"$ref": f"{_HERE}#{pointer.replace('{', '%7B').replace('}', '%7D')}"}
        return Draft202012Validator(schema, registry=self._registry, format_checker=_FORMATS)
