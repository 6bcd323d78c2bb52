"""The OpenAPI document: names, types and codes of every operation, and what it is held to."""

import json
import re
from types import NoneType
from typing import get_type_hints

import pytest
from flask import Response
from jsonschema import Draft202012Validator

from service.domain import scopes
from service.web.call import Reply
from service.web.operation import Operation
from tests.contract import Contract

IDS = {("path", "subject"), ("path", "flow"), ("path", "session"), ("header", "Approval")}
ONE = "/v1/subjects/{subject}/sessions"


def operations(service):
    """Return the registered operations."""
    return service.app.extensions["lamina.api"].operations


def described(contract):
    """Return the operations of the document by their ids."""
    return {
        operation["operationId"]: operation
        for item in contract.document["paths"].values()
        for operation in item.values()
    }


def test_operation_ids_are_names_of_methods_and_unique(service, contract):
    """A generated client has a method of each: verb first, in snake case."""
    named = [operation.operation_id for operation in operations(service)]
    assert len(named) == len(set(named)) == len(described(contract))
    assert [name for name in named if not re.fullmatch(r"[a-z]+(_[a-z]+)+", name)] == []


def test_every_operation_has_a_type_of_its_answer(service):
    """Those that answer JSON, with a body."""
    untyped = [
        operation.operation_id
        for operation in operations(service)
        if operation.answer is None
        and operation.status != 204
        and operation.media == "application/json"
    ]
    assert untyped == []


def test_a_view_returns_the_type_that_it_documents(service):
    """Mypy holds the view to its annotation, and this the annotation to the document."""
    api = service.app.extensions["lamina.api"]
    checked = 0
    for operation, (view, _) in zip(api.operations, api.views, strict=True):
        returned = get_type_hints(view)["return"]
        if operation.answer is not None and returned is not Response:
            assert returned in {operation.answer, Reply[operation.answer]}, operation.operation_id
            checked += 1
        elif operation.status == 204:
            assert returned is NoneType, operation.operation_id
    assert checked >= 5


def test_every_operation_names_its_scope_and_every_scope_is_described(service, contract):
    """By one security scheme for access tokens, and one for the clients' own credentials."""
    schemes = contract.document["components"]["securitySchemes"]
    known = schemes["client"]["flows"]["clientCredentials"]["scopes"]
    assert known == {name: scopes.ALL[name] for name in known}
    for operation in operations(service):
        security = described(contract)[operation.operation_id]["security"]
        if operation.oauth:
            assert security == [{"client_authentication": []}]
        elif operation.scope is None:
            assert security == []
        else:
            assert security == [{"client": [operation.scope] if operation.scope else []}]


def test_every_parameter_is_described_and_every_id_is_a_uuid(contract):
    """Path, query and header parameters; `subject` is an id wherever it stands."""
    for name, operation in described(contract).items():
        for parameter in operation["parameters"]:
            assert parameter["description"], (name, parameter)
            if (parameter["in"], parameter["name"]) in IDS:
                assert parameter["schema"]["format"] == "uuid", (name, parameter)


def test_a_parameter_of_a_query_is_left_out_and_not_null(contract):
    """Its schema is that of a value which can be written in an address."""
    found = [
        parameter["schema"]
        for operation in described(contract).values()
        for parameter in operation["parameters"]
        if parameter["in"] == "query"
    ]
    assert {schema["type"] for schema in found} == {"string", "integer"}


def test_a_body_is_required_unless_an_empty_object_will_do(contract):
    """A request without a body is read as `{}`."""
    whole = {"components": contract.document["components"]}
    optional = set()
    for name, operation in described(contract).items():
        if "requestBody" in operation:
            content = operation["requestBody"]["content"]
            schema = next(iter(content.values()))["schema"]
            empty = Draft202012Validator(schema | whole).is_valid({})
            assert operation["requestBody"]["required"] is not empty, name
            optional |= {name} if empty else set()
    assert {"verify_identifier", "act_in_flow"} <= optional


def test_general_problem_codes_follow_from_the_properties(contract):
    """A guarded route can refuse the token; only one with a body can refuse JSON."""
    listing, ending = (
        {
            f"{status} {code}"
            for status, answer in described(contract)[name]["responses"].items()
            if status >= "400"
            for code in answer["content"]["application/problem+json"]["schema"]["properties"][
                "code"
            ]["enum"]
        }
        for name in ("list_sessions", "begin_flow")
    )
    both = {"401 invalid_token", "403 insufficient_scope", "429 too_many_calls"}
    assert both <= listing & ending
    assert {"400 not_json", "410 answer_erased"} <= ending - listing
    assert "404 subject_not_found" in listing - ending


