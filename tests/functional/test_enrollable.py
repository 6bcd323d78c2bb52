"""A completed login tells a first-party client what may be enrolled."""

from tests.functional.conftest import PASSWORD
from tests.functional.policing import changed, in_force


def signed_in(service, name, bearer=None):
    """Sign in with a password, and a code where one is asked for; return the answer."""
    flow = service.begin(name).json
    return service.act(flow, "password", {"password": PASSWORD})


def aal1(service):
    """Let a password be enough."""
    rule = {"acr": "urn:lamina:acr:aal1", "layers": [["password"]]}
    in_force(service, changed(login=rule))


def test_what_is_lacking_is_told_with_the_completion(service):
    """Types that policy accepts and this deployment can check, and none that is there already."""
    service.register()
    done = service.login(service.register("bob"))
    assert done["enrollable"] == ["totp"]
    aal1(service)
    body = {"identifiers": {"username": "carol"}, "password": PASSWORD}
    carol = service.call("POST", "/v1/subjects", body).json["id"]
    assert signed_in(service, "carol").json["enrollable"] == ["totp", "recovery_codes"]
    path = f"/v1/subjects/{carol}/authenticators"
    grantless = service.call("POST", path, {"type": "recovery_codes"})
    assert grantless.status_code == 403
    in_force(
        service,
        changed(
            factors=["password", "recovery_code"],
            login={"acr": "urn:lamina:acr:aal1", "layers": [["password"]]},
            recovery={"acr": "urn:lamina:acr:aal1", "layers": [["recovery_code"]]},
        ),
    )
    assert signed_in(service, "carol").json["enrollable"] == ["recovery_codes"]


def test_it_is_told_at_completion_to_first_party_clients_only(service):
    """A pending flow, a step-up and a client of somebody else show nothing of it."""
    person = service.register()
    flow = service.begin().json
    first = service.act(flow, "password", {"password": PASSWORD}).json
    done = service.act(flow, "totp", {"code": service.code(person)}).json
    assert "enrollable" not in flow | first
    assert "enrollable" in done
    access = service.exchange(done["completion_code"]).json["access_token"]
    assert "enrollable" not in service.begin(None, "step_up", access_token=access).json
    service.clock.advance(seconds=31)
    service.bearer = service.access(service.new_client(name="other", first_party=False))
    assert "enrollable" not in service.login(person)
