"""What the API takes and refuses, and how it says so."""

from http import HTTPStatus

import pytest
from openapi_spec_validator import validate

from tests.functional.conftest import PASSWORD

BAD_BODIES = {
    "nan": b'{"kind": NaN}',
    "huge number": b'{"max_age": 1e400}',
    "duplicate": b'{"kind": "login", "kind": "login"}',
    "surrogate": b'{"kind": "\\ud800"}',
    "nul": b'{"kind": "a\\u0000b"}',
    "deep": b"[" * 100_000,
    "not utf-8": b'{"kind": "\xff"}',
    "list": b"[]",
    "text": b'"login"',
    "number": b"1",
    "null": b"null",
    "empty object": b"{}",
    "cut off": b'{"kind": ',
    "unknown member": b'{"kind": "login", "identifier": "a", "admin": true}',
    "wrong type": b'{"kind": ["login"]}',
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_malformed_bodies_are_told_what_to_mend(service, name):
    """A 4xx problem document, never a 500, that does not repeat the input."""
    answer = service.http.post(
        "/v1/flows",
        data=BAD_BODIES[name],
        headers={"Authorization": f"Bearer {service.bearer}", "Content-Type": "application/json"},
    )
    assert answer.status_code in {400, 422}
    assert answer.content_type == "application/problem+json"
    problem = answer.json
    assert {"type", "title", "status", "detail", "instance", "code", "trace_id"} <= set(problem)
    if answer.status_code == 422:
        assert all({"pointer", "code", "detail"} == set(item) for item in problem["errors"])


def test_faults_point_at_what_to_mend(service):
    """The pointer names the member, also inside an action that rides along."""
    answer = service.call("POST", "/v1/subjects", {"identifiers": {"email": "no-address"}})
    assert answer.json["errors"][0]["pointer"] == "/identifiers/email"
    assert "no-address" not in answer.text
    ride = service.begin(action={"name": "password", "input": {"pass": "x"}})
    assert ride.json["errors"][0]["pointer"].startswith("/action/input/")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("PUT", "/v1/flows", 405),
        ("GET", "/v1/flows/not-an-id", 404),
        ("GET", "/v1/subjects/00000000-0000-0000-0000-000000000000", 404),
        ("DELETE", "/v1/subjects/x/sessions/y", 404),
        ("GET", "/v1/subjects/01a20d6d-6d88-726f-95cd-42a4410cdc1d/authenticators", 404),
    ],
)
def test_what_is_not_there_is_a_problem_document(service, method, path, status):
    """Unknown routes, methods and ids have one form of answer."""
    answer = service.call(method, path)
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"


def test_a_token_is_needed_and_said_to_be(service):
    """Without one, or with another scheme, it is 401 with a challenge."""
    for header in ({}, {"Authorization": "Basic eDp5"}, {"Authorization": "Bearer x.y.z"}):
        answer = service.http.get("/v1/flows/x", headers=header)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_body_that_is_too_large_is_refused(service):
    """The limit holds before the body is read into memory."""
    answer = service.call("POST", "/v1/subjects", {"profile": {"name": "x" * 300_000}})
    assert answer.status_code == 413
    assert answer.json["code"] == "body_too_large"
    assert f"{256 * 1024} bytes" in answer.json["detail"]


def test_a_form_is_not_json(service):
    """The content type must be application/json."""
    answer = service.http.post(
        "/v1/subjects", data={"a": "b"}, headers={"Authorization": f"Bearer {service.bearer}"}
    )
    assert answer.status_code == 400


def test_the_description_is_valid_and_complete(service):
    """OpenAPI 3.1 validates; every route is in it and every route in it exists."""
    document = service.http.get("/openapi.json").json
    validate(document)
    described = {
        (method.upper(), path) for path, item in document["paths"].items() for method in item
    }
    served = {
        (method, rule.rule.replace("<", "{").replace(">", "}"))
        for rule in service.app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert described == served


def test_every_guarded_route_refuses_a_stranger(service):
    """No operation with a scope answers without a token."""
    document = service.http.get("/openapi.json").json
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if any("client" in entry for entry in operation["security"]):
                concrete = path.replace("{", "").replace("}", "")
                assert service.http.open(concrete, method=method.upper()).status_code == 401


def test_health_readiness_metrics_and_docs_are_public(service):
    """Each answers without a token; metrics count by route, not by path."""
    assert service.http.get("/healthz").json == {"status": "alive"}
    assert service.http.get("/readyz").json["status"] == "ready"
    page = service.http.get("/docs").text
    assert "<code>/v1/flows</code><td>Begin a flow<td>flows:write" in page.replace(".<td>", "<td>")
    assert page.count("<td>client authentication") == 3
    service.begin("somebody")
    assert "lamina_http_request_seconds" in service.http.get("/metrics").text
    metrics = service.measured()
    assert 'lamina_http_requests_total{method="POST",route="/v1/flows",status="201"}' in metrics
    assert "somebody" not in metrics


def test_the_same_request_again_gets_the_first_answer(service):
    """With an Idempotency-Key a subject is registered once; another body is a mismatch."""
    body = {"identifiers": {"username": "carol"}}
    first = service.call("POST", "/v1/subjects", body, Idempotency_Key="k1")
    again = service.call("POST", "/v1/subjects", body, Idempotency_Key="k1")
    assert first.json == again.json
    assert again.headers["Idempotent-Replayed"] == "true"
    other = {"identifiers": {"username": "dave"}}
    mismatch = service.call("POST", "/v1/subjects", other, Idempotency_Key="k1")
    assert (mismatch.status_code, mismatch.json["code"]) == (422, "idempotency_mismatch")


def test_nothing_is_half_written(service):
    """A registration whose password is refused leaves no subject and no identifier behind."""
    body = {"identifiers": {"username": "erin", "email": "erin@example.com"}, "password": "short"}
    refused = service.call("POST", "/v1/subjects", body)
    assert refused.json["errors"][0]["pointer"] == "/password"
    body["password"] = "now long enough"
    assert service.call("POST", "/v1/subjects", body).status_code == 201
    taken = {"identifiers": {"username": "ERIN", "email": "frank@example.com"}}
    assert service.call("POST", "/v1/subjects", taken).status_code == 409
    found = service.call("POST", "/v1/subjects/lookup", {"identifier": "frank@example.com"})
    assert found.status_code == 404


def test_codes_and_titles_are_not_of_the_python_that_serves(service, monkeypatch):
    """Python 3.13 calls 413 and 422 by other names; what clients match stays."""
    for status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus(422)):
        monkeypatch.setattr(status, "phrase", "Another Name")
    told = service.call("GET", "/nowhere").json
    assert (told["code"], told["title"]) == ("not_found", "Not Found")
    assert service.call("PUT", "/healthz").json["code"] == "method_not_allowed"
    assert service.call("POST", "/v1/subjects", {"x": 1}).json["title"] == "Unprocessable Entity"


