"""Whom the help desk does not let in, and what stops a recovery that is under way."""

import json
from uuid import UUID

import pytest
from sqlalchemy import func, select

from crypto.hashing import PasswordHasher
from service.accounts.store.subjects import Subject
from service.app import create_app, open_container
from service.domain.authenticator import Status
from service.factors.help_desk.model import lifts
from service.factors.help_desk.store import Recovery
from service.operators.model import Role
from service.policy.model.parser import read
from service.store.personal_data import Whose, held
from tests.functional.conftest import PASSWORD, Service
from tests.functional.desk import NEW_PASSWORD, RECOVER, Desk, desk_once, lost, opened, past  # noqa: F401 - fixtures
from tests.functional.policing import Feeling, changed, feel, in_force
from tests.functional.test_quorum import audited, do


@pytest.fixture
def desk(service):
    """Somebody who has lost everything, and two operators."""
    return Desk(service, **service.left)


def code_of(answer):
    return answer.status_code, answer.json["code"]


def fault_of(answer):
    (fault,) = answer.json["errors"]
    return answer.status_code, fault["pointer"], fault["code"]


def reasons(desk):
    return [data["reason"] for _, data in audited(desk.service, "subject.recovery_ended")]


def suspend(desk, capability="login"):
    path = f"/v1/subjects/{desk.person.id}/suspensions"
    body = {"capability": capability, "reason": "fraud"}
    assert desk.service.call("POST", path, body).status_code == 201
    return f"{path}/{capability}"


def test_a_code_opens_no_other_account(desk):
    """Neither in another person's flow, nor does its grant count for another person's id."""
    bob = lost(desk.service, "bob")
    code = desk.sent()
    refused = desk.use(code, "bob")
    assert code_of(refused) == (422, "verification_failed")
    grant = desk.use(code).json["grant"]
    stolen = desk.service.enroll(bob, "password", password=NEW_PASSWORD, grant=grant)
    assert code_of(stolen) == (403, "grant_invalid")
    flow = desk.service.begin("bob").json
    assert desk.service.act(flow, "password", {"password": PASSWORD}).status_code == 200


def test_a_suspended_person_is_not_recovered(desk):
    """Refused as it is asked for and as it is approved; lifted, it is to be asked for anew."""
    suspended = suspend(desk)
    assert code_of(desk.ask()) == (409, "subject_suspended")
    assert desk.service.call("DELETE", suspended).status_code == 204
    asked = desk.ask().json
    suspended = suspend(desk)
    assert code_of(desk.decide(asked["id"])) == (409, "recovery_stopped")
    desk.service.call("DELETE", suspended)
    desk.agreed()
    suspend(desk)
    desk.wait(hours=24)
    assert desk.told("subject.recovery_code") == []
    assert reasons(desk) == ["suspended"] * 2


def test_a_suspension_ends_a_code_that_was_sent(desk):
    """It stays suspended, and lifting brings no code back."""
    code = desk.sent()
    suspended = suspend(desk)
    assert desk.use(code).status_code == 422
    assert desk.service.call("DELETE", suspended).status_code == 204
    assert desk.use(code).status_code == 422
    assert reasons(desk) == ["suspended"]


def test_a_suspended_payment_stays_suspended(desk):
    """Who is recovered may sign in again, but lifts nothing with what is so young."""
    service = desk.service
    suspend(desk, "payment")
    grant = desk.use(desk.sent()).json["grant"]
    service.enroll(desk.person, "password", password=NEW_PASSWORD, grant=grant)
    flow = service.begin("alice").json
    service.act(flow, "password", {"password": NEW_PASSWORD})
    done = service.act(flow, "totp", {"code": service.code(desk.person)}).json
    tokens = service.exchange(done["completion_code"]).json
    wanted = {"access_token": tokens["access_token"], "act": "lift:suspension"}
    assert code_of(service.begin(None, "enrollment", **wanted)) == (403, "young_authenticator")
    path = f"/v1/subjects/{desk.person.id}/suspensions"
    assert [row["capability"] for row in service.call("GET", path).json["items"]] == ["payment"]


def test_an_erased_person_is_not_recovered(desk):
    """Nothing is left of what was under way."""
    code = desk.sent()
    asked = f"/v1/subjects/{desk.person.id}"
    assert desk.service.call("DELETE", asked).status_code == 200
    assert desk.use(code).status_code == 422
    assert fault_of(desk.ask()) == (422, "/target", "subject_not_found")
    with desk.service.container.store.transaction(read=True) as tx:
        assert tx.scalar(select(func.count()).select_from(Recovery)) == 0


