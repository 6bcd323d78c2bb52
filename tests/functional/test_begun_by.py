"""What one client began, no other client of the same people confirms, sees or collects."""

from uuid import UUID

import pytest

from service.authenticators.store.authenticators import AuthenticatorRow
from tests.functional.conftest import CONSENT


@pytest.fixture
def stranger(service):
    """The token of another client that serves the same segment with every scope."""
    return service.access(service.new_client())


def test_only_who_began_an_enrollment_confirms_it(service, stranger):
    """For another client the pending authenticator is not there, with the right code in hand."""
    body = {"identifiers": {"username": "alice"}, "password": "a long enough pass phrase"}
    person = service.call("POST", "/v1/subjects", body).json["id"]
    added = service.call("POST", f"/v1/subjects/{person}/authenticators", {"type": "totp"}).json
    import pyotp

    code = pyotp.TOTP(added["secret"]).at(int(service.clock.now().timestamp()))
    path = f"/v1/subjects/{person}/authenticators/{added['id']}/confirm"
    theirs = service.call("POST", path, {"code": code}, bearer=stranger)
    assert (theirs.status_code, theirs.json["code"]) == (404, "authenticator_not_found")
    wrong = [service.call("POST", path, {"code": "000000"}, bearer=stranger) for _ in range(6)]
    assert {answer.status_code for answer in wrong} == {404}
    mine = service.call("POST", path, {"code": code})
    assert (mine.status_code, mine.json["status"]) == (200, "active")


def test_an_enrollment_from_before_is_begun_anew(service):
    """One that no client is known to have begun is confirmed by none."""
    person = service.register()
    added = service.enroll(person, "totp").json
    with service.container.store.transaction() as tx:
        tx.get(AuthenticatorRow, UUID(added["id"])).begun_by = None
    path = f"/v1/subjects/{person.id}/authenticators/{added['id']}/confirm"
    assert service.call("POST", path, {"code": "000000"}).status_code == 404


def test_nothing_else_that_a_client_began_is_another_clients(service, stranger):
    """Flows, grants, exports and jobs of one client are not there for another."""
    person = service.register(consents=[CONSENT | {"purpose": "behavior"}])
    flow = service.begin(person.name).json
    headers = {"Flow_Token": flow["flow_token"], "bearer": stranger}
    for method, path in (
        ("GET", f"/v1/flows/{flow['id']}"),
        ("DELETE", f"/v1/flows/{flow['id']}"),
        ("POST", f"/v1/flows/{flow['id']}/actions/password"),
    ):
        body = {"password": "a long enough pass phrase"} if method == "POST" else None
        assert service.call(method, path, body, **headers).status_code == 404
    tokens = service.exchange(service.login(person)["completion_code"]).json
    wanted = {"access_token": tokens["access_token"], "act": "export:data"}
    grant = service.begin(None, "enrollment", **wanted).json["grant"]
    path = f"/v1/subjects/{person.id}/export"
    theirs = service.call("POST", path, Grant=grant, bearer=stranger)
    assert (theirs.status_code, theirs.json["code"]) == (403, "grant_invalid")
    mine = service.call("POST", path, Grant=grant)
    job = mine.headers["Location"]
    assert service.call("GET", job, bearer=stranger).status_code == 404
    service.container.key_admin.jobs.run_queued()
    result = service.call("GET", job).json["report"]["result"]
    assert service.call("GET", result, bearer=stranger).status_code == 404
    assert service.call("GET", result).status_code == 200
