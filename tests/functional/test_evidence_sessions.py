"""Sessions, flows and grants end with what they rest on, and with a changed factor."""

from uuid import UUID

import pytest

from service.domain.assurance import Acr
from tests.functional.conftest import PASSWORD
from tests.functional.evidence import (
    NEW,
    acr,
    active,
    enrollment,
    later,
    recognized,
    refresh,
    signed_in,
    step_up,
)
from tests.functional.policing import changed, in_force


def listed(service, person):
    """Return the ids of the sessions in force."""
    answer = service.call("GET", f"/v1/subjects/{person.id}/sessions")
    return {item["id"] for item in answer.json["items"]}


def test_recovery_ends_every_session_and_device(service, person):
    """Whoever recovers is in none of them; a policy that keeps sessions does not keep these."""
    in_force(service, changed(keep_sessions_on_change=True))
    done = service.login(person)
    tokens = service.exchange(done["completion_code"]).json
    later(service, seconds=31)
    flow = service.begin("alice", "recovery").json
    service.act(flow, "recovery_code", {"code": person.codes[0]})
    earned = service.act(flow, "totp", {"code": service.code(person)}).json["grant"]
    assert active(service, tokens)[1] is True
    answer = service.enroll(person, "password", password=NEW, grant=earned)
    assert answer.status_code == 201
    assert active(service, tokens) == (False, False)
    assert recognized(service, person, done["device_token"]) is False
    assert listed(service, person) == set()


def test_a_recovery_that_somebody_else_began_falls_with_a_change(service, person):
    """Its grant is gone as soon as the signed-in person has changed an authenticator."""
    mine = signed_in(service, person)
    flow = service.begin("alice", "recovery").json
    service.act(flow, "recovery_code", {"code": person.codes[0]})
    earned = service.act(flow, "totp", {"code": service.code(person)}).json["grant"]
    grant = enrollment(service, mine, "enroll:recovery_codes").json["grant"]
    assert service.enroll(person, "recovery_codes", grant=grant).status_code == 201
    refused = service.enroll(person, "password", password=NEW, grant=earned)
    assert (refused.status_code, refused.json["code"]) == (403, "grant_invalid")


def test_the_policy_may_keep_other_sessions(service, person):
    """They go on, at what their evidence is still worth."""
    in_force(service, changed(keep_sessions_on_change=True))
    other, mine = signed_in(service, person), signed_in(service, person)
    grant = enrollment(service, mine, "enroll:password").json["grant"]
    assert service.enroll(person, "password", password=NEW, grant=grant).status_code == 201
    assert active(service, other) == (True, True)
    assert acr(service, other) == Acr.AAL1.urn


def test_a_change_while_a_flow_is_under_way_counts_in_it(service, person):
    """A login whose password was changed meanwhile asks for the new one."""
    mine = signed_in(service, person)
    flow = service.begin().json
    service.act(flow, "password", {"password": PASSWORD})
    grant = enrollment(service, mine, "enroll:password").json["grant"]
    assert service.enroll(person, "password", password=NEW, grant=grant).status_code == 201
    seen = service.call("GET", f"/v1/flows/{flow['id']}", Flow_Token=flow["flow_token"]).json
    assert seen["assurance"]["achieved"]["aal"] == 0
    answer = service.act(flow, "totp", {"code": service.code(person)}).json
    assert (answer["status"], next(iter(answer["actions"]))) == ("pending", "password")
    done = service.act(flow, "password", {"password": NEW}).json
    assert done["status"] == "completed"


def test_a_revoked_access_token_begins_nothing(service, person):
    """Neither a flow nor a grant, nor an operator, though its session goes on."""
    tokens = signed_in(service, person)
    assert service.oauth("revoke", token=tokens["access_token"]).status_code == 200
    for refused in (step_up(service, tokens), enrollment(service, tokens, "enroll:totp")):
        assert (refused.status_code, refused.json["code"]) == (404, "session_not_found")
    with service.container.store.transaction() as tx:
        token, _ = service.container.operators.break_glass.bootstrap(tx)
    body = {"token": token, "access_token": tokens["access_token"]}
    refused = service.call("POST", "/v1/operators/bootstrap", body)
    assert (refused.status_code, refused.json["code"]) == (403, "insufficient_user_authentication")
    again = refresh(service, tokens).json
    assert step_up(service, again).status_code == 201


def test_an_expired_access_token_begins_nothing(service, person):
    """Five minutes, to the second."""
    tokens = signed_in(service, person)
    later(service, seconds=300 - 31)
    assert step_up(service, tokens).status_code == 404


def test_a_flow_ends_with_the_session_it_was_begun_in(service, person):
    """Signed out meanwhile, it verifies nothing any more."""
    tokens = signed_in(service, person)
    flow = step_up(service, tokens, max_age=0)
    later(service, seconds=1)
    flow = step_up(service, tokens, max_age=0).json
    service.act(flow, "password", {"password": PASSWORD})
    path = f"/v1/subjects/{person.id}/sessions"
    assert service.call("DELETE", path).status_code == 204
    answer = service.act(flow, "totp", {"code": service.code(person)})
    assert (answer.status_code, answer.json["code"]) == (404, "session_not_found")


