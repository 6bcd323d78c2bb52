"""What a policy makes of risk: tightened, held against a subject, of signals that fail."""

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from tests.functional.conftest import PASSWORD
from tests.functional.policing import (
    WRONG,
    Feeling,
    act,
    agreed,
    changed,
    feel,
    in_force,
)


def test_the_live_parameter_is_tightened_by_one_and_loosened_by_two(service, officers):
    """It ramps, holds, expires; anything looser than what stands needs another operator."""
    ada, _ = officers
    path = "/v1/risk-parameters"
    up = service.call("PATCH", path, {"tighten": 1.0, "ramp": 100, "expires_in": 1000}, bearer=ada)
    assert (up.status_code, up.json["tighten"]["value"]) == (200, 0.0), up.json
    service.clock.advance(seconds=50)
    assert service.call("GET", path, bearer=ada).json["tighten"]["value"] == 0.5
    looser = {"tighten": -0.5, "ramp": 1, "expires_in": 100}
    refused = service.call("PATCH", path, looser, bearer=ada)
    assert (refused.status_code, refused.json["code"]) == (403, "approval_required")
    assert refused.json["target"] == "tighten -0.50"
    body = looser | {
        "approval": agreed(service, officers, refused.json["target"], **refused.json["params"])
    }
    assert service.call("PATCH", path, body, bearer=ada).status_code == 200
    service.clock.advance(seconds=10)
    assert service.call("GET", path, bearer=ada).json["tighten"]["value"] == -0.5
    service.clock.advance(seconds=200)
    assert service.call("GET", path, bearer=ada).json["tighten"]["value"] == 0.0
    bad = service.call("PATCH", path, {"tighten": 3}, bearer=ada)
    assert bad.json["errors"][0]["pointer"] == "/tighten"


def test_what_one_tightened_one_may_undo(service, officers):
    """Down to what two agreed on, and no further; an automatic change takes two to end."""
    ada, grace = officers
    path = "/v1/risk-parameters"

    course = {"ramp": "1", "expires_in": "1000"}

    def moved(value, bearer=ada, **more):
        body = {"tighten": value, "ramp": 1, "expires_in": 1000} | more
        answer = service.call("PATCH", path, body, bearer=bearer)
        service.clock.advance(seconds=2)
        return answer.status_code

    assert moved(2.0) == 200
    assert moved(0.0, grace) == 200
    assert service.call("GET", path, bearer=ada).json["tighten"]["value"] == 0.0
    assert moved(-0.25) == 403
    assert moved(-0.5, approval=agreed(service, officers, "tighten -0.50", **course)) == 200
    assert moved(1.0) == 200
    assert moved(-0.4, grace, expires_in=100) == 200
    # Longer than what was agreed on would be looser once that has ended.
    assert moved(-0.4, expires_in=2000) == moved(-0.6, expires_in=100) == 403
    act(
        service,
        "tighten",
        target=1.0,
        ramp=1,
        life=timedelta(hours=1),
        actor="warning",
        automatic=True,
    )
    service.clock.advance(seconds=2)
    assert moved(0.0) == 403
    assert moved(0.0, approval=agreed(service, officers, "tighten +0.00", **course)) == 200


def test_the_tightest_setting_suspends_nobody_without_a_sign_of_risk(service, officers):
    """Two nats stricter, and a person of whom no signal says anything signs in."""
    person = service.register()
    in_force(
        service,
        changed(
            **{"raise": {"critical": {"suspend": True}}},
            bands={"elevated": -0.5, "high": -1.0, "critical": -1.5},
        ),
    )
    body = {"tighten": 2, "ramp": 1, "expires_in": 1000}
    assert service.call("PATCH", "/v1/risk-parameters", body, bearer=officers[0]).status_code == 200
    service.clock.advance(seconds=5)
    feel(service, Feeling(0.0))
    assert service.begin("nobody").status_code == service.begin().status_code == 201
    assert service.login(person)["status"] == "completed"
    listed = service.call("GET", f"/v1/subjects/{person.id}/suspensions").json
    assert listed["items"] == []