def test_nobody_recovers_alone_nor_their_own(desk):
    """Who asked does not approve, the person does neither, a client and an auditor do nothing."""
    service, (ada, _) = desk.service, desk.operators
    asked = desk.ask().json
    assert code_of(desk.decide(asked["id"], by=0)) == (403, "same_operator")
    assert code_of(desk.ask(target=ada.id)) == (403, "own_recovery")
    body = {"act": RECOVER, "target": desk.person.id, "params": {"act": "enroll:totp"}}
    path, body = "/v1/approvals", body | {"reason": "x"}
    assert code_of(service.call("POST", path, body)) == (403, "insufficient_scope")
    do(service, "roles.revoke", UUID(ada.id), "security_officer", "break_glass")
    do(service, "break_glass.grant", UUID(ada.id), Role.AUDITOR)
    assert code_of(desk.ask("enroll:totp")) == (403, "insufficient_scope")


def test_an_operator_does_not_approve_a_recovery_of_themselves(service):
    """Asked for by another, with everything else in order."""
    desk = opened(service, name="grace", officers=("ada", "grace"))
    asked = desk.ask()
    assert asked.status_code == 201, asked.json
    assert code_of(desk.decide(asked.json["id"])) == (403, "own_recovery")
    assert desk.decide(asked.json["id"], "reject").json["status"] == "rejected"


def test_an_operator_by_a_client_of_another_segment_recovers_nobody(desk):
    """The person is not there for them: neither to ask for nor to approve."""
    service = desk.service
    elsewhere = service.new_client(segments=("elsewhere",))
    asked = desk.ask().json
    home = (service.client_id, service.secret, service.bearer)
    service.clock.advance(seconds=31)
    own = desk.officers
    service.client_id, service.secret = elsewhere
    # The operators are people of the other segment.
    with service.container.store.transaction() as tx:
        for one in desk.operators:
            tx.get(Subject, UUID(one.id)).segment = "elsewhere"
    desk.sign_in()
    assert fault_of(desk.ask("enroll:totp")) == (422, "/target", "subject_not_found")
    assert code_of(desk.decide(asked["id"])) == (404, "subject_not_found")
    service.client_id, service.secret, service.bearer = home
    desk.officers = own
    assert desk.decide(asked["id"]).status_code == 200


def test_a_recovery_needs_an_address_that_is_proven_and_not_young(service):
    """None, an unverified one, and one that was verified lately are refused, each by name."""
    desk = opened(service)
    service.register("bob")
    carl = service.register("carl", identifiers={"username": "carl", "email": "carl@example.com"})
    young = lost(service, "dora")
    bob = service.call("POST", "/v1/subjects/lookup", {"identifier": "bob"}).json["id"]
    assert code_of(desk.ask(target=bob)) == (409, "no_recovery_address")
    assert code_of(desk.ask(target=carl.id)) == (409, "no_recovery_address")
    assert code_of(desk.ask(target=young.id)) == (409, "young_recovery_address")
    desk.wait(hours=72)
    assert desk.ask(target=young.id).status_code == 201


def test_a_code_goes_to_the_address_of_the_asking_or_nowhere(desk):
    """Another one that is verified meanwhile gets none."""
    service = desk.service
    desk.agreed()
    path = f"/v1/subjects/{desk.person.id}"
    with service.container.store.transaction() as tx:
        grant = service.container.authenticators.grants.issue(
            tx, UUID(desk.person.id), client=UUID(service.client_id), act="change:identifier"
        )
    body = {"identifiers": {"email": "mallory@example.com"}}
    assert service.call("PATCH", path, body, Grant=grant).status_code == 200
    verification = f"{path}/identifiers/email/verification"
    service.call("POST", verification, {})
    code = desk.told("identifier.verification")[-1]["code"]
    assert service.call("POST", verification, {"code": code}).json == {"status": "verified"}
    desk.wait(hours=24)
    assert desk.told("subject.recovery_code") == []
    assert reasons(desk) == ["address_changed"]


