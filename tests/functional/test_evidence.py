"""Evidence ages, sessions end and counters count: what a stolen session or an old one is worth."""

from uuid import UUID

import pytest

from service.domain.assurance import Acr
from tests.functional.conftest import PASSWORD
from tests.functional.policing import changed, feel, in_force

WRONG = "not the right pass phrase"
NEW = "a wholly new pass phrase"


@pytest.fixture
def person(service):
    """Somebody with a password, TOTP and recovery codes."""
    return service.register()


def signed_in(service, person):
    """Return the tokens of a fresh session, and leave its code's step behind."""
    tokens = service.exchange(service.login(person)["completion_code"]).json
    later(service, seconds=31)
    return tokens


def later(service, **amount):
    """Let time pass; the client's own token is renewed."""
    service.clock.advance(**amount)
    service.bearer = service.access()


def refresh(service, tokens):
    """Renew tokens."""
    return service.oauth("token", grant_type="refresh_token", refresh_token=tokens["refresh_token"])


def active(service, tokens):
    """Tell whether an access token and a refresh token are in force."""
    return tuple(
        service.oauth("introspect", token=tokens[name]).json["active"]
        for name in ("access_token", "refresh_token")
    )


def acr(service, tokens):
    """Return the level that introspection tells."""
    return service.oauth("introspect", token=tokens["refresh_token"]).json.get("acr")


def step_up(service, tokens, **more):
    """Begin a step-up."""
    return service.begin(None, "step_up", access_token=tokens["access_token"], **more)


def enrollment(service, tokens, act):
    """Begin an enrollment."""
    return service.begin(None, "enrollment", access_token=tokens["access_token"], act=act)


def finished(service, person, flow, code=None):
    """Show password and code in a flow that asks for both."""
    service.act(flow, "password", {"password": PASSWORD})
    done = service.act(flow, "totp", {"code": code or service.code(person)})
    assert done.status_code == 200, done.json
    return done.json


def listed(service, person):
    """Return the ids of the sessions in force."""
    answer = service.call("GET", f"/v1/subjects/{person.id}/sessions")
    return {item["id"] for item in answer.json["items"]}


def authenticator(service, person, kind):
    """Return the id of what is active of a type."""
    path = f"/v1/subjects/{person.id}/authenticators"
    items = service.call("GET", path).json["items"]
    return next(item["id"] for item in items if item["type"] == kind)


def test_one_session_buys_no_guesses(service, person):
    """Flows that a session satisfies by itself leave the counters and give no device token."""
    feel(service)
    tokens, found = signed_in(service, person), []
    for _ in range(7):
        for flow in (step_up(service, tokens), enrollment(service, tokens, "enroll:totp")):
            assert flow.json["status"] == "completed"
            assert "device_token" not in flow.json
        flow = step_up(service, tokens, max_age=0).json
        found.append(service.act(flow, "password", {"password": WRONG}).status_code)
    assert found == [422] * 5 + [429] * 2


def test_a_password_buys_no_guesses_at_codes(service, person):
    """A login at AAL1 forgets failures of the password alone."""
    in_force(service, changed(login={"acr": Acr.AAL1.urn, "layers": [["password"]]}))
    feel(service)
    found = []
    for _ in range(7):
        done = service.act(service.begin().json, "password", {"password": PASSWORD})
        if done.status_code == 429:
            break
        tokens = service.exchange(done.json["completion_code"]).json
        flow = step_up(service, tokens, acr_values=Acr.AAL2.urn).json
        found.append(service.act(flow, "totp", {"code": "000000"}).status_code)
    assert found == [422] * 5


def test_a_password_beside_evidence_of_before_buys_no_guesses(service, person):
    """A step-up that only the password was asked for forgets no wrong code, nor knows a device."""
    feel(service)
    flow = service.begin().json
    service.act(flow, "password", {"password": PASSWORD})
    service.clock.advance(seconds=60)
    done = service.act(flow, "totp", {"code": service.code(person)}).json
    tokens = service.exchange(done["completion_code"]).json
    service.clock.advance(seconds=10)
    found = []
    for _ in range(7):
        flow = step_up(service, tokens, max_age=0).json
        if service.act(flow, "password", {"password": PASSWORD}).status_code != 200:
            break
        found.append(service.act(flow, "totp", {"code": "000000"}).status_code)
        flow = step_up(service, tokens, max_age=60).json
        assert list(flow["actions"]) == ["password"]
        done = service.act(flow, "password", {"password": PASSWORD}).json
        if "completion_code" in done:
            assert "device_token" not in done
    assert found == [422] * 5


def test_a_deferred_step_up_keeps_nothing_of_what_verified(service, person):
    """Under PSD2 a fresh code beside the session's password costs no attempt for ever."""
    in_force(service, changed(regime="psd2", step_up={"acr": Acr.AAL2.urn}))
    tokens = signed_in(service, person)
    with service.container.store.transaction() as tx:
        bucket = service.container.throttling.bucket(tx, f"subject:{person.id}")
    for _ in range(3):
        later(service, seconds=60)
        tokens = refresh(service, tokens).json
        flow = step_up(service, tokens, max_age=30).json
        finished(service, person, flow)
    assert counts(service, bucket) == (0, 0, 0)


def counts(service, bucket):
    """Return knowledge, other and total of the lane of strangers."""
    from sqlalchemy import text

    query = text("SELECT knowledge, other, total FROM throttle WHERE bucket = :b")
    with service.container.store.transaction(read=True) as tx:
        return tuple(tx.execute(query, {"b": bucket}).one())


