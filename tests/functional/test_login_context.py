"""Where from and with what: over HTTP, it raises what is asked and never lowers it."""

import pytest

from tests.functional.conftest import PASSWORD

HOME = {
    "ip": "192.0.2.7",
    "accept_language": "de-DE",
    "user_agent": "Mozilla/5.0 (Windows NT 10.0) Chrome/140.0 Safari/537.36",
}
AWAY = {"ip": "203.0.113.9", "user_agent": "curl/8.0", "accept_language": "xx"}
WRONG = "not the right pass phrase"


@pytest.fixture
def asserting(service):
    """A client whose context counts as evidence, used for every call."""
    service.client_id, service.secret = service.new_client(asserts_context=True)
    service.bearer = service.access()
    return service


def sign_in(service, person, context):
    """Sign in through whatever is asked; return the flow that completed."""
    flow = service.begin(person.name, context=context).json
    answer = service.act(flow, "password", {"password": PASSWORD}).json
    answer = service.act(flow, "totp", {"code": service.code(person)}).json
    while answer.get("status") == "pending":
        body = {"code": person.codes.pop()}
        answer = service.act(flow, "recovery_code", body).json
    assert answer["status"] == "completed", answer
    return answer


def settle(service, person, days=6):
    """Sign in at home for some days with the token of the day before; return the last token."""
    token = ""
    for _ in range(days):
        context = HOME | ({"device_token": token} if token else {})
        token = sign_in(service, person, context)["device_token"]
        service.clock.advance(days=1)
        service.bearer = service.access()
    return token


def asked(service, person, context):
    """Return what a flow says after the password was right, without finishing it."""
    flow = service.begin(person.name, context=context).json
    return service.act(flow, "password", {"password": PASSWORD}).json | {
        "flow_token": flow["flow_token"]
    }


def steps(service, person, context):
    """Return how many factors it took to complete."""
    flow = sign_in(service, person, context)
    assert flow["status"] == "completed"
    return len(flow["assurance"]["achieved"]["amr"])


def test_a_new_network_and_device_raise_the_band_and_what_is_asked(asserting):
    """At home the band is low and two factors do; from elsewhere a third one is asked."""
    person = asserting.register()
    token = settle(asserting, person)
    usual = asked(asserting, person, HOME | {"device_token": token})
    assert usual["risk"]["band"] == "low"
    strange = asked(asserting, person, AWAY)
    assert strange["risk"]["band"] == "high"
    named = {reason["code"]: reason for reason in strange["risk"]["reasons"]}
    assert {"network_new", "agent_new", "device_unknown"} <= set(named)
    assert named["network_new"]["contribution"] < 0
    assert named["network_new"]["detail"]

    # High risk asks for face or a recovery code as well; a second code would not do.
    asserting.clock.advance(seconds=31)
    second = asserting.act(strange, "totp", {"code": asserting.code(person)}).json
    assert (second["status"], list(second["actions"])) == ("pending", ["recovery_code", "back"])
    done = asserting.act(strange, "recovery_code", {"code": person.codes.pop()}).json
    assert done["status"] == "completed"


def test_what_is_withheld_is_no_better_than_what_is_unknown(asserting):
    """Leaving the context out, or sending nonsense, asks for at least as much."""
    person = asserting.register()
    settle(asserting, person)
    strange = asked(asserting, person, AWAY)["risk"]["band"]
    for context in ({}, {"ip": "unknown"}, AWAY | {"ip": "10.0.0.1, 10.0.0.2"}):
        found = asked(asserting, person, context)
        assert (found["risk"]["band"], found["status"]) == (strange, "pending")


@pytest.mark.parametrize("ip", ["unknown", "", "1.2.3.4, 5.6.7.8", "::ffff:1", "%00", "[::"])
def test_an_unparsable_address_never_skips_a_step(asserting, ip):
    """The password and the second factor are asked all the same, and a wrong one is refused."""
    person = asserting.register()
    flow = asserting.begin(person.name, context=HOME | {"ip": ip}).json
    assert "totp" not in flow["actions"]
    assert asserting.act(flow, "password", {"password": WRONG}).status_code == 422
    answer = asserting.act(flow, "password", {"password": PASSWORD}).json
    assert answer["status"] == "pending"
    assert "totp" in answer["actions"]


def test_the_context_of_another_client_is_not_believed(service):
    """A client that is not registered for it cannot vouch for a person, nor teach a history."""
    person = service.register()
    settle(service, person, 3)
    codes = {reason["code"] for reason in asked(service, person, HOME)["risk"]["reasons"]}
    assert "network_not_offered" in codes
    assert "network_known" not in codes


def test_nothing_is_learned_below_aal2(asserting):
    """A flow that failed or was left after the password teaches nothing."""
    person = asserting.register()
    for _ in range(3):
        asked(asserting, person, AWAY)
    codes = {reason["code"] for reason in asked(asserting, person, HOME)["risk"]["reasons"]}
    assert "no_history" in codes


def test_failures_never_lower_what_is_asked(asserting):
    """Each wrong password in the hour leaves the sum at most where it was."""
    person = asserting.register()
    settle(asserting, person)
    sums = []
    for _ in range(4):
        found = asked(asserting, person, HOME)
        sums.append(sum(reason["contribution"] for reason in found["risk"]["reasons"]))
        flow = asserting.begin(person.name, context=AWAY).json
        asserting.act(flow, "password", {"password": WRONG})
    assert sums == sorted(sums, reverse=True)
    assert sums[-1] < sums[0]


def test_erasing_the_class_forgets_the_history(asserting):
    """Withdrawn consent shreds the key; the next login starts from nothing and is learned anew."""
    person = asserting.register()
    settle(asserting, person, 3)
    from uuid import UUID

    asserting.container.erasure.erase(UUID(person.id), "test", "behavior")
    codes = {reason["code"] for reason in asked(asserting, person, HOME)["risk"]["reasons"]}
    assert "no_history" in codes
    asserting.clock.advance(days=1)
    asserting.bearer = asserting.access()
    settle(asserting, person, 1)
    codes = {reason["code"] for reason in asked(asserting, person, HOME)["risk"]["reasons"]}
    assert "network_known" in codes