def test_without_delivery_nothing_is_asked_for(desk, clock):
    """The refusal names the setting; a code whose time comes meanwhile waits for it."""
    container = desk.service.container
    changed_settings = container.settings.model_copy(update={"smtp_url": ""})
    mute = open_container(changed_settings, clock, PasswordHasher.unsafe_for_tests())
    try:
        there = Service.__new__(Service)
        there.__dict__.update(desk.service.__dict__, container=mute)
        there.http = create_app(mute).test_client()
        body = {"act": RECOVER, "target": desk.person.id, "params": {"act": "enroll:totp"}}
        refused = there.call(
            "POST", "/v1/approvals", body | {"reason": "x"}, bearer=desk.officers[0]
        )
        assert code_of(refused) == (503, "delivery_not_configured")
        desk.agreed()
        clock.advance(hours=24)
        with mute.store.transaction() as tx:
            assert mute.recoveries.send_due(tx, clock.now()) == 1
        desk.wait(seconds=31)
        assert len(desk.told("subject.recovery_code")) == 1
    finally:
        mute.store.engine.dispose()


def test_what_cannot_be_recovered_is_named(desk):
    """Another act, nobody, what the policy or the room for code generators does not allow."""
    assert fault_of(desk.ask("enroll:face")) == (422, "/params/act", "unknown_act")
    assert fault_of(desk.ask("revoke:authenticator")) == (422, "/params/act", "unknown_act")
    for target in ("nobody", str(UUID(int=7))):
        assert fault_of(desk.ask(target=target)) == (422, "/target", "subject_not_found")
    container = desk.service.container
    with container.store.transaction() as tx:
        for number in range(2):
            container.factors["totp"].enroll(
                tx, UUID(desk.person.id), f"x{number}", status=Status.ACTIVE
            )
    assert code_of(desk.ask("enroll:totp")) == (409, "too_many_totp")
    two = {"acr": "urn:lamina:acr:aal1", "layers": [["password"], ["totp"]]}
    in_force(
        desk.service,
        changed(factors=["password", "totp"], login=two, recovery=two, **{"raise": {}}),
    )
    assert code_of(desk.ask("enroll:recovery_codes")) == (409, "factor_not_accepted")


@pytest.mark.parametrize(
    ("kind", "former", "above"),
    [
        ("totp", {"password"}, True),
        ("recovery_codes", {"password"}, True),
        ("password", {"totp"}, True),
        ("password", {"password"}, False),
        ("password", (), True),
        ("totp", {"password", "recovery_codes"}, False),
        ("recovery_codes", {"totp"}, False),
        ("recovery_codes", {"password", "totp", "face"}, False),
    ],
)
def test_no_account_comes_out_higher_than_it_ever_was(kind, former, above):
    """A second factor for somebody who never had one is no recovery."""
    assert lifts(kind, former) is above


def test_an_account_with_a_password_only_gets_no_second_factor(service):
    """Though two operators would agree on it."""
    desk = opened(service)
    only = lost(service, "bob", second=False)
    desk.wait(hours=72)
    assert code_of(desk.ask("enroll:totp", target=only.id)) == (409, "above_former_level")
    assert desk.ask(target=only.id).status_code == 201


def test_one_recovery_at_a_time(desk):
    """Asked for, waiting or sent: another is refused; after a rejection it is not."""
    asked = desk.ask().json
    assert code_of(desk.ask("enroll:totp")) == (409, "recovery_pending")
    desk.decide(asked["id"])
    assert code_of(desk.ask("enroll:totp")) == (409, "recovery_pending")
    desk.wait(hours=24)
    assert code_of(desk.ask("enroll:totp")) == (409, "recovery_pending")
    assert desk.decide(asked["id"], "reject").json["status"] == "stopped"
    assert desk.ask("enroll:totp").status_code == 201


@pytest.mark.parametrize("by", [0, 1])
def test_one_operator_stops_what_two_agreed_on(desk, by):
    """While it waits and when the code was sent, who asked or who approved; once."""
    number = desk.agreed()
    assert desk.decide(number, "reject", by=by).json["status"] == "stopped"
    assert code_of(desk.decide(number, "reject")) == (409, "approval_decided")
    desk.wait(hours=24)
    assert desk.told("subject.recovery_code") == []
    number = desk.agreed()
    desk.wait(hours=24)
    code = desk.code()
    assert desk.decide(number, "reject", by=by).json["status"] == "stopped"
    assert desk.use(code).status_code == 422
    ended = audited(desk.service, "subject.recovery_ended")
    assert [actor for actor, _ in ended] == [desk.names[by]] * 2
    assert len(desk.told("subject.recovery_stopped")) == 2