def test_a_fresh_login_forgets_failures(service, person):
    """Password and code together do, as before, and renew the device token."""
    for _ in range(3):
        service.act(service.begin().json, "password", {"password": WRONG})
    done = service.login(person)
    assert done["device_token"]
    with service.container.store.transaction() as tx:
        bucket = service.container.throttling.bucket(tx, f"subject:{person.id}")
    assert counts(service, bucket) == (0, 0, 0)


def test_evidence_of_yesterday_steps_nothing_up(service, person):
    """On the next day both factors are asked for again; AAL1 evidence counts for AAL1."""
    in_force(service, changed(login={"acr": Acr.AAL1.urn, "layers": [["password"]]}))
    flow = service.begin().json
    done = service.act(flow, "password", {"password": PASSWORD}).json
    tokens = service.exchange(done["completion_code"]).json
    later(service, hours=24, seconds=1)
    tokens = refresh(service, tokens).json
    flow = step_up(service, tokens, acr_values=Acr.AAL2.urn).json
    assert flow["status"] == "pending"
    assert "password" in flow["actions"]
    service.act(flow, "totp", {"code": service.code(person)})
    asked = service.call("GET", f"/v1/flows/{flow['id']}", Flow_Token=flow["flow_token"]).json
    assert next(iter(asked["actions"])) == "password"


def test_no_chain_of_step_ups_outlives_its_evidence(service, person):
    """Step-ups on the evidence of the first login end with it, a day after it was given."""
    tokens = signed_in(service, person)
    for _ in range(30):
        later(service, minutes=50)
        renewed = refresh(service, tokens)
        if renewed.status_code != 200:
            break
        flow = step_up(service, renewed.json).json
        assert flow["status"] == "completed"
        tokens = service.exchange(flow["completion_code"]).json
    hours = (service.clock.now() - service.container.clock.now()).total_seconds()
    assert hours == 0
    assert active(service, tokens) == (False, False)
    from tests.functional.conftest import START

    assert (service.clock.now() - START).total_seconds() < 25 * 3600


def test_an_access_token_does_not_outlive_its_session(service, person):
    """Whoever checks it alone learns its end, which is no later than the session's."""
    tokens = signed_in(service, person)
    for _ in range(28):
        service.clock.advance(minutes=51)
        tokens = refresh(service, tokens).json
    assert tokens["expires_in"] == 300
    service.clock.advance(minutes=10)
    tokens = refresh(service, tokens).json
    assert tokens["expires_in"] < 300, tokens


def test_one_more_code_generator_ends_no_session(service, person):
    """It takes the place of nothing: what others signed in with is as good as before."""
    other = signed_in(service, person)
    later(service, seconds=31)
    mine = signed_in(service, person)
    grant = enrollment(service, mine, "enroll:totp").json["grant"]
    later(service, seconds=31)
    service.enroll_totp(person, grant=grant)
    assert active(service, other) == active(service, mine) == (True, True)


@pytest.mark.parametrize("kind", ["password", "recovery_codes"])
def test_a_changed_authenticator_ends_the_other_sessions(service, person, kind):
    """The acting session goes on; the others end with refresh tokens, grants and device tokens."""
    done = service.login(person)
    other, stolen = service.exchange(done["completion_code"]).json, done["device_token"]
    later(service, seconds=31)
    elsewhere = enrollment(service, other, "enroll:password").json["grant"]
    done = service.login(person)
    mine, device = service.exchange(done["completion_code"]).json, done["device_token"]
    grant = enrollment(service, mine, f"enroll:{kind}").json["grant"]
    later(service, seconds=31)
    more = {"password": NEW} if kind == "password" else {}
    assert service.enroll(person, kind, grant=grant, **more).status_code == 201
    assert active(service, other) == (False, False)
    assert refresh(service, other).status_code == 400
    assert active(service, mine) == (True, True)
    assert refresh(service, mine).status_code == 200
    assert step_up(service, other).status_code == 404
    refused = service.enroll(person, "password", password=WRONG, grant=elsewhere)
    assert (refused.status_code, refused.json["code"]) == (403, "grant_invalid")
    assert recognized(service, person, stolen) is False
    assert recognized(service, person, device) is True


def recognized(service, person, token):
    """Tell whether a device token is still good for its subject."""
    with service.container.store.transaction(read=True) as tx:
        return service.container.devices.recognize(tx, token, UUID(person.id)) is not None


def test_a_revoked_authenticator_is_worth_nothing_at_once(service, person):
    """The acting session falls to what its password proves; the others end."""
    other, mine = signed_in(service, person), signed_in(service, person)
    grant = enrollment(service, mine, "revoke:authenticator").json["grant"]
    path = f"/v1/subjects/{person.id}/authenticators/{authenticator(service, person, 'totp')}"
    assert acr(service, mine) == Acr.AAL2.urn
    assert service.call("DELETE", path, Grant=grant).status_code == 204
    assert acr(service, mine) == Acr.AAL1.urn
    assert active(service, other) == (False, False)
    assert acr(service, refresh(service, mine).json) == Acr.AAL1.urn
    assert enrollment(service, mine, "enroll:totp").json["status"] == "pending"


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
        token, _ = service.container.operators.bootstrap(tx)
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
        assert service.container.accounts.suspend(tx, UUID(person.id), "login", "fraud", actor)
    assert active(service, tokens) == (False, False)
    assert not listed(service, person)
    with service.container.store.transaction() as tx:
        service.container.accounts.lift(tx, UUID(person.id), "login", "op")
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