def test_a_problem_shows_the_types_of_features(contract):
    """The flow after a refused factor, and the next challenge of a refused confirmation."""
    known = contract.document["components"]["schemas"]
    members = known["Problem"]["properties"]
    assert members["flow"] == {"$ref": "#/components/schemas/FlowView"}
    assert members["challenge"] == {"$ref": "#/components/schemas/CaptureChallenge"}


def untyped(schema, place):
    """Yield the places of members and items that may be anything, at any depth."""
    inner = dict(schema.get("properties", {}))
    inner |= {name: schema[name] for name in ("items",) if name in schema}
    inner |= {str(number): each for number, each in enumerate(schema.get("anyOf", ()))}
    for name, member in inner.items():
        if not {"type", "$ref", "anyOf", "oneOf", "const"} & set(member):
            yield f"{place}.{name}"
        yield from untyped(member, f"{place}.{name}")


def test_every_member_of_a_component_has_a_type(contract):
    """A member of any type is one that a generated client can do nothing with."""
    components = contract.document["components"]["schemas"]
    assert list(untyped({"properties": {"a": {"items": {}}}}, "x")) == ["x.a", "x.a.items"]
    assert [place for name, each in components.items() for place in untyped(each, name)] == []


def examples(schema):
    """Yield every schema with examples, at any depth."""
    if isinstance(schema, dict):
        if isinstance(schema.get("examples"), list):
            yield schema
        for inner in schema.values():
            yield from examples(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from examples(inner)


def test_examples_are_valid(contract):
    """Each fits the schema that it stands in, in a component or an operation."""
    found = list(examples(contract.document))
    assert len(found) > 20
    for schema in found:
        whole = schema | {"components": contract.document["components"]}
        for example in schema["examples"]:
            Draft202012Validator(whole).validate(example)


@pytest.mark.parametrize(
    ("edit", "fault"),
    [
        (lambda op: op["responses"].pop("200"), "a status that it does not name"),
        (lambda op: op["responses"]["200"].update(content={"text/html": {}}), "answered 200 as"),
        (lambda op: op["responses"]["200"].update(content={}), "answered 200 as"),
    ],
)
def test_an_answer_beside_the_contract_is_found(service, person, contract, edit, fault):
    """A status and a media type that are not documented."""
    document = json_copy(contract.document)
    edit(document["paths"][ONE]["get"])
    assert found(document, service, f"/v1/subjects/{person.id}/sessions") == [fault]


@pytest.mark.parametrize("change", ["drop", "add", "type", "format"])
def test_a_member_beside_the_contract_is_found(service, person, contract, change):
    """One that is missing, one too many, one of another type or format."""
    service.exchange(service.login(person)["completion_code"])
    document = json_copy(contract.document)
    schema = document["components"]["schemas"]["SessionView"]
    if change == "drop":
        del schema["properties"]["id"]
        schema["required"].remove("id")
    elif change == "add":
        schema["required"].append("color")
    else:
        schema["properties"]["client_id"] = (
            {"type": "integer"} if change == "type" else {"type": "string", "format": "date-time"}
        )
    assert len(found(document, service, f"/v1/subjects/{person.id}/sessions")) == 1


def test_a_code_beside_the_contract_is_found(service, contract):
    """A problem whose code its operation does not name."""
    document = json_copy(contract.document)
    problem = document["paths"][ONE]["get"]["responses"]["404"]["content"]
    problem["application/problem+json"]["schema"]["properties"]["code"]["enum"] = ["not_found"]
    path = "/v1/subjects/00000000-0000-0000-0000-000000000000/sessions"
    assert found(document, service, path) == ["which its problems do not name"]


def test_the_decorator_refuses_a_code_without_a_status():
    """`problems` names each code with its status."""
    with pytest.raises(ValueError, match="get_x: 'x_not_found'"):
        Operation(
            method="GET", path="/x", operation_id="get_x", summary="", problems=("x_not_found",)
        )


def json_copy(document):
    """Return a deep copy."""
    return json.loads(json.dumps(document))


def found(document, service, path):
    """Return the faults of one answer under another document, without names and values."""
    answer = service.call("GET", path)
    faults = list(Contract(document).faults(service.app, answer))
    known = ("a status that it does not name", "answered 200 as", "which its problems do not name")
    return [next((part for part in known if part in fault), fault) for fault in faults]
