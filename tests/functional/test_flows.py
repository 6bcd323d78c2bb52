"""What a flow allows, counts, refuses and ends with."""

import orjson
import pytest

from crypto.hashing import PasswordHasher
from service.app import open_container
from service.login import store
from tests.former_flows import former_state
from tests.functional.conftest import PASSWORD, Service
from tests.functional.test_login_flow import shape

WRONG = "not the right pass phrase"


def test_a_flow_needs_its_token_and_its_client(service):
    """Without the token, or as another client, there is no such flow."""
    service.register()
    flow = service.begin().json
    path = f"/v1/flows/{flow['id']}"
    assert service.call("GET", path).status_code == 404
    assert service.call("GET", path, Flow_Token="lflow_other").status_code == 404
    other = service.access(service.new_client())
    stranger = service.call("GET", path, bearer=other, Flow_Token=flow["flow_token"])
    assert stranger.status_code == 404
    seen = service.call("GET", path, Flow_Token=flow["flow_token"])
    assert seen.json == {name: value for name, value in flow.items() if name != "flow_token"}


def test_a_flow_of_the_program_before_goes_on_after_an_upgrade(service, monkeypatch):
    """Its state without a version is read, and what is saved next has one."""
    person = service.register()
    with monkeypatch.context() as before:
        before.setattr(store, "pack", lambda flow: orjson.dumps(former_state(flow)))
        flow = service.begin().json
        assert service.act(flow, "password", {"password": PASSWORD}).status_code == 200
    path = f"/v1/flows/{flow['id']}"
    seen = service.call("GET", path, Flow_Token=flow["flow_token"]).json
    assert (seen["revision"], "totp" in seen["actions"]) == (flow["revision"] + 1, True)
    done = service.act(flow, "totp", {"code": service.code(person)})
    assert (done.status_code, done.json["status"]) == (200, "completed")
    again = service.call("GET", path, Flow_Token=flow["flow_token"]).json
    assert (again["status"], again["revision"]) == ("completed", flow["revision"] + 2)


def test_a_code_counts_once_over_flows_and_spellings(service):
    """The same code in another flow, with spaces in it, is refused."""
    person = service.register()
    code = service.code(person)
    service.login(person)
    flow = service.begin().json
    service.act(flow, "password", {"password": PASSWORD})
    again = service.act(flow, "totp", {"code": f"{code[:3]} {code[3:]}"})
    assert (again.status_code, again.json["code"]) == (422, "verification_failed")
    assert again.json["flow"]["attempts_left"] == flow["attempts_left"] - 1
    earlier = service.act(flow, "totp", {"code": service.code(person, -1)})
    assert earlier.status_code == 422
    assert service.act(flow, "totp", {"code": service.code(person, 1)}).status_code == 200


def test_a_recovery_code_stands_in_once(service):
    """It completes AAL2, in any spelling, and never again."""
    person = service.register()
    code = person.codes[0].lower().replace("-", " ")
    for status in (200, 422):
        flow = service.begin().json
        service.act(flow, "password", {"password": PASSWORD})
        assert service.act(flow, "recovery_code", {"code": code}).status_code == status


def test_five_failures_lock_the_account_over_every_path(service):
    """Known and unknown accounts wait alike, in every spelling, and an operator can unlock."""
    service.register("alice")
    for spelling in ("alice", "ALICE", "alice", "Alice", "alice"):
        flow = service.begin(spelling).json
        assert service.act(flow, "password", {"password": WRONG}).status_code == 422
    for spelling in ("nobody", "NOBODY", "nobody", "Nobody", "nobody"):
        flow = service.begin(spelling).json
        assert service.act(flow, "password", {"password": WRONG}).status_code == 422
    answers = [
        service.act(service.begin(name).json, "password", {"password": PASSWORD})
        for name in ("alice", "nobody")
    ]
    assert [answer.status_code for answer in answers] == [429, 429]
    assert answers[0].headers["Retry-After"] == answers[1].headers["Retry-After"] == "31"
    assert shape(answers[0].json) == shape(answers[1].json)
    service.clock.advance(seconds=31)
    flow = service.begin("alice").json
    assert service.act(flow, "password", {"password": PASSWORD}).status_code == 200


def test_malformed_input_is_not_an_attempt(service):
    """Nothing is counted for input that cannot be compared."""
    service.register()
    flow = service.begin().json
    for body in ({}, {"password": 5}, {"password": "x", "more": 1}, {"password": ""}):
        assert service.act(flow, "password", body).status_code == 422
    seen = service.call("GET", f"/v1/flows/{flow['id']}", Flow_Token=flow["flow_token"]).json
    assert seen["attempts_left"] == flow["attempts_left"]


def test_an_action_that_is_not_legal_now_is_a_conflict(service):
    """TOTP before the password, an unknown name, and anything after the end."""
    person = service.register()
    flow = service.begin().json
    for name in ("totp", "webauthn", "back", "face"):
        answer = service.act(flow, name, {})
        assert (answer.status_code, answer.json["code"]) == (409, "action_not_available")
    done = service.login(person)
    path = f"/v1/flows/{done['id']}/actions/password"
    assert service.call("POST", path, {"password": "x"}, Flow_Token="x").status_code == 404


