"""Behavior outside the flow: scored in a session, imported, reset."""

from uuid import UUID

import pytest

from service.audit.store import Leaf
from service.signals.behavior.actions.api import BY_CLIENT, OF_SUBJECT
from service.signals.behavior.store import ProfileRow
from tests.functional.behaving import (
    AGREED,
    about,
    behave,
    grant,
    learned,
    settle,
    stored,
    typed,
)
from tests.functional.conftest import PASSWORD
from tests.typists import typists, wire


@pytest.fixture(scope="module")
def people():
    return typists(6)


def test_the_score_of_a_running_session_changes_nothing(service, people):
    """It tells nats, band and reasons; without profile or consent it tells the same nothing."""
    person, other = service.register(consents=AGREED), service.register("bob")
    settle(service, person, people[0][:8])
    before = stored(service)
    found = behave(service, person, rest="/score", body={"behavior": wire(people[1][0])})
    assert found.status_code == 200
    assert (found.json["samples"], found.json["replayed"]) == (8, False)
    assert found.json["band"] in {"low", "elevated", "high"}
    shares = [item["contribution"] for item in found.json["signals"]["keystroke"]["reasons"]]
    assert sum(shares) == pytest.approx(found.json["llr"], abs=0.05 * (len(shares) + 1))
    assert stored(service) == before
    third = service.register("carol", consents=AGREED)
    nothing = [
        behave(service, one, rest="/score", body={"behavior": wire(people[0][0])}).json
        for one in (other, third)
    ]
    assert nothing[0] == nothing[1]
    assert (nothing[0]["llr"], nothing[0]["samples"], nothing[0]["band"]) == (0, 0, "low")


def test_the_routes_take_their_scope_and_serve_their_segments(service, people):
    """Another segment's or an unknown subject is not there; a scope too few is refused."""
    person = service.register(consents=AGREED)
    body = {"behavior": wire(people[0][0])}
    strange = type(person)("0198c0de-0000-7000-8000-000000000000", "x")
    for bearer, who, status in (
        (service.access(service.new_client(segments=("bank",))), person, 404),
        (service.access(service.new_client(scopes=("flows:write",))), person, 403),
        (service.bearer, strange, 404),
    ):
        for method, rest, sent in (
            ("POST", "/score", body),
            ("POST", "/samples", {"samples": [body["behavior"]]}),
            ("DELETE", "", None),
        ):
            answer = behave(service, who, method, rest, sent, bearer=bearer)
            assert answer.status_code == status, (rest, answer.json)


def test_samples_are_imported_into_an_empty_profile_only(service, people):
    """Then a grant at AAL2 is needed; what is unfit or comes twice is told by its place."""
    person = service.register(consents=AGREED)
    rows = [wire(row) for row in people[0][:6]]
    pasted = wire(people[0][6], flags={"paste": True})
    first = behave(service, person, rest="/samples", body={"samples": [*rows, pasted, rows[0]]})
    assert first.status_code == 200, first.json
    assert (first.json["accepted"], first.json["total"]) == (6, 6)
    assert first.json["refused"] == [
        {"index": 6, "code": "pasted"},
        {"index": 7, "code": "behavior_replayed"},
    ]
    more = {"samples": [wire(people[0][10])]}
    service.login(person)
    service.clock.advance(seconds=31)
    service.bearer = service.access()
    refused = behave(service, person, rest="/samples", body=more)
    assert (refused.status_code, refused.json["code"]) == (403, "grant_required")
    assert learned(service, person) == 6
    assert "enrollment flow" in refused.json["detail"]
    allowed = behave(service, person, rest="/samples", body=more, Grant=grant(service, person))
    assert allowed.json["total"] == 7
    kept = [(one["accepted"], one["total"], one["granted"]) for one in imports(service)]
    assert kept == [(6, 6, False), (1, 7, True)]
    captured = {"samples": [wire(people[0][11], "00ff")]}
    bad = behave(service, person, rest="/samples", body=captured)
    assert bad.json["errors"][0]["pointer"] == "/samples/0/capture_id"


def test_no_score_gives_a_request_back(service, people):
    """Sixty an hour of one client and 300 a day of all, whatever the scores; no login is barred."""
    person = service.register(consents=AGREED)
    settle(service, person, people[0][:12])
    path = f"/v1/subjects/{person.id}/behavior/score"
    pasted = {"behavior": wire(people[0][30], flags={"paste": True})}
    kinds = (
        {"behavior": wire(people[0][20])},
        {"behavior": wire(3 * people[0][13])},
        pasted,
        {"behavior": wire(people[1][3])},
    )

    def burst(bearer):
        answers = [service.call("POST", path, kinds[n % 4], bearer=bearer) for n in range(70)]
        taken = [answer for answer in answers if answer.status_code == 200]
        assert {answer.status_code for answer in answers} == {200, 429}
        assert {answer.status_code for answer in answers[len(taken) :]} == {429}
        last = answers[-1]
        assert last.json["code"] == "too_many_attempts"
        assert int(last.headers["Retry-After"]) >= 3600
        return len(taken)

    assert burst(service.bearer) == BY_CLIENT.most == 60
    others = [service.access(service.new_client(name=f"c{n}")) for n in range(5)]
    assert sum(map(burst, others[:4])) == OF_SUBJECT.most - 60
    full = service.call("POST", path, pasted, bearer=others[4])
    assert (full.status_code, full.headers["Retry-After"]) == (429, str(24 * 3600))
    settle(service, person, people[0][12:13])
    other = service.register("bob", consents=AGREED)
    path_of_another = f"/v1/subjects/{other.id}/behavior/score"
    assert service.call("POST", path_of_another, pasted).status_code == 200
    service.clock.advance(hours=1)
    service.bearer = service.access()
    full = service.call("POST", path, pasted)
    assert full.status_code == 429
    service.clock.advance(hours=23)
    service.bearer = service.access()
    assert service.call("POST", path, pasted).status_code == 200


