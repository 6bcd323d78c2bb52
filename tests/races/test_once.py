"""Twenty at once: exactly one wins."""

import threading

import pytest
from sqlalchemy import text

from service.throttling.model import Counter, Lane
from tests.functional.behaving import AGREED, learned, typed
from tests.functional.conftest import PASSWORD
from tests.functional.test_login_enrollment import BOTH, issued, offering, registered
from tests.typists import typists, wire

AT_ONCE = 20


def together(acts):
    """Run every act in a thread of its own, at the same moment; return what they answered."""
    barrier, answers = threading.Barrier(len(acts)), [None] * len(acts)

    def run(number):
        barrier.wait()
        answers[number] = acts[number]()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def poster(service, path, body, **headers):
    """Return a call of its own client, so that threads share nothing."""
    client = service.app.test_client()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named["Authorization"] = f"Bearer {service.bearer}"
    return lambda: client.post(path, json=body, headers=named)


def after_password(service, count):
    """Return flows in which the password has verified."""
    flows = [service.begin().json for _ in range(count)]
    for flow in flows:
        assert service.act(flow, "password", {"password": PASSWORD}).status_code == 200
    return flows


def statuses(answers):
    """Return how often each status came."""
    found = [answer.status_code for answer in answers]
    return {status: found.count(status) for status in set(found)}


def race(service, name, body):
    """Present the same thing in as many flows at once; nobody but the winner completes."""
    flows = after_password(service, AT_ONCE)
    acts = [
        poster(
            service, f"/v1/flows/{flow['id']}/actions/{name}", body, Flow_Token=flow["flow_token"]
        )
        for flow in flows
    ]
    answers = together(acts)
    found = statuses(answers)
    assert found.pop(200) == 1, found
    assert set(found) <= {422, 429}, [answer.json for answer in answers]


def test_a_totp_code_wins_once(service):
    """In twenty flows at once the same code completes one."""
    person = service.register()
    race(service, "totp", {"code": service.code(person)})


def test_a_recovery_code_wins_once(service):
    """In twenty flows at once the same code completes one."""
    person = service.register()
    race(service, "recovery_code", {"code": person.codes[0]})


def test_one_login_gives_each_grant_once_and_each_counts_once(service):
    """The same flow twenty times at once, then the same grant twenty times at once."""
    offering(service)
    subject = registered(service)
    flow = service.begin().json
    path, token = f"/v1/flows/{flow['id']}/actions/password", flow["flow_token"]
    act = poster(service, path, {"password": PASSWORD}, Flow_Token=token)
    answers = together([act] * AT_ONCE)
    (done,) = [answer.json for answer in answers if answer.status_code == 200]
    assert issued(service) == len(done["grants"]) == len(BOTH)
    assert service.exchange(done["completion_code"]).status_code == 200
    grant = done["grants"]["enroll:recovery_codes"]
    where = f"/v1/subjects/{subject}/authenticators"
    use = poster(service, where, {"type": "recovery_codes"}, Grant=grant)
    assert statuses(together([use] * AT_ONCE)) == {201: 1, 403: AT_ONCE - 1}


def test_one_flow_completes_once(service):
    """Twenty requests in one flow complete it once; the others find it moved, ended or used."""
    person = service.register()
    flow = after_password(service, 1)[0]
    path, code = f"/v1/flows/{flow['id']}/actions/totp", service.code(person)
    acts = [
        poster(service, path, {"code": code}, Flow_Token=flow["flow_token"]) for _ in range(AT_ONCE)
    ]
    found = statuses(together(acts))
    assert found.pop(200) == 1, found
    assert set(found) <= {409, 422, 429}


def test_a_completion_code_wins_once(service):
    """One exchange gets tokens."""
    code = service.login(service.register())["completion_code"]
    found = statuses(together([lambda: service.exchange(code)] * AT_ONCE))
    assert found == {200: 1, 400: AT_ONCE - 1}