ENDING = (
    ({"suspend": True}, {"field": "signal.behavior", "op": "lt", "value": -2}),
    ({"suspend": True}, {"field": "signal.login_context", "op": "lt", "value": -2}),
    ({"deny": True}, {"field": "known_device", "op": "eq", "value": False}),
    ({"deny": True}, {"field": "client", "op": "ne", "value": "somebody"}),
    ({"suspend": True}, None),
    ({"deny": True}, None),
)


@pytest.mark.parametrize("disclosure", ["stepwise", "deferred"])
@pytest.mark.parametrize(("then", "when"), ENDING)
def test_a_name_alone_ends_nothing(service, then, when, disclosure):
    """Known and unknown names get one answer, sessions go on; a wrong password proves nothing."""
    person = service.register()
    done = service.login(person)
    tokens = service.exchange(done["completion_code"]).json
    rule = {"id": "r", "then": then} | ({"when": when} if when else {})
    in_force(service, changed(rules=[rule], disclosure=disclosure))

    def seen(name):
        begun = service.begin(name)
        wrong = service.act(begun.json, "password", {"password": WRONG})
        shape = [begun.status_code, sorted(begun.json["actions"]), wrong.status_code]
        return [*shape, wrong.json.get("code"), sorted(wrong.json)]

    assert seen("alice") == seen("nobody at all")
    listed = service.call("GET", f"/v1/subjects/{person.id}/suspensions").json
    assert listed["items"] == []
    assert service.oauth("introspect", token=tokens["access_token"]).json["active"] is True
    known = service.begin(context={"device_token": done["device_token"]}).json
    assert known["status"] == "pending"


def test_a_stolen_session_suspends_nobody(service):
    """What a session brought along is looked at, and denied; to suspend takes a fresh factor."""
    person = service.register()
    tokens = service.exchange(service.login(person)["completion_code"]).json
    in_force(service, changed(**{"raise": {"critical": {"suspend": True}}}))
    feel(service, Feeling(-8.0))
    begun = service.begin(None, "step_up", access_token=tokens["access_token"])
    assert (begun.status_code, begun.json["code"]) == (403, "critical_risk")
    listed = service.call("GET", f"/v1/subjects/{person.id}/suspensions").json
    assert listed["items"] == []


def test_an_automatic_change_only_tightens_for_a_day(service):
    """Nothing that no person asked for loosens, or stands for longer."""
    hour = timedelta(hours=1)
    act(service, "tighten", target=1.0, ramp=60, life=hour, actor="warning", automatic=True)
    for target, life in ((0.5, hour), (1.5, timedelta(hours=25))):
        with pytest.raises(Exception, match=r"approval_required|invalid_input"):
            act(
                service,
                "tighten",
                target=target,
                ramp=60,
                life=life,
                actor="warning",
                automatic=True,
                approved=True,
            )


def test_what_is_held_against_a_subject_outlives_the_session(service, officers):
    """High risk is remembered until a flow at the highest level, or an operator, clears it."""
    person = service.register("bob")
    in_force(service, changed(cooldown_hours=0))
    feel(service, Feeling(-5.0))
    flow = service.begin("bob").json
    risky = service.act(flow, "password", {"password": PASSWORD}).json
    assert risky["risk"]["band"] == "high"
    feel(service)
    flow = service.begin("bob").json
    calm = service.act(flow, "password", {"password": PASSWORD}).json
    assert (calm["risk"]["band"], calm["risk"]["reasons"][-1]["code"]) == ("high", "subject_risk")
    service.act(flow, "totp", {"code": service.code(person)})
    done = service.act(flow, "recovery_code", {"code": person.codes[0]}).json
    assert done["status"] == "completed", done
    flow = service.begin("bob").json
    assert service.act(flow, "password", {"password": PASSWORD}).json["risk"]["band"] == "low"
    feel(service, Feeling(-5.0))
    flow = service.begin("bob").json
    service.act(flow, "password", {"password": PASSWORD})
    path = f"/v1/subjects/{person.id}/risk"
    assert service.call("DELETE", path).status_code == 403
    assert service.call("DELETE", path, bearer=officers[0]).status_code == 204
    assert service.call("DELETE", path, bearer=officers[0]).json["code"] == "risk_not_found"


