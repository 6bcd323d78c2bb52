"""Evidence ages, sessions end and counters count: what a stolen session or an old one is worth."""

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
from tests.functional.policing import changed, feel, in_force

WRONG = "not the right pass phrase"


def finished(service, person, flow, code=None):
    """Show password and code in a flow that asks for both."""
    service.act(flow, "password", {"password": PASSWORD})
    done = service.act(flow, "totp", {"code": code or service.code(person)})
    assert done.status_code == 200, done.json
    return done.json


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
