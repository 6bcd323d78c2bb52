"""A young authenticator signs in, but neither clears risk nor lifts a suspension."""

from uuid import UUID

import pytest

from tests.functional.conftest import PASSWORD
from tests.functional.policing import Feeling, changed, feel, in_force


def later(service, **amount):
    service.clock.advance(**amount)
    service.bearer = service.access()


def standing(service, person):
    with service.container.store.transaction() as tx:
        return service.container.standing.of(tx, UUID(person.id))


def risky_then_strong(service, person):
    """Have risk held against a person who then signs in with all they have."""
    feel(service, Feeling(-5.0))
    flow = service.begin().json
    service.act(flow, "password", {"password": PASSWORD})
    feel(service)
    flow = service.begin().json
    service.act(flow, "password", {"password": PASSWORD})
    service.act(flow, "totp", {"code": service.code(person)})
    done = service.act(flow, "recovery_code", {"code": person.codes.pop()}).json
    assert done["status"] == "completed", done


@pytest.mark.parametrize(("hours", "left"), [(71, -5.0), (72, 0.0)])
def test_risk_stays_until_the_authenticators_are_old_enough(service, person, hours, left):
    """Password and code of three days clear what is held; an hour younger they do not."""
    later(service, hours=hours)
    risky_then_strong(service, person)
    assert standing(service, person) == left


def test_a_young_authenticator_beside_an_old_one_is_not_enough(service, person):
    """A code generator that was enrolled lately does not count beside an old password."""
    later(service, hours=72)
    in_force(service, changed(**{"raise": {}}))
    tokens = service.exchange(service.login(person)["completion_code"]).json
    wanted = {"access_token": tokens["access_token"], "act": "enroll:totp"}
    grant = service.begin(None, "enrollment", **wanted).json["grant"]
    service.enroll_totp(person, grant=grant)
    later(service, seconds=31)
    feel(service, Feeling(-5.0))
    flow = service.begin().json
    service.act(flow, "password", {"password": PASSWORD})
    feel(service)
    service.login(person)
    assert standing(service, person) == -5.0
    later(service, hours=72)
    service.login(person)
    assert standing(service, person) == 0.0


@pytest.mark.parametrize("spelling", ["cooldown_hours", "young_hours"])
def test_the_policy_says_how_old(service, person, spelling):
    """With no age asked for, under either name of it, fresh authenticators clear it."""
    in_force(service, changed(**{spelling: 0}))
    listed = service.call("GET", "/v1/policies").json["items"]
    (version,) = [item["version"] for item in listed if item["status"] == "active"]
    shown = service.call("GET", f"/v1/policies/{version}").json["document"]["segments"]["default"]
    names = {"cooldown_hours", "young_hours"}
    assert {name: shown[name] for name in names & shown.keys()} == {spelling: 0}
    risky_then_strong(service, person)
    assert standing(service, person) == 0.0


def lifting(service, person):
    """Begin the flow that gives a grant for lifting a suspension."""
    tokens = service.exchange(service.login(person)["completion_code"]).json
    wanted = {"access_token": tokens["access_token"], "act": "lift:suspension"}
    return service.begin(None, "enrollment", **wanted)


def test_young_authenticators_give_no_grant_to_lift_a_suspension(service, person):
    """The flow ends without a grant; three days later the same gives one, good once."""
    path = f"/v1/subjects/{person.id}/suspensions"
    body = {"capability": "payment", "reason": "odd"}
    assert service.call("POST", path, body).status_code == 201
    refused = lifting(service, person)
    assert (refused.status_code, refused.json["code"]) == (403, "young_authenticator")
    assert "grant" not in refused.json["flow"]
    later(service, hours=72)
    given = lifting(service, person).json
    assert given["status"] == "completed"
    gone = service.call("DELETE", f"{path}/payment", Grant=given["grant"])
    assert gone.status_code == 204, gone.json
    assert service.call("GET", path).json["items"] == []
    assert service.call("POST", path, body).status_code == 201
    again = service.call("DELETE", f"{path}/payment", Grant=given["grant"])
    assert (again.status_code, again.json["code"]) == (403, "grant_invalid")
    assert len(service.call("GET", path).json["items"]) == 1


def test_a_client_lifts_on_its_own_authority(service, person):
    """Without a grant the scope is enough, as for whoever suspended."""
    path = f"/v1/subjects/{person.id}/suspensions"
    service.call("POST", path, {"capability": "payment", "reason": "odd"})
    assert service.call("DELETE", f"{path}/payment").status_code == 204


def test_a_grant_for_another_act_lifts_nothing(service, person):
    """Neither one for an enrollment nor any invented one is taken."""
    path = f"/v1/subjects/{person.id}/suspensions"
    service.call("POST", path, {"capability": "payment", "reason": "odd"})
    tokens = service.exchange(service.login(person)["completion_code"]).json
    wanted = {"access_token": tokens["access_token"], "act": "enroll:totp"}
    grant = service.begin(None, "enrollment", **wanted).json["grant"]
    for bad in (grant, "lgrant_invented"):
        refused = service.call("DELETE", f"{path}/payment", Grant=bad)
        assert (refused.status_code, refused.json["code"]) == (403, "grant_invalid")