def test_a_stale_revision_is_a_conflict(service):
    """If-Match with an older revision is refused before anything is checked."""
    service.register()
    flow = service.begin().json
    service.act(flow, "password", {"password": WRONG})
    stale = service.act(flow, "password", {"password": PASSWORD}, If_Match=str(flow["revision"]))
    assert (stale.status_code, stale.json["code"]) == (409, "flow_moved")
    assert service.act(flow, "password", {}, If_Match="latest").status_code == 422


def test_a_flow_expires_and_can_be_cancelled(service):
    """Afterwards it takes no action."""
    service.register()
    flow = service.begin().json
    service.clock.advance(minutes=5)
    service.bearer = service.access()
    assert service.act(flow, "password", {"password": PASSWORD}).status_code == 410
    other = service.begin().json
    path = f"/v1/flows/{other['id']}"
    for _ in range(2):
        assert service.call("DELETE", path, Flow_Token=other["flow_token"]).status_code == 204
    answer = service.act(other, "password", {"password": PASSWORD})
    assert (answer.status_code, answer.json["code"]) == (409, "flow_ended")


def test_back_gives_up_the_last_factor(service):
    """The flow asks for the password again."""
    service.register()
    flow = service.begin().json
    service.act(flow, "password", {"password": PASSWORD})
    back = service.act(flow, "back", {})
    assert list(back.json["actions"]) == ["password"]
    assert back.json["assurance"]["achieved"]["aal"] == 0


def test_a_class_out_of_reach_is_said_at_once(service):
    """Phishing resistance has no factor yet; an unknown class is bad input."""
    service.register()
    answer = service.begin(acr_values="phr")
    assert (answer.status_code, answer.json["code"]) == (403, "unmet_authentication_requirements")
    assert service.begin("nobody", acr_values="phr").json["code"] == answer.json["code"]
    assert service.begin(acr_values="gold").json["errors"][0]["pointer"] == "/acr_values"


def test_a_step_up_raises_the_session_under_a_new_id(service):
    """It starts from the session's evidence, asks for what is too old, and ends the old id."""
    person = service.register()
    tokens = service.exchange(service.login(person)["completion_code"]).json
    service.clock.advance(seconds=90)
    flow = service.begin(None, "step_up", access_token=tokens["access_token"], max_age=60)
    assert list(flow.json["actions"]) == ["password", "totp", "recovery_code"]
    service.act(flow.json, "password", {"password": PASSWORD})
    done = service.act(flow.json, "totp", {"code": service.code(person)}).json
    raised = service.exchange(done["completion_code"]).json
    assert service.oauth("introspect", token=raised["access_token"]).json["active"] is True
    assert service.oauth("introspect", token=tokens["access_token"]).json == {"active": False}
    assert service.begin(None, "step_up", access_token="x").status_code == 404


def test_changing_authenticators_needs_a_grant_after_the_first_login(service):
    """An enrollment flow gives one for one act, once; a scope alone ends with the first login."""
    person = service.register()
    tokens = service.exchange(service.login(person)["completion_code"]).json
    refused = service.enroll(person, "recovery_codes")
    assert (refused.status_code, refused.json["code"]) == (403, "grant_required")
    wanted = {"access_token": tokens["access_token"], "act": "enroll:recovery_codes"}
    flow = service.begin(None, "enrollment", **wanted).json
    assert flow["status"] == "completed"
    assert service.enroll(person, "totp", grant=flow["grant"]).status_code == 403
    assert service.enroll(person, "recovery_codes", grant=flow["grant"]).status_code == 201
    assert service.enroll(person, "recovery_codes", grant=flow["grant"]).status_code == 403


def test_a_forgotten_password_is_replaced_by_recovery(service):
    """A recovery code and TOTP give a grant for a new password, which then signs in."""
    person = service.register()
    service.login(person)
    flow = service.begin("alice", "recovery").json
    assert list(flow["actions"]) == ["recovery_code", "help_desk"]
    assert shape(flow) == shape(service.begin("nobody", "recovery").json)
    service.act(flow, "recovery_code", {"code": person.codes[0]})
    done = service.act(flow, "totp", {"code": service.code(person, 1)}).json
    assert done["status"] == "completed"
    assert "completion_code" not in done
    answer = service.enroll(person, "password", password="a wholly new phrase", grant=done["grant"])
    assert answer.status_code == 201
    flow = service.begin().json
    assert service.act(flow, "password", {"password": PASSWORD}).status_code == 422
    again = service.act(flow, "password", {"password": "a wholly new phrase"})
    assert again.status_code == 200