def test_a_policy_may_ask_for_a_passkey_to_clear_risk(service):
    """Then password and code sign in, and what is held stays."""
    person = service.register()
    in_force(service, changed(subject_risk={"clears": "phr"}))
    feel(service, Feeling(-5.0))
    flow = service.begin().json
    service.act(flow, "password", {"password": PASSWORD})
    service.act(flow, "totp", {"code": service.code(person)})
    done = service.act(flow, "recovery_code", {"code": person.codes[0]}).json
    assert done["status"] == "completed"
    with service.container.store.transaction() as tx:
        assert service.container.standing.of(tx, UUID(person.id)) == -5.0


def test_critical_risk_suspends_where_the_policy_says_so(service):
    """Sessions end and nobody signs in until the suspension is lifted."""
    person = service.register()
    tokens = service.exchange(service.login(person)["completion_code"]).json
    in_force(service, changed(**{"raise": {"critical": {"suspend": True}}}))
    feel(service, Feeling(-8.0))
    flow = service.begin().json
    denied = service.act(flow, "password", {"password": PASSWORD})
    assert (denied.status_code, denied.json["code"]) == (403, "critical_risk")
    assert service.oauth("introspect", token=tokens["access_token"]).json == {"active": False}
    listed = service.call("GET", f"/v1/subjects/{person.id}/suspensions").json
    assert [row["capability"] for row in listed["items"]] == ["login"]
    feel(service)
    flow = service.begin().json
    assert service.act(flow, "password", {"password": PASSWORD}).json["code"] == "suspended"


def test_risk_may_make_an_attempt_wait(service):
    """The next action comes too early until the seconds are over; once is enough."""
    person = service.register()
    in_force(service, changed(**{"raise": {"elevated": {"delay": 20}}}))
    feel(service, Feeling(-3.0))
    flow = service.begin().json
    service.act(flow, "password", {"password": PASSWORD})
    early = service.act(flow, "totp", {"code": service.code(person)})
    assert (early.status_code, early.headers["Retry-After"]) == (429, "20")
    service.clock.advance(seconds=20)
    done = service.act(flow, "totp", {"code": service.code(person)}).json
    assert done["status"] == "completed"


def poison(tx):
    tx.execute(text("SELECT * FROM no_such_table"))


def raising(error):
    def fault(_tx):
        raise error

    return fault


@pytest.mark.parametrize(
    "fault",
    [
        poison,
        raising(AssertionError()),
        raising(MemoryError()),
        raising(AttributeError("x")),
        raising(TimeoutError()),
    ],
)
def test_a_signal_that_fails_is_its_worst_and_spoils_nothing(service, fault):
    """An error of the database inside it too: the attempt counts, the others answer, no 500."""
    service.register()
    feel(service, Feeling(0.5), Feeling(fault=fault))
    service.container.login._dependencies.signals.signals[1].worst = -3.0
    flow = service.begin().json
    wrong = service.act(flow, "password", {"password": WRONG})
    assert (wrong.status_code, wrong.json["code"]) == (422, "verification_failed")
    assert wrong.json["flow"]["attempts_left"] == flow["attempts_left"] - 1
    seen = service.act(flow, "password", {"password": PASSWORD})
    assert seen.status_code == 200, seen.json
    risk = seen.json["risk"]
    assert risk["band"] == "elevated"
    assert [item["code"] for item in risk["reasons"]] == ["scored", "signal_fault"]


def careless(tx):
    """Run into a refusal of the database and hide it."""
    try:
        poison(tx)
    except SQLAlchemyError:
        raise RuntimeError("something of its own") from None


def half_done(tx):
    """Write something and fail."""
    tx.execute(
        text("INSERT INTO revoked_token (jti, expires_at) VALUES (:jti, :at)"),
        {"jti": "0" * 32, "at": "2026-01-01 00:00:00"},
    )
    raise ValueError