def test_a_flow_ends_with_the_access_token_it_was_begun_with(service, person):
    """One that is revoked meanwhile and has expired since ends what it began, and no more."""
    tokens = signed_in(service, person)
    flow = step_up(service, tokens, max_age=0).json
    assert service.oauth("revoke", token=tokens["access_token"]).status_code == 200
    later(service, seconds=290)
    with service.container.store.transaction() as tx:
        service.container.tokens.drop_expired(tx, service.clock.now())
    answer = service.act(flow, "password", {"password": PASSWORD})
    assert (answer.status_code, answer.json["code"]) == (404, "session_not_found")
    assert refresh(service, tokens).status_code == 200


@pytest.mark.parametrize("kind", ["step_up", "enrollment"])
def test_a_session_id_proves_nothing(service, person, kind):
    """It is refused by name, alone and beside an access token."""
    tokens = signed_in(service, person)
    (session,) = listed(service, person)
    act = {"act": "enroll:totp"} if kind == "enrollment" else {}
    for more in ({}, {"access_token": tokens["access_token"]}):
        refused = service.begin(None, kind, session=session, **act, **more)
        assert refused.status_code == 422
        assert refused.json["errors"][0]["pointer"] == "/session"
        assert "access_token" in refused.json["errors"][0]["detail"]


def test_a_step_up_replaces_at_the_exchange(service, person):
    """Until then the old session goes on and the new one is nowhere; afterwards it is over."""
    tokens = signed_in(service, person)
    before = listed(service, person)
    done = step_up(service, tokens).json
    assert listed(service, person) == before
    assert active(service, tokens) == (True, True)
    raised = service.exchange(done["completion_code"]).json
    assert active(service, raised) == (True, True)
    assert active(service, tokens) == (False, False)
    assert len(listed(service, person)) == 1
    assert listed(service, person) != before


def test_a_code_that_is_lost_signs_nobody_out(service, person):
    """After its minute it gives nothing, and the old session is where it was."""
    tokens = signed_in(service, person)
    done = step_up(service, tokens).json
    later(service, seconds=60)
    assert service.exchange(done["completion_code"]).json["error"] == "invalid_grant"
    assert active(service, tokens)[1] is True
    assert refresh(service, tokens).status_code == 200
    assert len(listed(service, person)) == 1


def test_of_two_step_ups_one_replaces(service, person):
    """The second finds the session that it was to replace ended."""
    tokens = signed_in(service, person)
    codes = [step_up(service, tokens).json["completion_code"] for _ in range(2)]
    raised = service.exchange(codes[1])
    assert raised.status_code == 200
    assert service.exchange(codes[0]).json["error"] == "invalid_grant"
    assert len(listed(service, person)) == 1
    assert active(service, raised.json) == (True, True)


def test_a_code_gives_nothing_once_its_person_changed_the_password(service, person):
    """What was completed and not yet exchanged ends with the other sessions."""
    mine = signed_in(service, person)
    waiting = service.login(person)["completion_code"]
    grant = enrollment(service, mine, "enroll:password").json["grant"]
    assert service.enroll(person, "password", password=NEW, grant=grant).status_code == 201
    assert service.exchange(waiting).json["error"] == "invalid_grant"


def test_a_grant_and_an_enrollment_outlive_a_step_up(service, person):
    """The session that took the place of the one that earned them stands for it."""
    tokens = signed_in(service, person)
    grant = enrollment(service, tokens, "enroll:totp").json["grant"]
    raised = service.exchange(step_up(service, tokens).json["completion_code"]).json
    added = service.enroll(person, "totp", grant=grant)
    assert added.status_code == 201, added.json
    again = service.exchange(step_up(service, raised).json["completion_code"]).json
    person.secret = added.json["secret"]
    path = f"/v1/subjects/{person.id}/authenticators/{added.json['id']}/confirm"
    assert service.call("POST", path, {"code": service.code(person)}).status_code == 200
    assert active(service, again) == (True, True)


def test_a_withdrawn_consent_signs_nobody_out(service):
    """Without a face nothing ends; what it gave counts for nothing anyway."""
    consent = {"version": "1", "text_hash": "sha256:00", "locale": "en", "channel": "web"}
    person = service.register(consents=[{"purpose": "face", **consent}])
    tokens = signed_in(service, person)
    path = f"/v1/subjects/{person.id}/consents/face"
    assert service.call("DELETE", path).status_code == 204
    assert active(service, tokens) == (True, True)


@pytest.mark.parametrize("actor", ["policy", "ledger", "op"])
def test_a_suspension_ends_access_whoever_suspends(service, person, actor):
    """By a client, the policy or a repeated act: what ends hangs on the suspension alone."""
    tokens = signed_in(service, person)
    with service.container.store.transaction() as tx:
        assert service.container.suspensions.suspend(
            tx, UUID(person.id), capability="login", reason="fraud", actor=actor
        )
    assert active(service, tokens) == (False, False)
    assert not listed(service, person)
    with service.container.store.transaction() as tx:
        service.container.suspensions.lift(tx, UUID(person.id), "login", "op")
    assert active(service, tokens) == (False, False)


def test_a_grant_falls_with_the_session_and_not_with_one_access_token(service, person):
    """Whoever wants it ended revokes the refresh token, as the docs say."""
    tokens = signed_in(service, person)
    first, second = (enrollment(service, tokens, "enroll:totp").json["grant"] for _ in range(2))
    assert service.oauth("revoke", token=tokens["access_token"]).status_code == 200
    assert service.enroll(person, "totp", grant=first).status_code == 201
    assert service.oauth("revoke", token=tokens["refresh_token"]).status_code == 200
    refused = service.enroll(person, "totp", grant=second)
    assert (refused.status_code, refused.json["code"]) == (403, "grant_invalid")