def test_a_known_device_is_not_locked_out_by_strangers(service):
    """Failures without the device token fill another lane; the token rotates at each login."""
    person = service.register()
    token = service.login(person)["device_token"]
    for _ in range(5):
        service.act(service.begin().json, "password", {"password": WRONG})
    assert service.act(service.begin().json, "password", {"password": PASSWORD}).status_code == 429
    flow = service.begin(context={"device_token": token}).json
    assert service.act(flow, "password", {"password": PASSWORD}).status_code == 200
    done = service.act(flow, "totp", {"code": service.code(person, 1)}).json
    assert done["device_token"] != token
    old = service.begin(context={"device_token": token}).json
    assert service.act(old, "password", {"password": PASSWORD}).status_code == 429


def test_unverified_addresses_do_not_sign_in(service):
    """An e-mail leads to the person only after its code came back."""
    body = {"identifiers": {"email": "alice@example.com"}, "password": PASSWORD}
    subject = service.call("POST", "/v1/subjects", body).json["id"]
    flow = service.begin("alice@example.com").json
    assert service.act(flow, "password", {"password": PASSWORD}).status_code == 422
    path = f"/v1/subjects/{subject}/identifiers/email/verification"
    assert service.call("POST", path, {}).json == {"status": "sent"}
    with service.container.store.transaction() as tx:
        waiting = service.container.outbox.waiting(tx, reveal=True)
    sent = next(row for row in waiting if row["kind"] == "identifier.verification")["payload"]
    assert sent["to"] == "alice@example.com"
    assert service.call("POST", path, {"code": "00000000"}).status_code == 422
    assert service.call("POST", path, {"code": sent["code"]}).json == {"status": "verified"}
    assert service.call("POST", path, {"code": sent["code"]}).status_code == 410
    flow = service.begin("Alice@EXAMPLE.com").json
    # The password verifies now; that nothing else is enrolled is told only after it.
    after = service.act(flow, "password", {"password": PASSWORD})
    assert after.json["code"] == "unmet_authentication_requirements"


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "login"},
        {"kind": "login", "identifier": "a", "session": "01a20d6d-6d88-726f-95cd-42a4410cdc1d"},
        {"kind": "step_up", "identifier": "a"},
        {"kind": "enrollment", "access_token": "x"},
        {"kind": "login", "identifier": "a", "act": "enroll:totp"},
        {"kind": "login", "identifier": "a" * 255},
        {"kind": "login", "identifier": "a", "max_age": -1},
    ],
)
def test_a_flow_is_begun_whole_or_not_at_all(service, body):
    """What belongs to another kind, or is missing, is named."""
    answer = service.call("POST", "/v1/flows", body)
    assert answer.status_code == 422
    assert answer.json["errors"]


def test_risk_is_shown_with_the_scope_after_a_factor(service):
    """Before a factor has verified nothing about risk is told."""
    service.register()
    flow = service.begin().json
    assert "risk" not in flow
    after = service.act(flow, "password", {"password": PASSWORD}).json
    assert after["risk"]["band"] == "low"
    assert after["risk"]["reasons"][0]["signal"] == "behavior"


def test_the_log_holds_every_decision_and_no_secret(service):
    """Leaves are chained, the chain verifies, and neither names nor codes are in it."""
    person = service.register()
    service.login(person)
    service.act(service.begin().json, "password", {"password": WRONG})
    service.container.jobs.run_due()
    with service.container.store.transaction() as tx:
        assert service.container.audit.verify(tx) > 10
        from service.audit.store import Leaf

        leaves = tx.query(Leaf).all()
        kinds = {leaf.kind for leaf in leaves}
        text = repr([leaf.data for leaf in leaves])
    assert {"flow.begun", "factor.verified", "factor.failed", "flow.completed"} <= kinds
    for secret in (PASSWORD, WRONG, person.secret, "alice"):
        assert secret not in text


def test_an_enrollment_without_an_act_is_told_which_there_are(service):
    """The refusal lists them, so that nobody has to guess."""
    refused = service.begin(None, "enrollment", access_token="x")
    assert refused.status_code == 422
    assert "one of: enroll:password, enroll:totp, enroll:recovery_codes" in refused.json["detail"]


def test_a_flow_lasts_as_long_as_is_set_when_it_begins(service, settings, clock):
    """Another setting holds for what begins later; what has begun keeps its times."""
    service.register()
    old = service.begin().json
    shorter = settings.model_copy(update={"flow_lifetime": 120, "flow_idle": 60})
    container = open_container(shorter, clock, PasswordHasher.unsafe_for_tests())
    try:
        other = Service(container, clock)
        client = (service.client_id, service.secret)
        new = other.call("POST", "/v1/flows", {"kind": "login", "identifier": "alice"}).json
        clock.advance(seconds=61)
        path = f"/v1/flows/{new['id']}"
        ended = other.call("GET", path, Flow_Token=new["flow_token"])
        assert (ended.status_code, ended.json.get("status")) == (200, "expired")
        kept = other.call(
            "GET",
            f"/v1/flows/{old['id']}",
            bearer=other.access(client),
            Flow_Token=old["flow_token"],
        )
        assert kept.json["status"] == "pending"
    finally:
        container.store.engine.dispose()
