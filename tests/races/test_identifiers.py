"""Identifiers and codes at once: every outcome is one that some order would have given."""

import pytest
from sqlalchemy import select

from service.accounts.store.subjects import SubjectIndex
from tests.functional.conftest import PASSWORD
from tests.functional.test_identifiers import outbox, register, sent, signs_in
from tests.functional.test_unverified_email import MINE, allow, owner, sign_in
from tests.races.test_once import poster, statuses, together

AT_ONCE = 20


def path(subject, name="email"):
    """Return where codes are asked for and confirmed."""
    return f"/v1/subjects/{subject}/identifiers/{name}/verification"


def wrong(code, number):
    """Return one of many other codes."""
    return f"{(int(code) + 1 + number) % 100_000_000:08}"


def test_fifty_wrong_codes_at_once_are_five_guesses(service):
    """Whatever is sent at the same moment, five are compared; the rest hear that it is over."""
    person = register(service, email="ab@example.com").json["id"]
    code = sent(service, person)
    acts = [poster(service, path(person), {"code": wrong(code, number)}) for number in range(50)]
    found = statuses(together(acts))
    assert found == {422: 5, 410: 45}
    assert service.call("POST", path(person), {"code": code}).status_code == 410


def test_one_right_code_among_many_counts_once(service):
    """Twenty times the right one: verified once."""
    person = register(service, email="ab@example.com").json["id"]
    code = sent(service, person)
    found = statuses(together([poster(service, path(person), {"code": code})] * AT_ONCE))
    assert found == {200: 1, 410: AT_ONCE - 1}


def test_sending_and_confirming_at_once_is_never_an_error(service):
    """Two codes at once at most, whatever comes between; none is a 500."""
    person = register(service, email="ab@example.com").json["id"]
    code = sent(service, person)
    bodies = [{}, {"code": code}, {"code": wrong(code, 0)}, {}]
    acts = [poster(service, path(person), bodies[number % 4]) for number in range(40)]
    found = statuses(together(acts))
    assert set(found) <= {200, 410, 422, 429}
    assert len(outbox(service, "identifier.verification")) <= 2


def test_an_address_gets_no_more_mail_from_many(service):
    """Twenty subjects with one address ask at the same moment: two mails."""
    people = [register(service, email="ab@example.com").json["id"] for _ in range(AT_ONCE)]
    found = statuses(together([poster(service, path(person), {}) for person in people]))
    assert found == {200: 2, 429: AT_ONCE - 2}
    assert len(outbox(service, "identifier.verification")) == 2


def test_an_address_is_verified_by_one(service):
    """Several who have codes for it confirm at once: one owns it, the others have it no more."""
    people, codes = [], []
    for number, wait in enumerate((0, 30, 120, 0)):
        person = register(service, username=f"p{number}", email="a@x.example").json["id"]
        people.append(person)
        codes.append(sent(service, person))
        service.clock.advance(seconds=wait)
    acts = [
        poster(service, path(person), {"code": code})
        for person, code in zip(people, codes, strict=True)
    ]
    assert statuses(together(acts)) == {200: 1, 410: 3}
    views = [service.call("GET", f"/v1/subjects/{person}").json for person in people]
    assert sorted(view["verified"] for view in views) == [[], [], [], ["email"]]
    assert sum("email" in view["identifiers"] for view in views) == 1
    assert len(outbox(service, "identifier.lapsed")) == 3


@pytest.mark.parametrize("name", ["email", "phone", "username"])
def test_changes_at_once_leave_one_identifier(service, name):
    """Twenty changes, each to another: one is left, and only it leads to the person."""
    values = {
        "email": [f"a{number}@example.com" for number in range(AT_ONCE)],
        "phone": [f"+49309018{number:02}" for number in range(AT_ONCE)],
        "username": [f"name{number}" for number in range(AT_ONCE)],
    }[name]
    person = register(service, username="alice", email="zero@example.com").json["id"]
    patch = f"/v1/subjects/{person}"
    bearer = {"Authorization": f"Bearer {service.bearer}"}

    def changer(value):
        client = service.app.test_client()
        return lambda: client.patch(patch, json={"identifiers": {name: value}}, headers=bearer)

    assert statuses(together([changer(value) for value in values])) == {200: AT_ONCE}
    left = service.call("GET", patch).json["identifiers"][name]
    found = [
        value
        for value in values
        if service.call("POST", "/v1/subjects/lookup", {"identifier": value}).status_code == 200
    ]
    assert found == [left]


