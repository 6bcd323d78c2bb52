"""A right code that was used is told to who is signed in, and to nobody else."""

import pytest

from tests.functional.conftest import PASSWORD
from tests.functional.policing import changed, in_force


def signed_in(service, person):
    """Sign in, 25 s before the next code; return the access token 21 s later."""
    tokens = service.exchange(service.login(person)["completion_code"]).json
    service.clock.advance(seconds=21)
    return tokens["access_token"]


def at_totp(service, kind, **more):
    """Begin a flow in which nothing but the code is left, by a session or anew."""
    flow = service.begin(None if "access_token" in more else "alice", kind, **more).json
    if "password" in flow["actions"]:
        flow |= service.act(flow, "password", {"password": PASSWORD}).json
    return flow


def refused(service, flow, code):
    """Show a code that does not verify; return what is told beside the flow and the trace."""
    answer = service.act(flow, "totp", {"code": code})
    assert (answer.status_code, answer.json["code"]) == (422, "verification_failed")
    return {name: answer.json[name] for name in ("code_used", "next_in") if name in answer.json}


@pytest.mark.parametrize(
    "more", [{"kind": "step_up"}, {"kind": "enrollment", "act": "enroll:totp"}]
)
def test_who_steps_up_at_once_is_told_when_the_next_code_comes(service, person, more):
    """A step-up and an enrollment tell it of a right code only; the next one signs in."""
    access = signed_in(service, person)
    flow = at_totp(service, access_token=access, max_age=20, **more)
    assert refused(service, flow, service.code(person)) == {"code_used": True, "next_in": 4}
    assert refused(service, flow, service.code(person, -1)) == {"code_used": True, "next_in": 4}
    assert refused(service, flow, "000000") == {}
    service.clock.advance(seconds=3)
    assert refused(service, flow, service.code(person)) == {"code_used": True, "next_in": 1}
    service.clock.advance(seconds=1)
    assert service.act(flow, "totp", {"code": service.code(person)}).status_code == 200


def test_who_types_the_code_of_before_is_told_that_another_is_shown(service, person):
    """None is to be waited for where the generator shows a fresh one already."""
    access = signed_in(service, person)
    used = service.code(person)
    service.clock.advance(seconds=5)
    flow = at_totp(service, "step_up", access_token=access, max_age=20)
    assert refused(service, flow, used) == {"code_used": True, "next_in": 0}
    assert service.act(flow, "totp", {"code": service.code(person)}).status_code == 200


@pytest.mark.parametrize("kind", ["login", "recovery"])
def test_before_anybody_is_signed_in_nothing_is_told(service, person, kind):
    """Whoever replays a code that they saw learns no more than from a wrong one."""
    service.login(person)
    answers = []
    for code in (service.code(person), "000000"):
        if kind == "login":
            flow = at_totp(service, kind)
        else:
            flow = service.begin("alice", kind).json
            service.act(flow, "recovery_code", {"code": person.codes.pop()})
        answer = service.act(flow, "totp", {"code": code}).json
        answers.append((set(answer), set(answer["flow"])))
        assert refused(service, flow, code) == {}
    assert answers[0] == answers[1]


def test_a_deferred_step_up_tells_nothing(service, person):
    """There a round is right or wrong as a whole, also after it was told once."""
    in_force(service, changed(regime="psd2"))
    service.clock.advance(seconds=25)
    access = signed_in(service, person)
    flow = at_totp(service, "step_up", access_token=access, max_age=20)
    assert refused(service, flow, service.code(person)) == {}


def test_a_code_that_was_used_is_a_failed_attempt_all_the_same(service, person):
    """Nobody may ask about codes more often than guess them."""
    access = signed_in(service, person)
    flow = at_totp(service, "step_up", access_token=access, max_age=20)
    for _ in range(5):
        assert refused(service, flow, service.code(person))["code_used"] is True
    answer = service.act(flow, "totp", {"code": service.code(person)})
    assert (answer.status_code, answer.json["code"]) == (429, "too_many_attempts")
