"""By policy a completed login lets a person enroll what they have none of."""

import pytest
from sqlalchemy import text

from tests.functional.conftest import PASSWORD, Person
from tests.functional.policing import Feeling, changed, feel, in_force
from tests.functional.test_policies import replayed

BY_PASSWORD = {"acr": "urn:lamina:acr:aal1", "layers": [["password"]]}
BY_WHAT_IS_THERE = BY_PASSWORD | {"when_enrolled": [["totp", "recovery_code"]]}
BOTH = ["totp", "recovery_codes"]


def offering(service, *, login=None, offer=BOTH, **segment):
    """Put a policy in force that offers types with a completed login."""
    rule = login or BY_WHAT_IS_THERE
    in_force(service, changed(login=rule, login_enrollment={"offer": offer}, **segment))


def registered(service, name="alice"):
    """Register somebody with a password alone; return the id."""
    body = {"identifiers": {"username": name}, "password": PASSWORD}
    return service.call("POST", "/v1/subjects", body).json["id"]


def with_totp(service):
    """Register somebody with a password and a code generator."""
    person = Person(registered(service), "alice")
    service.enroll_totp(person)
    return person


def password(service, name="alice", **headers):
    """Begin a login and show the right password."""
    flow = service.begin(name).json
    return service.act(flow, "password", {"password": PASSWORD}, **headers)


def enroll(service, subject, kind, grant, bearer=None):
    """Enroll with a grant; return the answer."""
    path = f"/v1/subjects/{subject}/authenticators"
    return service.call("POST", path, {"type": kind}, bearer=bearer, Grant=grant)


def issued(service):
    """Return how many grants the log tells of."""
    with service.container.store.engine.connect() as connection:
        query = text("SELECT count(*) FROM audit_leaf WHERE kind = 'grant.issued'")
        return connection.scalar(query)


def test_from_a_password_to_a_second_factor_within_the_login(service):
    """Register, sign in, enroll by the grants, confirm: step-up and next login have the code."""
    offering(service)
    subject = registered(service)
    done = password(service).json
    assert (done["status"], done["enrollable"]) == ("completed", BOTH)
    assert list(done["grants"]) == ["enroll:totp", "enroll:recovery_codes"]
    early = enroll(service, subject, "totp", done["grants"]["enroll:totp"])
    assert (early.status_code, early.json["code"]) == (403, "grant_invalid")
    access = service.exchange(done["completion_code"]).json["access_token"]
    person = Person(subject, "alice")
    service.enroll_totp(person, grant=done["grants"]["enroll:totp"])
    flow = service.begin(None, "step_up", access_token=access).json
    raised = service.act(flow, "totp", {"code": service.code(person)}).json
    assert (raised["status"], raised["assurance"]["achieved"]["aal"]) == ("completed", 2)
    service.clock.advance(seconds=30)
    flow = service.begin().json
    first = service.act(flow, "password", {"password": PASSWORD}).json
    assert (first["status"], "totp" in first["actions"]) == ("pending", True)
    again = service.act(flow, "totp", {"code": service.code(person)}).json
    assert list(again["grants"]) == ["enroll:recovery_codes"]
    service.exchange(again["completion_code"])
    codes = enroll(service, subject, "recovery_codes", again["grants"]["enroll:recovery_codes"])
    assert codes.status_code == 201
    assert len(codes.json["codes"]) == 10
    service.clock.advance(seconds=30)
    flow = service.begin().json
    service.act(flow, "password", {"password": PASSWORD})
    last = service.act(flow, "recovery_code", {"code": codes.json["codes"][0]}).json
    assert (last["status"], "grants" in last) == ("completed", False)


def test_nothing_is_offered_unless_policy_says_so(service):
    """What may be enrolled is told as ever, without a grant; a type that is not named has none."""
    in_force(service, changed(login=BY_PASSWORD))
    registered(service)
    done = password(service).json
    assert (done["enrollable"], "grants" in done) == (BOTH, False)
    offering(service, offer=["recovery_codes", "face"])
    assert list(password(service).json["grants"]) == ["enroll:recovery_codes"]
    assert issued(service) == 1


@pytest.mark.parametrize("enrollment", ["highest", "urn:lamina:acr:aal1"])
def test_a_login_below_the_persons_highest_level_gives_no_grant(service, enrollment):
    """Whoever has a code and showed a password alone, whatever enrollment asks for otherwise."""
    offering(
        service,
        login=BY_PASSWORD,
        enrollment={"acr": enrollment, "max_age": 300},
    )
    with_totp(service)
    done = password(service).json
    assert (done["status"], "grants" in done) == ("completed", False)
    assert "recovery_codes" in done["enrollable"]
    assert issued(service) == 0


