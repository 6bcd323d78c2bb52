"""A deferred flow goes on to the last factor and answers once: what failed is not told."""

import json

import pytest

from tests.functional.conftest import PASSWORD
from tests.functional.policing import SHIPPED, Feeling, changed, feel, in_force
from tests.functional.test_login_flow import shape

WRONG = "not the right pass phrase"


@pytest.fixture
def deferred(service):
    """The service under PSD2."""
    in_force(service, changed(regime="psd2"))
    return service


def tried(service, name, password, code):
    """Show a password and a code; return both answers."""
    flow = service.begin(name).json
    first = service.act(flow, "password", {"password": password})
    second = service.act(flow, "totp", {"code": code})
    return first, second


def test_which_element_failed_is_not_told(deferred):
    """A wrong password, a wrong code, both, and a stranger get the same two answers."""
    person = deferred.register()
    answers = []
    for name, password, right in (
        ("alice", WRONG, True),
        ("alice", PASSWORD, False),
        ("nobody", WRONG, False),
        ("nobody", PASSWORD, False),
    ):
        code = deferred.code(person) if right else "000000"
        first, second = tried(deferred, name, password, code)
        assert (first.status_code, second.status_code) == (200, 422)
        assert first.json["attempts_left"] == second.json["flow"]["attempts_left"] == 9
        assert first.json["assurance"]["achieved"]["acr"] is None
        assert "risk" not in first.json
        assert list(second.json["flow"]["actions"]) == ["password"]
        answers.append((shape(first.json), shape(second.json)))
        deferred.clock.advance(seconds=60)
        deferred.bearer = deferred.access()
    assert answers.count(answers[0]) == len(answers)


def test_the_right_elements_sign_in(deferred):
    """After the last one the answer is the completed flow, and the counters are clear."""
    person = deferred.register()
    first, second = tried(deferred, "alice", PASSWORD, deferred.code(person))
    assert list(first.json["actions"]) == ["totp", "recovery_code", "back"]
    assert second.json["status"] == "completed"
    assert second.json["assurance"]["achieved"]["aal"] == 2
    assert second.json["attempts_left"] == 10


def test_a_flow_begins_anew_after_its_verdict(deferred):
    """A round that failed costs one attempt; the next one may sign in."""
    person = deferred.register()
    flow = deferred.begin().json
    deferred.act(flow, "password", {"password": WRONG})
    failed = deferred.act(flow, "totp", {"code": deferred.code(person)})
    assert failed.json["code"] == "verification_failed"
    deferred.act(flow, "password", {"password": PASSWORD})
    done = deferred.act(flow, "totp", {"code": deferred.code(person)}).json
    assert (done["status"], done["attempts_left"]) == ("completed", 9)


def test_attempts_count_whatever_they_were_worth(deferred):
    """Five rounds fill the counter of both elements, for a right password as for a wrong one."""
    deferred.register()
    for password in (WRONG, PASSWORD, PASSWORD, WRONG, PASSWORD):
        tried(deferred, "alice", password, "000000")
    first, _ = tried(deferred, "alice", PASSWORD, "000000")
    assert first.status_code == 429


def test_back_gives_up_the_last_try(deferred):
    """The password is asked again, whether or not the first one was right."""
    person = deferred.register()
    for password in (WRONG, PASSWORD):
        flow = deferred.begin().json
        deferred.act(flow, "password", {"password": password})
        back = deferred.act(flow, "back", {}).json
        assert list(back["actions"]) == ["password"]
        deferred.act(flow, "password", {"password": PASSWORD})
        assert deferred.act(flow, "totp", {"code": deferred.code(person)}).status_code == 200
        deferred.clock.advance(seconds=60)
        deferred.bearer = deferred.access()


def test_risk_asks_for_more_after_the_verdict(deferred):
    """What depends on the person is told once everything that was asked has verified."""
    person = deferred.register()
    feel(deferred, Feeling(-5.0))
    flow = deferred.begin().json
    first = deferred.act(flow, "password", {"password": PASSWORD}).json
    assert "risk" not in first
    more = deferred.act(flow, "totp", {"code": deferred.code(person)}).json
    assert (more["status"], more["risk"]["band"]) == ("pending", "high")
    wrong = deferred.act(flow, "recovery_code", {"code": "AAAAA-AAAAA-AAAAA"})
    assert wrong.status_code == 422
    done = deferred.act(flow, "recovery_code", {"code": person.codes[0]}).json
    assert done["status"] == "completed"


def test_a_step_up_is_deferred_too(deferred):
    """From the session's evidence: nothing to show is done at once, a wrong one ends later."""
    person = deferred.register()
    done = tried(deferred, "alice", PASSWORD, deferred.code(person))[1].json
    tokens = deferred.exchange(done["completion_code"]).json
    again = deferred.begin(None, "step_up", access_token=tokens["access_token"]).json
    assert again["status"] == "completed"
    tokens = deferred.exchange(again["completion_code"]).json
    deferred.clock.advance(seconds=90)
    deferred.bearer = deferred.access()
    flow = deferred.begin(None, "step_up", access_token=tokens["access_token"], max_age=60).json
    wrong = deferred.act(flow, "password", {"password": WRONG})
    assert (wrong.status_code, list(wrong.json["actions"])) == (
        200,
        ["totp", "recovery_code", "back"],
    )
    verdict = deferred.act(flow, "totp", {"code": deferred.code(person)})
    assert verdict.json["code"] == "verification_failed"


def test_the_strictest_segment_of_a_client_decides(service):
    """A client that serves one PSD2 segment among others defers for all, and fills one bucket."""
    document = json.loads(json.dumps(SHIPPED))
    document["segments"]["bank"] = {"extends": "default", "regime": "psd2"}
    in_force(service, document)
    assert service.container.policies.ways(["default"]) == (False, False)
    assert service.container.policies.ways(["default", "bank"]) == (True, True)
    client = service.new_client(segments=("default", "bank"))
    person = service.register()
    device = service.login(person)["device_token"]
    for _ in range(5):
        service.act(service.begin().json, "password", {"password": WRONG})
    known = service.begin(context={"device_token": device}).json
    assert service.act(known, "password", {"password": PASSWORD}).status_code == 200
    service.bearer = service.access(client)
    flow = service.begin(context={"device_token": device}).json
    assert service.act(flow, "password", {"password": PASSWORD}).status_code == 429