def test_invented_methods_and_paths_do_not_grow_the_metrics(service):
    """Ten thousand of each leave one label of each, in the metrics and in every other family."""
    before = service.measured()
    for number in range(10_000):
        path = f"/invented/{number}" if number % 2 else "/v1/flows"
        service.http.open(path, method=f"M{number}")
    after = service.measured()
    assert len(after) - len(before) < 4096
    assert 'method="OTHER",route="unmatched"' in after
    assert "M1" not in after


@pytest.mark.parametrize("grant", ["invented", "", "a" * 5000, "é"])
def test_labels_of_factors_and_grants_are_closed(service, grant):
    """What a caller calls a grant or an action is no label."""
    service.oauth("token", grant_type=grant)
    service.register()
    service.act(service.begin().json, "invented", {})
    shown = service.measured()
    assert "invented" not in shown
    assert "aaaa" not in shown


@pytest.mark.parametrize("value", ["é", "\xff", "k\x7f", "日".encode().decode("latin-1"), ""])
@pytest.mark.parametrize(
    "name",
    [
        "Idempotency-Key",
        "If-Match",
        "Flow-Token",
        "Grant",
        "Approval",
        "Session-Token",
        "Authorization",
    ],
)
def test_a_header_that_is_not_ascii_is_refused(service, name, value):
    """None that is read is ignored in silence: 400, before anything is done."""
    body = {"identifiers": {"username": "carol"}}
    headers = {"Authorization": f"Bearer {service.bearer}"} | {name: value}
    answer = service.http.post("/v1/subjects", json=body, headers=headers)
    if (name, value) == ("Authorization", ""):
        assert answer.status_code == 401
        return
    assert (answer.status_code, answer.json["code"]) == (400, "bad_header")
    assert name in answer.json["detail"]
    found = service.call("POST", "/v1/subjects/lookup", {"identifier": "carol"})
    assert found.status_code == 404


def test_a_content_type_that_is_not_ascii_is_refused(service):
    """It is one of the headers that are read."""
    answer = service.http.post(
        "/v1/subjects",
        data=b"{}",
        headers={"Authorization": f"Bearer {service.bearer}", "Content-Type": "application/jsön"},
    )
    assert (answer.status_code, answer.json["code"]) == (400, "bad_header")


CANARY = "canary-5f1d"


def test_no_refusal_repeats_what_a_caller_made_up(service):
    """Names of members, at any depth, of parts, paths, queries and methods are not told back."""
    service.register()
    flow = service.begin().json
    action = {"name": "password", "input": {"password": PASSWORD, CANARY: 1}}
    answers = [
        service.call("POST", "/v1/subjects", {CANARY: 1}),
        service.call("POST", "/v1/subjects", {"identifiers": {CANARY: "a"}}),
        service.begin(**{CANARY: 1}),
        service.begin(context={CANARY: {CANARY: 1}}),
        service.begin(action=action),
        service.act(flow, "password", {"password": PASSWORD, CANARY: 1}),
        service.act(flow, "totp", {CANARY: {CANARY: []}}),
        service.act(flow, CANARY, {}),
        service.call("POST", "/v1/policies", {"document": {CANARY: 1}}),
        service.call("POST", "/v1/approvals", {"act": "x", "params": {CANARY: 1}}),
        service.call("GET", f"/{CANARY}"),
        service.call("GET", f"/v1/flows/{CANARY}"),
        service.call("PUT", f"/v1/flows/{CANARY}"),
        service.call("GET", f"/v1/policies?limit={CANARY}&{CANARY}=1&cursor={CANARY}"),
        service.call(CANARY, "/v1/flows"),
        service.oauth("token", grant_type=CANARY, **{CANARY: CANARY}),
        service.http.post(
            "/v1/subjects/x/face/score",
            data={CANARY: "1"},
            content_type="multipart/form-data",
            headers={"Authorization": f"Bearer {service.bearer}"},
        ),
    ]
    for answer in answers:
        assert 400 <= answer.status_code < 500, answer.text
        assert CANARY not in answer.text
        assert CANARY not in str(answer.headers).replace("Location", "")