@pytest.mark.parametrize("fault", [careless, half_done])
def test_a_signal_that_fails_half_way_leaves_nothing(service, fault):
    """Whatever it raises: the unit of work is done again with a savepoint, the others answer."""
    service.register()
    feel(service, Feeling(0.5), Feeling(fault=fault))
    service.container.login._dependencies.signals.signals[1].worst = -3.0
    for _ in range(2):
        flow = service.begin().json
        seen = service.act(flow, "password", {"password": PASSWORD})
        assert seen.status_code == 200, seen.json
        found = [item["code"] for item in seen.json["risk"]["reasons"]]
        assert found == ["scored", "signal_fault"]
    with service.container.store.transaction(read=True) as tx:
        assert tx.execute(text("SELECT count(*) FROM revoked_token")).scalar() == 0


def test_a_login_survives_a_signal_that_cannot_learn(service):
    """What a signal raises while it learns is its own loss."""
    person = service.register()
    quiet = Feeling()
    feel(service, quiet)
    flow = service.begin().json
    service.act(flow, "password", {"password": PASSWORD})
    quiet.learn = lambda tx, facts: poison(tx)
    done = service.act(flow, "totp", {"code": service.code(person)})
    assert done.json["status"] == "completed"
    tokens = service.exchange(done.json["completion_code"]).json
    assert service.oauth("introspect", token=tokens["access_token"]).json["active"] is True


def test_a_signal_past_its_time_counts_as_its_worst(service):
    """The budget is the policy's; the reason names the time-out."""
    import time

    service.register()
    in_force(service, changed() | {"signal_budget_ms": 1})
    slow = Feeling(fault=lambda _tx: time.sleep(0.01))
    slow.worst = -2.0
    feel(service, slow)
    flow = service.begin().json
    (reason,) = service.act(flow, "password", {"password": PASSWORD}).json["risk"]["reasons"]
    assert (reason["code"], reason["contribution"]) == ("signal_fault", -2.0)
    assert "time-out" in reason["detail"]


def test_reasons_are_shown_with_the_scope_only(service):
    """A client without risk:read sees neither band nor reasons, at no time of the flow."""
    person = service.register()
    client = service.new_client(scopes=("flows:write",), first_party=True)
    shop, service.bearer = service.bearer, service.access(client)
    flow = service.begin().json
    first = service.act(flow, "password", {"password": PASSWORD}).json
    seen = service.call("GET", f"/v1/flows/{flow['id']}", Flow_Token=flow["flow_token"]).json
    done = service.act(flow, "totp", {"code": service.code(person)}).json
    assert all("risk" not in answer for answer in (flow, first, seen, done))
    service.bearer = shop
    flow = service.begin().json
    service.act(flow, "password", {"password": PASSWORD})
    seen = service.call("GET", f"/v1/flows/{flow['id']}", Flow_Token=flow["flow_token"]).json
    assert seen["risk"]["reasons"]


@pytest.mark.parametrize("proxies", [0, 1])
@pytest.mark.parametrize("forwarded", ["garbage", "::::, 1.2.3.4", "\x01", "9" * 5000, ", ,"])
def test_an_unparsable_forwarded_address_skips_no_step(service, proxies, forwarded):
    """The flow asks the same as without the header, whether or not a proxy is trusted."""
    from service.app import create_app

    service.register()
    settings = service.container.settings.model_copy(update={"trusted_proxies": proxies})
    object.__setattr__(service.container, "settings", settings)
    http = create_app(service.container).test_client()
    headers = {"Authorization": f"Bearer {service.bearer}", "X-Forwarded-For": forwarded}
    flow = http.post("/v1/flows", json={"kind": "login", "identifier": "alice"}, headers=headers)
    assert flow.status_code == 201
    headers["Flow-Token"] = flow.json["flow_token"]
    assert list(flow.json["actions"]) == ["password"]
    act = flow.json["actions"]["password"]["href"]
    wrong = http.post(act, json={"password": WRONG}, headers=headers)
    assert wrong.status_code == 422
    after = http.post(act, json={"password": PASSWORD}, headers=headers).json
    assert (after["status"], list(after["actions"])) == (
        "pending",
        ["totp", "recovery_code", "back"],
    )