def test_a_refresh_token_has_exactly_one_successor(service):
    """All that answer within the grace give the same successor."""
    code = service.login(service.register())["completion_code"]
    token = service.exchange(code).json["refresh_token"]

    def refresh():
        return service.oauth("token", grant_type="refresh_token", refresh_token=token)

    answers = together([refresh] * AT_ONCE)
    assert {answer.status_code for answer in answers} == {200}
    successors = {answer.json["refresh_token"] for answer in answers}
    assert len(successors) == 1
    after = service.oauth("token", grant_type="refresh_token", refresh_token=successors.pop())
    assert after.status_code == 200


def test_a_grant_wins_once(service):
    """Of twenty enrollments with one grant, one is let through."""
    person = service.register()
    tokens = service.exchange(service.login(person)["completion_code"]).json
    flow = service.begin(
        None, "enrollment", access_token=tokens["access_token"], act="enroll:recovery_codes"
    ).json
    path = f"/v1/subjects/{person.id}/authenticators"
    acts = [
        poster(service, path, {"type": "recovery_codes"}, Grant=flow["grant"])
        for _ in range(AT_ONCE)
    ]
    assert statuses(together(acts)) == {201: 1, 403: AT_ONCE - 1}


def test_an_identifier_is_taken_once(service):
    """Of twenty registrations of one name, one succeeds and nothing else is left."""
    body = {"identifiers": {"username": "alice"}}
    acts = [poster(service, "/v1/subjects", body) for _ in range(AT_ONCE)]
    found = statuses(together(acts))
    assert found == {201: 1, 409: AT_ONCE - 1}


def test_a_key_that_is_sent_twenty_times_acts_once(service):
    """One Idempotency-Key registers one subject; the others wait or get the same answer."""
    body = {"identifiers": {"username": "alice"}}
    acts = [poster(service, "/v1/subjects", body, Idempotency_Key="same") for _ in range(AT_ONCE)]
    answers = together(acts)
    assert set(statuses(answers)) <= {201, 409}
    ids = {answer.json["id"] for answer in answers if answer.status_code == 201}
    codes = {answer.json["code"] for answer in answers if answer.status_code == 409}
    assert len(ids) == 1
    assert codes <= {"request_in_flight"}


def guesses(service, flows, name, body):
    """Send one wrong answer in each flow at once; return how often each status came."""
    acts = [
        poster(
            service, f"/v1/flows/{flow['id']}/actions/{name}", body, Flow_Token=flow["flow_token"]
        )
        for flow in flows
    ]
    return statuses(together(acts))


def test_guesses_at_once_are_all_counted(service):
    """Of twenty wrong passwords at once, no more than the free five are compared."""
    service.register()
    flows = [service.begin().json for _ in range(AT_ONCE)]
    found = guesses(service, flows, "password", {"password": "wrong one"})
    assert found == {422: 5, 429: AT_ONCE - 5}


@pytest.mark.parametrize("name", ["totp", "recovery_code"])
def test_wrong_codes_at_once_are_all_counted(service, name):
    """A code is counted only once it has failed: of twenty at once five are compared."""
    person = service.register()
    wrong = "000000" if service.code(person) != "000000" else "111111"
    code = wrong if name == "totp" else "AAAA-AAAA-AAAA-AAAA"
    found = guesses(service, after_password(service, AT_ONCE), name, {"code": code})
    assert found == {422: 5, 429: AT_ONCE - 5}