def test_who_is_dismissed_takes_a_recovery_along(desk):
    """Before the code is sent it is not sent; afterwards it is not taken; void blocks nobody."""
    service, (ada, grace) = desk.service, desk.operators
    asked = desk.ask().json
    do(service, "roles.revoke", UUID(ada.id), "security_officer", "break_glass")
    assert code_of(desk.decide(asked["id"])) == (409, "approval_void")
    do(service, "break_glass.grant", UUID(ada.id), Role.OPERATOR)
    desk.wait(seconds=31)
    desk.agreed()
    do(service, "roles.revoke", UUID(ada.id), "operator", "break_glass")
    do(service, "break_glass.grant", UUID(ada.id), Role.AUDITOR)
    desk.wait(hours=24)
    assert desk.told("subject.recovery_code") == []
    do(service, "break_glass.grant", UUID(ada.id), Role.OPERATOR)
    code = desk.sent()
    do(service, "roles.revoke", UUID(grace.id), "security_officer", "break_glass")
    assert desk.use(code).status_code == 422
    assert reasons(desk) == ["void", "operator_gone"]


def test_a_recovery_that_nobody_goes_on_with_is_over(desk):
    """Not approved, not used: after a day; nothing of it is left after 400 days more."""
    desk.ask()
    desk.wait(hours=24)
    desk.sent()
    desk.wait(hours=24)
    assert reasons(desk) == ["over"] * 2
    desk.service.clock.advance(days=401)
    container = desk.service.container
    with container.store.transaction() as tx:
        container.recoveries.end_over(tx, desk.service.clock.now())
    with container.store.transaction(read=True) as tx:
        assert tx.scalar(select(func.count()).select_from(Recovery)) == 0


def test_the_policy_says_how_long_it_waits(desk):
    """From an hour to a week, of the person's own segment; a day at least under PSD2."""
    in_force(desk.service, changed(recovery_hours=48))
    desk.agreed()
    desk.wait(hours=47)
    assert desk.told("subject.recovery_code") == []
    desk.wait(hours=1)
    assert len(desk.told("subject.recovery_code")) == 1
    for bad in (
        {"recovery_hours": 0},
        {"recovery_hours": 169},
        {"recovery_hours": 23, "regime": "psd2"},
    ):
        with pytest.raises(Exception, match="bad_policy"):
            read(changed(**bad))


def test_a_deferred_flow_tells_only_whether_it_was_the_code(desk):
    """Where nothing is told before the end, the code is the end: right or wrong, at once."""
    in_force(desk.service, changed(disclosure="deferred"))
    code = desk.sent()
    flow = desk.begin()
    assert list(flow["actions"]) == ["recovery_code", "help_desk"]
    wrong = desk.service.act(flow, "help_desk", {"code": "0000-0000-0000-0000"})
    assert code_of(wrong) == (422, "verification_failed")
    assert list(wrong.json["flow"]["actions"]) == ["recovery_code", "help_desk"]
    done = desk.service.act(flow, "help_desk", {"code": code})
    assert (done.status_code, done.json["status"]) == (200, "completed"), done.json
    grant = done.json["grant"]
    given = desk.service.enroll(desk.person, "password", password=NEW_PASSWORD, grant=grant)
    assert given.status_code == 201


def test_critical_risk_refuses_the_code_too(desk):
    """Signals only raise: two operators have not seen where the code is used from."""
    code = desk.sent()
    feel(desk.service, Feeling(-9.0))
    refused = desk.use(code)
    assert code_of(refused) == (403, "critical_risk")
    assert "grant" not in refused.json["flow"]


def test_a_restored_backup_revives_no_code(desk):
    """Every recovery under way ends with the restore."""
    code = desk.sent()
    with desk.service.container.store.transaction() as tx:
        assert desk.service.container.recoveries.stop_all(tx) == 1
    assert desk.use(code).status_code == 422


def test_the_export_shows_it_without_the_operators_or_the_code(desk):
    """Who among the operators it was is personal data of theirs."""
    code = desk.sent()
    subject = UUID(desk.person.id)
    with desk.service.container.store.transaction(read=True) as tx:
        sections = [item.section(tx, Whose(subject, "")) for item in held()]
    (mine,) = [item for item in sections if item["name"] == "subject_recovery"]
    (row,) = mine["rows"]
    assert (row["asked_by"], row["approved_by"], row["status"]) == ("operator", "operator", "sent")
    told = json.dumps(sections, default=str)
    assert not any(name in told for name in desk.names)
    assert code not in told
