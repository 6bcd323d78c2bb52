"""What waits for confirmation ends with what let somebody begin it: a thief keeps nothing."""

import pyotp
import pytest

from tests.functional.evidence import enrollment, later, signed_in

NEW = "a wholly new pass phrase"


def begun(service, person, tokens):
    """Begin a TOTP in a session."""
    grant = enrollment(service, tokens, "enroll:totp").json["grant"]
    return service.enroll(person, "totp", grant=grant).json


def confirmed(service, person, waiting):
    """Confirm what waits with the right code; return the status and the problem's code."""
    code = pyotp.TOTP(waiting["secret"]).at(int(service.clock.now().timestamp()))
    path = f"/v1/subjects/{person.id}/authenticators/{waiting['id']}/confirm"
    answer = service.call("POST", path, {"code": code})
    return answer.status_code, answer.json.get("code") or answer.json["status"]


def own_code_works(service, person, password):
    """Tell whether the authenticator app of before is still the one that is asked for."""
    later(service, seconds=31)
    flow = service.begin(person.name).json
    service.act(flow, "password", {"password": password})
    return service.act(flow, "totp", {"code": service.code(person)}).status_code == 200


def another_session_sets_a_password(service, person):
    """The owner sets a new password in a session of their own."""
    mine = signed_in(service, person)
    grant = enrollment(service, mine, "enroll:password").json["grant"]
    assert service.enroll(person, "password", password=NEW, grant=grant).status_code == 201


def another_session_revokes_the_totp(service, person):
    """The owner ends their TOTP in a session of their own."""
    mine = signed_in(service, person)
    grant = enrollment(service, mine, "revoke:authenticator").json["grant"]
    path = f"/v1/subjects/{person.id}/authenticators"
    active = [
        item["id"]
        for item in service.call("GET", path).json["items"]
        if (item["type"], item["status"]) == ("totp", "active")
    ]
    assert service.call("DELETE", f"{path}/{active[0]}", Grant=grant).status_code == 204


def every_session_ends(service, person):
    """The owner signs out everywhere."""
    assert service.call("DELETE", f"/v1/subjects/{person.id}/sessions").status_code == 204


def the_login_is_suspended(service, person):
    """Somebody suspends the login."""
    body = {"capability": "login", "reason": "fraud"}
    path = f"/v1/subjects/{person.id}/suspensions"
    assert service.call("POST", path, body).status_code == 201


@pytest.mark.parametrize(
    "happens",
    [
        another_session_sets_a_password,
        another_session_revokes_the_totp,
        every_session_ends,
        the_login_is_suspended,
    ],
)
def test_what_a_stolen_session_began_is_confirmed_no_more(service, person, happens):
    """A right code confirms nothing once the owner changed something or ended the session."""
    stolen = signed_in(service, person)
    waiting = begun(service, person, stolen)
    happens(service, person)
    assert confirmed(service, person, waiting) == (409, "not_pending")


def test_a_thief_has_nothing_left_after_a_recovery(service, person):
    """The owner recovers; the code that they have is still the one that is asked for."""
    waiting = begun(service, person, signed_in(service, person))
    later(service, minutes=6)
    flow = service.begin(person.name, "recovery").json
    used = service.act(flow, "recovery_code", {"code": person.codes[0]}).json
    if "grant" not in used:
        used = service.act(flow, "totp", {"code": service.code(person)}).json
    changed = service.enroll(person, "password", password=NEW, grant=used["grant"])
    assert changed.status_code == 201
    assert confirmed(service, person, waiting) == (409, "not_pending")
    assert own_code_works(service, person, NEW)


def test_what_the_registering_client_began_ends_with_the_first_login(service, person):
    """The short right of the client is over then, and so is what it was used for."""
    waiting = service.enroll(person, "totp").json
    service.exchange(service.login(person)["completion_code"])
    assert confirmed(service, person, waiting) == (409, "not_pending")


def test_the_session_that_acts_goes_on_with_what_it_began(service, person):
    """Its own change of the password ends nothing that it began, nor does a step-up."""
    mine = signed_in(service, person)
    waiting = begun(service, person, mine)
    grant = enrollment(service, mine, "enroll:password").json["grant"]
    assert service.enroll(person, "password", password=NEW, grant=grant).status_code == 201
    assert confirmed(service, person, waiting) == (200, "active")


def test_two_things_that_were_begun_while_registering_are_both_confirmed(service, person):
    """Before the first login one confirmation ends nothing else that waits."""
    first, second = (service.enroll(person, "totp").json for _ in range(2))
    assert confirmed(service, person, first) == (200, "active")
    later(service, seconds=31)
    assert confirmed(service, person, second) == (200, "active")