def test_a_band_is_all_without_the_scope(service, people):
    """Neither values nor samples nor the length of the text are told without risk:read."""
    person = service.register(consents=AGREED)
    settle(service, person, people[0][:12])
    client = service.new_client(name="plain", scopes=("behavior:read",))
    bearer = service.access(client)
    short = wire(people[0][20]) | {
        "keystroke": {"field": "password", "keys": wire(people[0][20])["keystroke"]["keys"][:9]}
    }
    for sample in (wire(people[0][20]), short, wire(people[1][4])):
        answer = behave(service, person, rest="/score", body={"behavior": sample}, bearer=bearer)
        assert set(answer.json) == {"band"}, answer.json
    whole = behave(service, person, rest="/score", body={"behavior": wire(people[1][4])}).json
    numbers = [
        whole["llr"],
        *(item["contribution"] for part in whole["signals"].values() for item in part["reasons"]),
    ]
    assert all(round(number, 1) == number for number in numbers)


def test_a_first_import_is_of_the_client_that_registered_before_any_login(service, people):
    """Another client's, a day later, and after a changed password it takes a grant at AAL2."""
    body = {"samples": [wire(row) for row in people[0][:2]]}
    person = service.register(consents=AGREED)
    path = f"/v1/subjects/{person.id}/behavior/samples"
    other = service.access(service.new_client(name="other"))
    refused = service.call("POST", path, body, bearer=other)
    assert (refused.status_code, refused.json["code"]) == (403, "grant_required")
    assert stored(service) == []
    service.clock.advance(hours=25)
    service.bearer = service.access()
    assert service.call("POST", path, body).json["code"] == "grant_required"
    bob = service.register("bob", consents=AGREED)
    assert behave(service, bob, rest="/samples", body=body).json["accepted"] == 2
    settle(service, bob, people[0][2:3])
    token = service.exchange(service.login(bob)["completion_code"]).json["access_token"]
    wanted = {"access_token": token, "act": "enroll:password"}
    allowed = service.begin(None, "enrollment", **wanted).json["grant"]
    changed = service.enroll(bob, "password", password="a wholly other phrase", grant=allowed)
    assert changed.status_code == 201
    assert stored(service) == []
    refused = behave(service, bob, rest="/samples", body=body)
    assert (refused.status_code, refused.json["code"]) == (403, "grant_required")
    assert stored(service) == []


def imports(service):
    """Return what the audit log holds of imports, in their order."""
    with service.container.store.transaction(read=True) as tx:
        found = tx.query(Leaf).filter(Leaf.kind == "behavior.imported").order_by(Leaf.id)
        return [leaf.data for leaf in found]


def test_a_profile_is_not_changed_where_aal2_is_out_of_reach(service, people):
    """With a password alone there is no AAL2 grant; without consent nothing is taken."""
    answer = service.call(
        "POST",
        "/v1/subjects",
        {"identifiers": {"username": "dora"}, "password": PASSWORD, "consents": AGREED},
    ).json
    path = f"/v1/subjects/{answer['id']}/behavior/samples"
    body = {"samples": [wire(people[0][0])]}
    assert service.call("POST", path, body).json["accepted"] == 1
    again = service.call("POST", path, {"samples": [wire(people[0][1])]})
    assert (again.status_code, again.json["code"]) == (403, "aal2_required")
    person = service.register("bob")
    assert behave(service, person, rest="/samples", body=body).json == {
        "accepted": 0,
        "total": 0,
        "refused": [],
    }
    bare = service.call(
        "POST", "/v1/subjects", {"identifiers": {"username": "eve"}, "consents": AGREED}
    ).json
    none = service.call("POST", f"/v1/subjects/{bare['id']}/behavior/samples", body)
    assert (none.status_code, none.json["code"]) == (409, "no_password")


def test_a_profile_is_reset_by_its_person_with_a_grant(service, people):
    """A scope alone does not after the first login; the log tells of it."""
    person = service.register(consents=AGREED)
    settle(service, person, people[0][:2])
    refused = behave(service, person, "DELETE").json
    assert refused["code"] == "grant_required"
    assert refused["detail"].endswith("a grant for change:behavior from an enrollment flow.")
    assert len(stored(service)) == 1
    assert behave(service, person, "DELETE", Grant=grant(service, person)).status_code == 204
    assert stored(service) == []


def test_a_profile_that_does_not_open_is_unavailable_and_mended_by_a_login(service, people):
    """503 rather than a score of nothing; the next login at AAL2 begins it anew."""
    person = service.register(consents=AGREED)
    settle(service, person, people[0][:6])
    with service.container.store.engine.begin() as connection:
        connection.execute(ProfileRow.__table__.update().values(id=UUID(int=9)))
    body = {"behavior": wire(people[0][9])}
    answer = behave(service, person, rest="/score", body=body)
    assert (answer.status_code, answer.json["code"]) == (503, "profile_unreadable")
    assert answer.headers["Retry-After"]
    _, after = typed(service, people[0][10])
    assert about(after.json, "profile_unreadable")["contribution"] == -6
    settle(service, person, people[0][11:12])
    assert behave(service, person, rest="/score", body=body).json["samples"] == 1