def test_right_passwords_beside_a_code_hide_no_guess(service, monkeypatch):
    """The wait of a password that is being checked comes between the look and the count."""
    if service.container.store.engine.dialect.name == "sqlite":
        pytest.skip("one writer at a time: nothing comes between")
    person = service.register()
    wrong = "000000" if service.code(person) != "000000" else "111111"
    compared, kind = [], type(service.container.login._dependencies.factors["totp"])
    verify = kind.verify
    flows = after_password(service, 12)
    for _ in range(4):
        service.act(service.begin().json, "password", {"password": "wrong one"})

    def slowly(factor, *given):
        # Another begins a password, whose fifth place in a row makes the account wait.
        begun = service.container.throttling
        bucket = {}

        def reserve():
            with service.container.store.transaction() as tx:
                name = begun.bucket(tx, f"subject:{person.id}")
                bucket["kept"] = begun.reserve(tx, name, Lane.STRANGER, Counter.KNOWLEDGE)

        other = threading.Thread(target=reserve)
        other.start()
        other.join()
        compared.append(bucket.get("kept"))
        return verify(factor, *given)

    monkeypatch.setattr(kind, "verify", slowly)
    for flow in flows:
        service.act(flow, "totp", {"code": wrong})
        if compared and compared[-1] is not None:
            with service.container.store.transaction() as tx:
                service.container.throttling.release(tx, compared[-1])
    with service.container.store.transaction() as tx:
        counted = tx.execute(text("SELECT sum(other) FROM throttle")).scalar()
    assert 0 < len(compared) == counted <= 5


def test_an_approval_is_given_and_used_once(service):
    """Of twenty approvals at once one counts, and of twenty uses one."""
    from uuid import UUID

    from service.domain.caller import Caller
    from service.domain.errors import Conflict
    from service.operators.model import Role, scopes_of

    operators, database = service.container.operators, service.container.store
    scopes = scopes_of(["security_officer"])
    people = [UUID(service.register(name).id) for name in ("ada", "grace")]
    with database.transaction() as tx:
        for person in people:
            operators.break_glass.grant(tx, person, Role.SECURITY_OFFICER)
    one, other = (Caller(client=person, scopes=scopes, operator=person) for person in people)
    with database.transaction() as tx:
        asked = operators.request(
            tx, one, act="keys.destroy", target="kek factor 1", params={}, reason="planned"
        )
    number = UUID(asked["id"])

    def approve():
        with database.transaction() as tx:
            return operators.decide(tx, other, number, approve=True)

    def consume():
        with database.transaction() as tx:
            return operators.consume(
                tx, one, number=number, act="keys.destroy", target="kek factor 1"
            )

    for act in (approve, consume):
        done = together([lambda act=act: _outcome(act, Conflict) for _ in range(AT_ONCE)])
        assert done.count("done") == 1
        assert done.count("Conflict") == AT_ONCE - 1


def _outcome(act, refusal):
    try:
        act()
    except refusal as error:
        return type(error).__name__
    return "done"


def test_no_sample_is_lost_when_logins_complete_at_once(service):
    """Ten flows that complete together, each with a sample, teach one profile ten."""
    person = service.register(consents=AGREED)
    people = typists(1)
    flows = []
    for row in people[0][: AT_ONCE // 2]:
        flow, answer = typed(service, row)
        assert answer.status_code == 200
        flows.append(flow)
    acts = [
        poster(
            service,
            f"/v1/flows/{flow['id']}/actions/recovery_code",
            {"code": code},
            Flow_Token=flow["flow_token"],
        )
        for flow, code in zip(flows, person.codes, strict=False)
    ]
    answers = together(acts)
    assert statuses(answers) == {200: len(acts)}, [answer.json for answer in answers]
    assert learned(service, person) == len(acts) >= 8


def test_one_import_makes_a_profile(service):
    """Twenty into an empty profile at once: one is taken, the others need a grant."""
    person = service.register(consents=AGREED)
    samples = [{"samples": [wire(row)]} for row in typists(1)[0][:AT_ONCE]]
    path = f"/v1/subjects/{person.id}/behavior/samples"
    found = statuses(together([poster(service, path, body) for body in samples]))
    assert found.pop(200) == 1, found
    assert set(found) <= {403, 409}
    assert learned(service, person) == 1