def test_a_change_and_a_confirmation_at_once_prove_only_what_was_sent_to(service):
    """Either the code was first and the proof went with the change, or it found nothing."""
    for number in range(10):
        mine, theirs = f"mine{number}@example.com", f"theirs{number}@example.com"
        person = register(service, username=f"n{number}", email=mine).json["id"]
        code = sent(service, person)
        client, bearer = service.app.test_client(), {"Authorization": f"Bearer {service.bearer}"}

        def change(client=client, bearer=bearer, person=person, theirs=theirs):
            body = {"identifiers": {"email": theirs}}
            return client.patch(f"/v1/subjects/{person}", json=body, headers=bearer)

        together([change, poster(service, path(person), {"code": code})])
        view = service.call("GET", f"/v1/subjects/{person}").json
        assert (view["identifiers"]["email"], view["verified"]) == (theirs, [])
        assert not signs_in(service, theirs)


def test_the_task_that_renews_never_carries_a_proof_over_to_another_address(service):
    """It and a change at once: the new address is not verified, whichever was first."""
    container = service.container
    for number in range(10):
        mine, theirs = f"mine{number}@example.com", f"theirs{number}@example.com"
        person = register(service, username=f"n{number}", email=mine).json["id"]
        body = {"code": sent(service, person)}
        assert service.call("POST", path(person), body).status_code == 200
        with container.store.transaction() as tx:
            for claim in tx.scalars(select(SubjectIndex)):
                claim.form = 1
        client, bearer = service.app.test_client(), {"Authorization": f"Bearer {service.bearer}"}

        def change(client=client, bearer=bearer, person=person, theirs=theirs):
            body = {"identifiers": {"email": theirs}}
            return client.patch(f"/v1/subjects/{person}", json=body, headers=bearer)

        def renew():
            with container.store.transaction() as tx:
                return container.accounts.renew(tx, container.clock.now())

        together([change, renew, renew])
        view = service.call("GET", f"/v1/subjects/{person}").json
        assert (view["identifiers"]["email"], view["verified"]) == (theirs, [])
        assert not signs_in(service, theirs)


def acting(service, flow):
    """Return the right password in a flow, by a client of its own."""
    path, token = f"/v1/flows/{flow['id']}/actions/password", flow["flow_token"]
    return poster(service, path, {"password": PASSWORD}, Flow_Token=token)


def test_claims_and_sign_ins_by_an_unverified_address_at_once(service):
    """Each sign-in came before every other claim and is its claimant's, or is refused."""
    allow(service)
    mine = register(service, username="mine", email=MINE).json["id"]
    flows = [service.begin(MINE).json for _ in range(AT_ONCE)]
    acts = [acting(service, flow) for flow in flows]
    for number in range(AT_ONCE // 2):
        body = {"identifiers": {"username": f"r{number}", "email": MINE}, "password": PASSWORD}
        acts.insert(2 * number, poster(service, "/v1/subjects", body))
    answers = together(acts)
    # More than five checks of one password at once wait for each other.
    assert set(statuses(answers)) <= {200, 201, 403, 429}
    done = [answer for answer in answers if answer.status_code == 200]
    assert {owner(service, answer) for answer in done} <= {mine}
    denied = {answer.json["code"] for answer in answers if answer.status_code == 403}
    assert denied <= {"identifier_moved"}
    assert sign_in(service).status_code == 422


def test_a_proof_and_sign_ins_by_an_unverified_address_at_once(service):
    """The claim of another had ended every such flow; who proves it is the one who signs in."""
    allow(service)
    mine = register(service, username="mine", email=MINE).json["id"]
    flows = [service.begin(MINE).json for _ in range(AT_ONCE)]
    theirs = register(service, username="theirs", email=MINE).json["id"]
    acts = [acting(service, flow) for flow in flows]
    acts.insert(AT_ONCE // 2, poster(service, path(theirs), {"code": sent(service, theirs)}))
    found = statuses(together(acts))
    assert (found.pop(200), set(found) <= {403, 429}) == (1, True)
    assert service.call("GET", f"/v1/subjects/{mine}/sessions").json["items"] == []
    assert owner(service, sign_in(service)) == theirs


def test_its_own_proof_and_sign_ins_by_an_address_at_once(service):
    """Whoever proves the address goes on signing in by it, before and after."""
    allow(service)
    mine = register(service, username="mine", email=MINE).json["id"]
    acts = [acting(service, service.begin(MINE).json) for _ in range(AT_ONCE)]
    acts.insert(AT_ONCE // 2, poster(service, path(mine), {"code": sent(service, mine)}))
    answers = together(acts)
    assert set(statuses(answers)) <= {200, 429}
    done = [answer for answer in answers if "completion_code" in answer.json]
    assert {owner(service, answer) for answer in done} == {mine}
