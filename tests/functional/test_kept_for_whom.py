"""An Idempotency-Key answers the caller who got the first answer, and only while they may."""

from uuid import UUID

from service.operators.model import Role
from tests.functional.test_operators import ask
from tests.functional.test_quorum import do, who

KEY = {"Idempotency_Key": "the same key"}
ASKED = {"act": "keys.destroy", "target": "kek behavior 9", "reason": "planned"}


def request(service, bearer=None):
    return service.call("POST", "/v1/approvals", ASKED, bearer=bearer, **KEY)


def test_a_client_and_two_officers_with_one_key_are_three(service, officers):
    """What an officer asked for answers neither the client they came by nor another officer."""
    ada, grace = officers
    first = request(service, ada)
    assert first.status_code == 201
    mine = request(service)
    assert (mine.status_code, mine.json["code"]) == (403, "insufficient_scope")
    other = request(service, grace)
    assert other.status_code == 201
    assert other.json["id"] != first.json["id"]
    again = request(service, ada)
    assert (again.json["id"], again.headers["Idempotent-Replayed"]) == (first.json["id"], "true")


def test_the_other_way_round_too(service, officers):
    """The client's refusal is not the officer's answer, and a body of another is no mismatch."""
    ada, _ = officers
    assert request(service).status_code == 403
    different = service.call("POST", "/v1/approvals", ASKED | {"reason": "other"}, **KEY)
    assert different.json["code"] == "insufficient_scope"
    assert request(service, ada).status_code == 201


def test_a_refusal_is_not_kept(service, officers):
    """One officer's 403 is nobody's answer, and their own when it is no more is another."""
    ada, grace = officers
    number = ask(service, ada, "keys.destroy", "kek behavior 9").json["id"]
    path = f"/v1/approvals/{number}/approve"
    mine = service.call("POST", path, {}, bearer=ada, **KEY)
    assert (mine.status_code, mine.json["code"]) == (403, "same_operator")
    assert service.call("POST", path, {}, bearer=grace, **KEY).json["status"] == "approved"
    client = service.new_client(scopes=("flows:write",))
    bearer = service.access(client)
    body = {"identifiers": {"username": "new"}}
    assert service.call("POST", "/v1/subjects", body, bearer=bearer, **KEY).status_code == 403
    with service.container.store.transaction() as tx:
        service.container.clients.approve_scopes(
            tx, client[0], {"scopes": "subjects:write"}, "test"
        )
    bearer = service.access(client)
    assert service.call("POST", "/v1/subjects", body, bearer=bearer, **KEY).status_code == 201


def test_the_guard_comes_before_a_kept_answer(service, officers):
    """Whoever lost a role, a scope or a session gets no answer of the time before."""
    ada, grace = officers
    subject = UUID(who(service, ada))
    number = ask(service, grace, "keys.destroy", "kek behavior 9").json["id"]
    decide = f"/v1/approvals/{number}/approve"
    assert request(service, ada).status_code == 201
    assert service.call("POST", decide, {}, bearer=ada, **KEY).status_code == 200
    do(service, "break_glass.grant", subject, Role.AUDITOR)
    do(service, "roles.revoke", subject, "security_officer", "break_glass")
    for path, body in (("/v1/approvals", ASKED), (decide, {})):
        late = service.call("POST", path, body, bearer=ada, **KEY)
        assert (late.status_code, late.json["code"]) == (403, "insufficient_scope"), path
    do(service, "roles.revoke", subject, "auditor", "break_glass")
    assert request(service, ada).status_code == 401


def test_keys_of_an_officer_are_kept_apart_by_route_and_replayed_after_a_refresh(service, officers):
    """A new token of the same person gets the first answer; the key at another route is free."""
    ada, _ = officers
    draft = {"tier": "kek", "class": "transaction"}
    first = service.call("POST", "/v1/keys/generate", draft, bearer=ada, **KEY)
    assert first.json == {"keys": ["kek transaction 2"]}
    again = service.call("POST", "/v1/keys/generate", draft, bearer=ada, **KEY)
    assert (again.json, again.headers["Idempotent-Replayed"]) == (first.json, "true")
    assert service.call("POST", "/v1/keys/verify", {}, bearer=ada, **KEY).status_code == 202
