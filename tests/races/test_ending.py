"""What ends access against what gives it, twenty at once: nothing outlives what ended it."""

from sqlalchemy import text

from service.domain.assurance import Acr
from tests.functional.conftest import PASSWORD
from tests.functional.evidence import (
    NEW,
    acr,
    active,
    enrollment,
    later,
    refresh,
    signed_in,
    step_up,
)
from tests.functional.test_evidence import authenticator
from tests.functional.test_evidence_sessions import listed
from tests.races.test_once import AT_ONCE, poster, statuses, together

HALF = AT_ONCE // 2


def exchanging(service, codes):
    """Return acts that exchange codes."""
    return [lambda code=code: service.exchange(code) for code in codes]


def ended(service, reason):
    """Count the sessions that ended for a reason."""
    query = text("SELECT data FROM audit_leaf WHERE kind = 'session.ended'")
    with service.container.store.transaction(read=True) as tx:
        return sum(reason in str(row.data) for row in tx.execute(query))


def test_a_raised_session_is_replaced_once(service):
    """One code exchanged by twenty: one gets tokens, and the old session ends once."""
    person = service.register()
    tokens = signed_in(service, person)
    code = step_up(service, tokens).json["completion_code"]
    answers = together(exchanging(service, [code] * AT_ONCE))
    assert statuses(answers) == {200: 1, 400: AT_ONCE - 1}
    assert ended(service, "replaced") == 1
    assert active(service, tokens) == (False, False)


def test_of_twenty_step_ups_one_replaces(service):
    """Each has a code of its own; whichever is exchanged first, the others give nothing."""
    person = service.register()
    tokens = signed_in(service, person)
    codes = [step_up(service, tokens).json["completion_code"] for _ in range(AT_ONCE)]
    answers = together(exchanging(service, codes))
    assert statuses(answers) == {200: 1, 400: AT_ONCE - 1}
    assert ended(service, "replaced") == 1
    assert len(listed(service, person)) == 1
    (winner,) = [answer.json for answer in answers if answer.status_code == 200]
    assert active(service, winner) == (True, True)


def test_no_exchange_nor_refresh_outlives_a_changed_password(service):
    """Codes and refresh tokens of other sessions race the change: afterwards all are over."""
    person = service.register()
    others = [signed_in(service, person) for _ in range(HALF)]
    mine = signed_in(service, person)
    grant = enrollment(service, mine, "enroll:password").json["grant"]
    later(service, seconds=31)
    codes = [service.login(person)["completion_code"]]
    codes += [step_up(service, refresh(service, mine).json).json["completion_code"]]
    path = f"/v1/subjects/{person.id}/authenticators"
    change = poster(service, path, {"type": "password", "password": NEW}, Grant=grant)
    acts = [lambda item=item: refresh(service, item) for item in others]
    answers = together([*acts, change, *exchanging(service, codes * 4)])
    assert set(statuses(answers)) <= {200, 201, 400}, statuses(answers)
    held = [answer.json for answer in answers[:HALF] if answer.status_code == 200]
    for item in others + held:
        assert active(service, item)[1] is False
    assert answers[HALF].status_code == 201, answers[HALF].json
    assert len(listed(service, person)) == 1


def test_no_login_outlives_the_revocation_of_its_factor(service):
    """Flows that end with the code race the revocation of its generator: none is left at AAL2."""
    person = service.register()
    mine = signed_in(service, person)
    grant = enrollment(service, mine, "revoke:authenticator").json["grant"]
    later(service, seconds=31)
    flows = [service.begin().json for _ in range(3)]
    for flow in flows:
        assert service.act(flow, "password", {"password": PASSWORD}).status_code == 200
    path = f"/v1/subjects/{person.id}/authenticators/{authenticator(service, person, 'totp')}"
    client = service.app.test_client()
    headers = {"Authorization": f"Bearer {service.bearer}", "Grant": grant}
    acts = [
        poster(
            service,
            f"/v1/flows/{flow['id']}/actions/totp",
            {"code": service.code(person, number - 1)},
            Flow_Token=flow["flow_token"],
        )
        for number, flow in enumerate(flows)
    ]
    answers = together([*acts, lambda: client.delete(path, headers=headers)])
    assert answers[-1].status_code == 204, answers[-1].json
    assert set(statuses(answers)) <= {200, 204, 409, 422, 429}, statuses(answers)
    codes = [answer.json.get("completion_code") for answer in answers[:-1]]
    for answer in (service.exchange(code) for code in codes if code):
        assert answer.status_code == 400
    assert acr(service, mine) == Acr.AAL1.urn


def test_refresh_reuse_and_revocation_end_a_session_for_good(service):
    """Whichever is first, no token of the session is in force afterwards."""
    tokens = signed_in(service, service.register())
    second = refresh(service, tokens).json
    service.clock.advance(seconds=11)
    acts = [lambda: refresh(service, tokens)] * 7
    acts += [lambda: refresh(service, second)] * 7
    acts += [lambda: service.oauth("revoke", token=second["refresh_token"])] * 6
    answers = together(acts)
    assert set(statuses(answers)) <= {200, 400}, statuses(answers)
    held = [answer.json for answer in answers if "refresh_token" in (answer.json or {})]
    for item in [tokens, second, *held]:
        assert active(service, item) == (False, False)


def test_twenty_sign_outs_end_each_session_once(service):
    """Beside exchanges and refreshes: what they answer is over, and each end is told once."""
    person = service.register()
    held = [signed_in(service, person) for _ in range(4)]
    code = service.login(person)["completion_code"]
    client = service.app.test_client
    headers = {"Authorization": f"Bearer {service.bearer}"}
    path = f"/v1/subjects/{person.id}/sessions"
    acts = [lambda: client().delete(path, headers=headers)] * HALF
    acts += [lambda item=item: refresh(service, item) for item in held]
    answers = together([*acts, *exchanging(service, [code] * 6)])
    assert set(statuses(answers)) <= {200, 204, 400}, statuses(answers)
    assert listed(service, person) == set()
    assert ended(service, "ended_by_client") == 5
