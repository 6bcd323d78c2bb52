"""Clients over HTTP: secrets and keys change as two operators agree, with an overlap."""

import pytest

from crypto.signing import SigningKey, sign_jwt
from tests.functional.test_client_assertions import ask as assert_as
from tests.functional.test_client_assertions import claims
from tests.functional.test_operators import approved


@pytest.fixture
def other(service):
    """Another client, with its secret."""
    return service.new_client()


def test_a_secret_is_replaced_by_two_with_an_overlap(service, officers, other):
    """Without an approval the answer says what to ask for; the old secret counts as said."""
    ada, grace = officers
    path = f"/v1/clients/{other[0]}/secret"
    needed = service.call("POST", path, {"overlap": 3600}, bearer=ada)
    assert (needed.status_code, needed.json["code"]) == (403, "approval_required")
    needed = needed.json
    number = approved(service, officers, needed["act"], needed["target"], **needed["params"]).json[
        "id"
    ]
    body = {"overlap": 3600, "approval": number}
    done = service.call("POST", path, body, bearer=grace)
    assert done.status_code == 200, done.json
    assert done.json["old_secret_until"]
    for secret in (other[1], done.json["client_secret"]):
        assert service.access((other[0], secret))
    assert service.call("POST", path, body, bearer=grace).json["code"] == "approval_decided"
    listed = service.call("GET", "/v1/clients", bearer=ada).json["items"]
    assert {row["client_id"]: bool(row["old_secret_until"]) for row in listed} == {
        service.client_id: False,
        other[0]: True,
    }
    assert "client_secret" not in str(listed)
    assert service.call("DELETE", f"/v1/clients/{other[0]}", bearer=ada).status_code == 204
    for secret in (other[1], done.json["client_secret"]):
        answer = service.oauth("token", (other[0], secret), grant_type="client_credentials")
        assert answer.status_code == 401


def test_keys_are_replaced_by_exactly_those_that_were_approved(service, officers, other):
    """Another set is a mismatch; a private one is refused and told by its place."""
    ada, grace = officers
    old, new = SigningKey.generate(), SigningKey.generate()
    path = f"/v1/clients/{other[0]}/jwks"

    def put(key, overlap=0, bearer=ada):
        body = {"jwks": {"keys": [key.public_jwk()]}, "overlap": overlap}
        needed = service.call("POST", path, body, bearer=bearer).json
        number = approved(
            service, officers, needed["act"], needed["target"], **needed["params"]
        ).json["id"]
        return number, service.call("POST", path, body | {"approval": number}, bearer=grace)

    assert put(old)[1].json["keys"] == 1
    number, done = put(new, 60)
    assert done.json["old_jwks_until"]
    for key in (old, new):
        token = sign_jwt(key, claims(service, other[0]), "JWT")
        assert assert_as(service, token).status_code == 200
    service.clock.advance(seconds=60)
    token = sign_jwt(old, claims(service, other[0]), "JWT")
    assert assert_as(service, token).status_code == 401
    mine = {"jwks": {"keys": [SigningKey.generate().public_jwk()]}, "approval": number}
    assert service.call("POST", path, mine, bearer=ada).json["code"] == "approval_mismatch"
    private = SigningKey.generate().jwk.as_dict(private=True)
    refused = service.call("POST", path, {"jwks": {"keys": [private]}}, bearer=ada)
    (fault,) = refused.json["errors"]
    assert (refused.status_code, fault["pointer"], fault["code"]) == (
        422,
        "/jwks/keys/0",
        "private_key",
    )
    assert private["d"] not in refused.get_data(as_text=True)


def test_only_operators_touch_clients(service, other):
    """A client, with every scope there is, lists and changes none."""
    for method, path in (
        ("GET", "/v1/clients"),
        ("POST", f"/v1/clients/{other[0]}/secret"),
        ("POST", f"/v1/clients/{other[0]}/jwks"),
        ("DELETE", f"/v1/clients/{other[0]}"),
    ):
        assert service.call(method, path, {}).json["code"] == "insufficient_scope"


def test_there_is_nothing_to_change_at_an_unknown_client(service, officers):
    """404, and 422 for an overlap that is too long."""
    ada, _ = officers
    assert service.call("DELETE", "/v1/clients/x", bearer=ada).status_code == 404
    nobody = "00000000-0000-0000-0000-000000000007"
    assert service.call("DELETE", f"/v1/clients/{nobody}", bearer=ada).status_code == 404
    long = service.call(
        "POST", f"/v1/clients/{nobody}/secret", {"overlap": 31 * 86_400}, bearer=ada
    )
    assert (long.status_code, long.json["errors"][0]["pointer"]) == (422, "/overlap")
