"""Flows, calls, keys and assertions of a client are bounded; unknown names like known ones."""

import itertools

import pytest

from crypto.signing import SigningKey, sign_jwt
from service.clients.model import NewClient
from service.domain.clock import unix
from tests.functional.bounding import SMALL, refused
from tests.functional.test_client_assertions import ask as ask_with
from tests.functional.test_client_assertions import claims


@pytest.fixture
def settings(settings):
    """Bounds that a test can reach."""
    return settings.model_copy(update=SMALL)


def begin_all(service, names, **more):
    """Begin flows and return the statuses."""
    return [service.begin(name, **more).status_code for name in names]


def test_flows_for_one_name_are_bounded_alike_known_or_not(service):
    """Any spelling of a name counts as the name; another name still goes."""
    service.register("alice")
    known = begin_all(service, itertools.islice(itertools.cycle(("alice", "ALICE")), 10))
    unknown = begin_all(service, itertools.islice(itertools.cycle(("nobody", "Nobody")), 10))
    assert known == unknown == [201] * 8 + [429] * 2
    answer = service.begin("alice")
    refused(answer, "too_many_flows")
    other = service.begin("nobody")
    assert {key: other.json[key] for key in ("code", "detail", "status")} == {
        key: answer.json[key] for key in ("code", "detail", "status")
    }
    assert service.begin("bob").status_code == 201


def test_flows_for_one_session_are_bounded_through_its_refreshes(service):
    """A new access token of the same session begins no new count; another session has its own."""
    person = service.register("alice")
    tokens = service.exchange(service.login(person)["completion_code"]).json
    for _ in range(2):
        for _ in range(4):
            assert step_up(service, tokens).status_code == 201
        tokens = service.oauth(
            "token", grant_type="refresh_token", refresh_token=tokens["refresh_token"]
        ).json
    refused(step_up(service, tokens), "too_many_flows")
    service.clock.advance(seconds=31)
    other = service.exchange(service.login(person)["completion_code"]).json
    assert step_up(service, other).status_code == 201


def step_up(service, tokens):
    """Begin a step-up of the session of some tokens."""
    body = {"kind": "step_up", "access_token": tokens["access_token"]}
    return service.call("POST", "/v1/flows", body)


def test_flows_for_invented_names_are_bounded_by_client(service):
    """Thirty of them, and then none of this client; another client goes on."""
    statuses = begin_all(service, (f"invented-{number}" for number in range(34)))
    assert statuses == [201] * 30 + [429] * 4
    service.bearer = service.access(service.new_client(name="other"))
    assert service.begin("invented-40").status_code == 201


def test_calls_of_a_client_are_bounded(service):
    """The hundred and twenty-first call in a minute is refused; those of another are not."""
    bearer = service.access(service.new_client(name="busy"))
    codes = [service.call("GET", "/v1/policy-schema", bearer=bearer) for _ in range(122)]
    assert [answer.status_code for answer in codes[118:]] == [200, 200, 429, 429]
    refused(codes[-1], "too_many_calls")
    assert service.call("GET", "/v1/policy-schema").status_code == 200


def test_idempotency_keys_of_a_client_are_bounded_and_come_back(service):
    """The seventh key is refused, an old one is answered still; a day later there is room."""
    path, body = "/v1/subjects", {"identifiers": {"username": "one"}}
    first = service.call("POST", path, body, Idempotency_Key="0")
    for number in range(1, 6):
        body = {"identifiers": {"username": f"n{number}"}}
        assert service.call("POST", path, body, Idempotency_Key=str(number)).status_code == 201
    body = {"identifiers": {"username": "seventh"}}
    service.clock.advance(seconds=60)
    full = service.call("POST", path, body, Idempotency_Key="6")
    refused(full, "too_many_idempotency_keys")
    assert full.headers["Retry-After"] == str(24 * 3600 - 60)
    replay = service.call("POST", path, {"identifiers": {"username": "one"}}, Idempotency_Key="0")
    assert replay.json == first.json
    other = service.access(service.new_client(name="other"))
    assert service.call("POST", path, body, bearer=other, Idempotency_Key="6").status_code == 201
    service.clock.advance(hours=25)
    service.container.jobs.run_due()
    service.bearer = service.access()
    body = {"identifiers": {"username": "later"}}
    assert service.call("POST", path, body, Idempotency_Key="7").status_code == 201


def test_assertions_of_a_client_are_bounded_and_come_back(service):
    """The fifth that is not over yet is refused, of another client none; then there is room."""
    key = SigningKey.generate()
    ids = []
    for name in ("busy", "calm"):
        new = NewClient(name=name, scopes=("flows:write",), jwks={"keys": [key.public_jwk()]})
        with service.container.store.transaction() as tx:
            ids.append(str(service.container.clients.create(tx, new)[0].id))

    def ask(client):
        said = claims(service, client, exp=unix(service.clock.now()) + 3600)
        return ask_with(service, sign_jwt(key, said, "JWT"))

    assert [ask(ids[0]).status_code for _ in range(4)] == [200] * 4
    service.clock.advance(seconds=60)
    full = ask(ids[0])
    assert (full.status_code, full.json["error"]) == (429, "temporarily_unavailable")
    assert full.headers["Retry-After"] == str(3600 - 60)
    assert ask(ids[1]).status_code == 200
    service.clock.advance(seconds=3541)
    service.container.jobs.run_due()
    assert ask(ids[0]).status_code == 200
