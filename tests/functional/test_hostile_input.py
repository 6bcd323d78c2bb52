"""What nobody sends by accident: refused with 4xx, and never repeated in the answer."""

import asyncio
import uuid

import pytest

from service.web.front import Front
from service.web.limits import EdgeCounts, RequestRates
from tests.functional.conftest import CONSENT
from tests.functional.test_front import CHUNKED, FLOWS, JSON, QUICK, Sender, bearer
from tests.functional.test_operators import ask
from tests.functional.test_quorum import audited

CANARY = "canary_secret_99"
HUGE = ["1" + "0" * 400, "-1" + "0" * 400, "9" * 5000, str(2**63)]


def sent(service, method, path, data=None, token=""):
    """Send bytes as they are; an error that nobody expected is the answer of a server, 500."""
    service.app.config["PROPAGATE_EXCEPTIONS"] = False
    headers = {"Authorization": f"Bearer {token or service.bearer}"}
    if data is not None:
        headers["Content-Type"] = "application/json"
    return service.http.open(path, method=method, data=data, headers=headers)


@pytest.mark.parametrize("value", ["%00", "a%00b", "%0a", "a%7f", "%C2%85"])
@pytest.mark.parametrize(
    "way",
    [
        "DELETE consents",
        "DELETE suspensions",
        "DELETE sessions",
        "DELETE authenticators",
        "GET export",
    ],
)
def test_a_control_character_in_a_path_names_nothing(service, way, value):
    """PostgreSQL takes no NUL, and none of the rest is in any name."""
    person = service.register()
    method, where = way.split()
    answer = sent(service, method, f"/v1/subjects/{person.id}/{where}/{value}")
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")


def test_a_guard_comes_before_the_path(service):
    """Who shows no token is told nothing of it."""
    assert service.http.get("/v1/policies/%00").status_code == 401


@pytest.mark.parametrize("query", ["cursor=%00", "limit=1%0a", "a%00=1", "x=1&x=%1b"])
def test_a_control_character_in_a_query_is_refused(service, officers, query):
    """In a name or a value, known or not, the first or the second of a name."""
    answer = sent(service, "GET", f"/v1/policies?{query}", token=officers[0])
    assert (answer.status_code, answer.json["errors"][0]["code"]) == (422, "bad_query")


@pytest.mark.parametrize("number", HUGE)
@pytest.mark.parametrize("member", ["name", "version", "signals", "rules", "other"])
def test_a_huge_number_in_a_policy_is_refused(service, officers, number, member):
    """At any place of a document, as 422."""
    data = f'{{"document": {{"{member}": {number}}}}}'.encode()
    answer = sent(service, "POST", "/v1/policies", data, officers[0])
    assert (answer.status_code, answer.json["errors"][0]["code"]) == (422, "number_out_of_range")


@pytest.mark.parametrize(
    "recipient", ["\\u00e9", "lamina-recipient 1 \\u00e9", "\\ud83d\\ude00", "x"]
)
def test_a_recipient_that_is_none_is_refused(service, officers, recipient):
    """Text that is no ASCII is no base64 either."""
    data = f'{{"recipient": "{recipient}", "approval": "{uuid.uuid4()}"}}'.encode()
    answer = sent(service, "POST", "/v1/keys/export", data, officers[0])
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "/recipient")


def test_a_refusal_lists_what_there_is_and_repeats_nothing(service, officers):
    """Tiers, classes and scopes that somebody made up."""
    ada, _ = officers
    answers = [
        service.call("POST", f"/v1/keys/{verb}", {name: CANARY}, bearer=ada)
        for verb in ("generate", "promote", "retire", "rewrap", "reencrypt")
        for name in ("class", "tier")
        if (verb, name) != ("reencrypt", "tier")
    ]
    answers.append(ask(service, ada, "clients.scopes", service.client_id, scopes=CANARY))
    for answer in answers:
        assert answer.status_code == 422, answer.request.path
        assert CANARY not in answer.text
        assert any(known in answer.text for known in ("kek", "factor", "flows:write"))


def test_a_consent_that_is_withdrawn_is_shredded_by_who_called(service):
    """The log names the client, not the reason."""
    person = service.register()
    given = service.call(
        "POST", f"/v1/subjects/{person.id}/consents", CONSENT | {"purpose": "behavior"}
    )
    assert given.status_code == 201, given.json
    path = f"/v1/subjects/{person.id}/consents/behavior"
    assert service.call("DELETE", path).status_code == 204
    (found,) = [actor for actor, _ in audited(service, "subject.shredded")]
    assert found == service.client_id


@pytest.mark.parametrize("path", [FLOWS, "/oauth2/token"])
def test_a_request_that_is_asked_about_is_counted_once(service, monkeypatch, path):
    """Before its body and after it is one call, of a client and at the edge."""
    counted = []
    real = RequestRates._wait
    monkeypatch.setattr(
        RequestRates,
        "_wait",
        lambda pace, item, *names: counted.append(names) or real(pace, item, *names),
    )
    edge = []
    incr = EdgeCounts.incr
    monkeypatch.setattr(
        EdgeCounts,
        "incr",
        lambda store, key, *more, **named: edge.append(key) or incr(store, key, *more, **named),
    )
    body = b'{"kind": "login", "identifier": "' + b"a" * 700 + b'"}'
    kind = JSON if path == FLOWS else (b"content-type", b"application/x-www-form-urlencoded")
    front = Front(service.app, deadlines=QUICK)
    try:
        headers = [CHUNKED, kind, bearer(service)]
        answer = asyncio.run(Sender(front, path, [body], headers).run())
    finally:
        front.close()
    assert 400 <= answer.status < 500, answer.status
    assert answer.status != 429
    if path == FLOWS:
        assert [names[0] for names in counted].count("calls") == 1
    else:
        assert len(edge) == 1, edge