def test_what_enrollment_asks_for_counts(service):
    """Its age, its rules and the band of risk: where such a flow would go on, no grant."""
    rule = {"acr": "highest", "max_age": 60}
    offering(service, enrollment=rule)
    person = with_totp(service)
    for wait, given in ((61, False), (59, True)):
        flow = service.begin().json
        service.act(flow, "password", {"password": PASSWORD})
        service.clock.advance(seconds=wait)
        done = service.act(flow, "totp", {"code": service.code(person)}).json
        assert (done["status"], "grants" in done) == ("completed", given)
    deny = {"id": "none", "purposes": ["enrollment"], "then": {"deny": True}}
    registered(service, "bob")
    assert "grants" in password(service, "bob").json
    offering(service, rules=[deny])
    assert "grants" not in password(service, "bob").json
    worse = deny | {"when": {"field": "llr", "op": "lt", "value": -1}}
    offering(service, rules=[worse])
    assert "grants" in password(service, "bob").json
    feel(service, Feeling(-1.5))
    assert "grants" not in password(service, "bob").json


def test_a_grant_counts_once_for_its_client_subject_act_and_session(service):
    """Elsewhere, late, twice or without the session it is good for nothing."""
    offering(service)
    subject, other = registered(service), registered(service, "bob")
    done = password(service).json
    grants = done["grants"]
    assert service.exchange(done["completion_code"]).status_code == 200
    stranger = service.access(service.new_client(name="other"))
    totp = grants["enroll:totp"]
    for refused in (
        enroll(service, other, "totp", totp),
        enroll(service, subject, "recovery_codes", totp),
        enroll(service, subject, "totp", totp, bearer=stranger),
    ):
        assert (refused.status_code, refused.json["code"]) == (403, "grant_invalid")
    assert enroll(service, subject, "totp", totp).status_code == 201
    assert enroll(service, subject, "totp", totp).status_code == 403
    ended = f"/v1/subjects/{subject}/sessions"
    assert service.call("DELETE", ended).status_code in {200, 204}
    codes = grants["enroll:recovery_codes"]
    assert enroll(service, subject, "recovery_codes", codes).status_code == 403
    later = password(service).json
    service.exchange(later["completion_code"])
    service.clock.advance(minutes=5, seconds=6)
    service.bearer = service.access()
    late = enroll(service, subject, "recovery_codes", later["grants"]["enroll:recovery_codes"])
    assert (late.status_code, late.json["code"]) == (403, "grant_invalid")


def test_nothing_is_given_before_completion_nor_to_others(service):
    """Pending flows, denied ones, step-ups and clients of somebody else get none."""
    offering(service, login={"acr": "urn:lamina:acr:aal2", "layers": [["password"], ["totp"]]})
    registered(service)
    denied = password(service)
    assert (denied.status_code, "grants" in denied.get_data(as_text=True)) == (403, False)
    service.register("bob")
    flow = service.begin("bob").json
    service.act(flow, "password", {"password": PASSWORD})
    shown = service.call("GET", f"/v1/flows/{flow['id']}", Flow_Token=flow["flow_token"])
    assert (shown.json["status"], "grants" in shown.json) == ("pending", False)
    offering(service, offer=["totp", "recovery_codes", "face", "password"])
    carol = registered(service, "carol")
    done = password(service, "carol").json
    access = service.exchange(done["completion_code"]).json["access_token"]
    before = issued(service)
    step_up = service.begin(None, "step_up", access_token=access).json
    assert "grants" not in step_up
    suspend = {"capability": "login", "reason": "fraud"}
    service.call("POST", f"/v1/subjects/{carol}/suspensions", suspend)
    refused = password(service, "carol")
    assert (refused.status_code, refused.json["code"]) == (403, "suspended")
    service.bearer = service.access(service.new_client(name="other", first_party=False))
    registered(service, "dave")
    done = password(service, "dave").json
    assert (done["status"], "grants" in done) == ("completed", False)
    assert issued(service) == before


def test_a_deferred_flow_gives_them_with_its_verdict(service):
    """Nothing before the last element; then as any other, if all of it verified."""
    offering(
        service,
        regime="psd2",
        login={
            "acr": "urn:lamina:acr:aal2",
            "layers": [["password"], ["totp"]],
        },
    )
    person = with_totp(service)
    for right in (False, True):
        flow = service.begin().json
        first = service.act(flow, "password", {"password": PASSWORD}).json
        assert (first["status"], "grants" in first) == ("pending", False)
        code = service.code(person) if right else "000000"
        done = service.act(flow, "totp", {"code": code})
        assert ("grants" in done.get_data(as_text=True)) == right
    assert list(done.json["grants"]) == ["enroll:recovery_codes"]


def test_the_same_request_again_gives_the_same_grants(service):
    """A lost answer is given again; no second grant is issued."""
    offering(service)
    registered(service)
    flow = service.begin().json
    key = {"Idempotency_Key": "k1"}
    answers = [service.act(flow, "password", {"password": PASSWORD}, **key) for _ in range(2)]
    assert answers[0].json["grants"] == answers[1].json["grants"]
    assert issued(service) == len(BOTH)


def test_the_decision_that_lets_somebody_enroll_can_be_replayed(service):
    """It is kept with its facts, as that of an enrollment flow is; one that does not is not."""
    offering(service)
    registered(service)
    password(service)
    query = text("SELECT purpose, effect FROM policy_decision ORDER BY purpose")
    with service.container.store.engine.connect() as connection:
        kept = [tuple(row) for row in connection.execute(query)]
    assert kept == [("enrollment", "allow"), ("login", "allow")]
    assert replayed(service).different == []
