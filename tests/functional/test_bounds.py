"""Nobody owns or asks for more than the bounds say; who is not known is bounded like who is."""

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from service.domain.bounds import USUAL, Bounds
from service.domain.caller import Caller
from service.domain.errors import TooMany
from service.operators.model import Role, scopes_of
from service.policy.model import parser
from service.settings import load
from service.web.paging import PageRequest
from tests.functional.bounding import SMALL, refused, rows
from tests.functional.conftest import CONSENT
from tests.functional.policing import act, changed


@pytest.fixture
def settings(settings):
    """Bounds that a test can reach."""
    return settings.model_copy(update=SMALL)


def test_every_bound_is_a_setting_and_documented():
    """Named as in the environment; each has a default that is safe, and a line in the docs."""
    named = {f"LAMINA_{name.upper()}": str(value) for name, value in SMALL.items()}
    found = load(named | {"LAMINA_MODE": "development"})
    assert {name: getattr(found, name) for name in SMALL} == SMALL
    assert set(SMALL) == set(Bounds.model_fields)
    with open("docs/retention.md", encoding="utf-8") as file:  # noqa: PTH123 - one read
        told = file.read()
    for name, value in USUAL.model_dump().items():
        assert f"| `LAMINA_{name.upper()}` | {value:,} |" in told, name


def test_a_subject_has_few_authenticators_that_wait_and_they_lapse(service):
    """The fourth is refused until one is confirmed or an hour is over; a lapsed one is no more."""
    person = service.register()
    added = [service.enroll(person, "totp") for _ in range(3)]
    assert {answer.status_code for answer in added} == {201}
    refused(service.enroll(person, "totp"), "too_many_pending")
    # What needs no confirmation waits for none.
    assert service.enroll(person, "recovery_codes").status_code == 201
    service.clock.advance(minutes=61)
    service.bearer = service.access()
    late = f"/v1/subjects/{person.id}/authenticators/{added[0].json['id']}/confirm"
    answer = service.call("POST", late, {"code": "000000"})
    assert (answer.status_code, answer.json["code"]) == (409, "not_pending")
    assert service.enroll(person, "totp").status_code == 201
    service.container.jobs.run_due()
    statuses = [row["status"] for row in rows(service, person, "authenticators")]
    assert statuses.count("pending") == 1


def test_many_enrollments_at_once_do_not_pass_the_bound(service):
    """Twelve at once leave three that wait, on both databases."""
    person = service.register()

    def enroll(_):
        with service.app.test_client() as http:
            headers = {"Authorization": f"Bearer {service.bearer}"}
            path = f"/v1/subjects/{person.id}/authenticators"
            return http.post(path, json={"type": "totp"}, headers=headers).status_code

    with ThreadPoolExecutor(6) as pool:
        statuses = list(pool.map(enroll, range(12)))
    assert sorted(statuses) == [201] * 3 + [429] * 9


def test_the_same_consent_again_is_one_and_old_ones_are_few(service):
    """Identical: the row in force. Others by turns: so many that are over, and one in force."""
    person = service.register()
    path = f"/v1/subjects/{person.id}/consents"
    first = service.call("POST", path, CONSENT | {"purpose": "face"})
    for _ in range(5):
        again = service.call("POST", path, CONSENT | {"purpose": "face"})
        assert (again.status_code, again.json) == (201, first.json)
    assert len(rows(service, person, "consents")) == 1
    for number in range(9):
        service.clock.advance(seconds=1)
        body = CONSENT | {"purpose": "face", "version": str(number + 2)}
        assert service.call("POST", path, body).status_code == 201
    found = rows(service, person, "consents", limit=2)
    assert [item["version"] for item in found] == [str(number) for number in range(5, 11)]
    assert [item["version"] for item in found if not item["withdrawn_at"]] == ["10"]


def test_consents_in_force_are_few_and_one_that_is_withdrawn_makes_room(service):
    """Other purposes are refused; another version of one that is in force is not."""
    person = service.register()
    path = f"/v1/subjects/{person.id}/consents"
    for number in range(5):
        body = CONSENT | {"purpose": f"news{number}"}
        assert service.call("POST", path, body).status_code == 201
    more = CONSENT | {"purpose": "more"}
    refused(service.call("POST", path, more), "too_many_consents", 409)
    again = service.call("POST", path, CONSENT | {"purpose": "news0", "version": "2"})
    assert again.status_code == 201
    assert service.call("DELETE", f"{path}/news1").status_code == 204
    assert service.call("POST", path, more).status_code == 201
    refused(service.call("POST", path, CONSENT | {"purpose": "news1"}), "too_many_consents", 409)


def test_the_session_that_was_unused_longest_ends(service):
    """The fifth session ends the idlest of four; what was used lately stays."""
    person = service.register()
    tokens = []
    for number in range(4):
        service.clock.advance(seconds=31)
        tokens.append(service.exchange(service.login(person)["completion_code"]).json)
        if number == 3:
            used = service.oauth(
                "token", grant_type="refresh_token", refresh_token=tokens[0]["refresh_token"]
            )
            assert used.status_code == 200
    before = {row["id"] for row in rows(service, person, "sessions", limit=3)}
    assert len(before) == 4
    service.clock.advance(seconds=31)
    service.exchange(service.login(person)["completion_code"])
    after = {row["id"] for row in rows(service, person, "sessions", limit=3)}
    assert len(after) == 4
    assert len(before & after) == 3
    ended = service.oauth("introspect", token=tokens[1]["access_token"])
    assert ended.json == {"active": False}
    kept = service.oauth("introspect", token=used.json["access_token"])
    assert kept.json["active"] is True


def test_a_session_that_nobody_takes_up_displaces_none(service):
    """Codes that are thrown away sign nobody out; the one that is exchanged displaces one."""
    person = service.register()
    kept, codes = [], []
    for number in range(8):
        service.clock.advance(seconds=31)
        code = service.login(person)["completion_code"]
        if number < 4:
            kept.append(service.exchange(code).json)
        else:
            codes.append(code)

    def active():
        return [
            service.oauth("introspect", token=tokens["access_token"]).json["active"]
            for tokens in kept
        ]

    assert active() == [True] * 4
    assert service.exchange(codes[-1]).status_code == 200
    assert active() == [False, True, True, True]


def test_the_device_that_was_unused_longest_is_forgotten(service):
    """Of four devices the first is a stranger again; a known one that comes again is no new one."""
    person = service.register()
    tokens = []
    for _ in range(4):
        service.clock.advance(seconds=31)
        tokens.append(service.login(person)["device_token"])
    with service.container.store.transaction(read=True) as tx:
        known = [
            service.container.devices.recognize(tx, token, UUID(person.id)) is not None
            for token in tokens
        ]
    assert known == [False, True, True, True]


def test_drafts_are_bounded_and_can_be_deleted_but_not_what_was_in_force(service):
    """The third draft beside those in force is the last; a deleted one makes room."""
    (shipped,) = [item["version"] for item in service.call("GET", "/v1/policies").json["items"]]
    documents = [parser.read(changed() | {"name": f"draft-{number}"}) for number in range(4)]
    made = [act(service, "draft", document, "test")["version"] for document in documents[:3]]
    with pytest.raises(Exception, match="too_many_drafts"):
        act(service, "draft", documents[3], "test")
    act(service, "delete", made[0], "test")
    assert service.call("GET", f"/v1/policies/{made[0]}").status_code == 404
    act(service, "draft", documents[3], "test")
    for version in (made[1], made[2]):
        act(service, "validate", version, "test")
    act(service, "shadow", made[1], "test", on=True)
    act(service, "activate", made[2], "test")
    for version in (made[1], made[2], shipped):
        with pytest.raises(Exception, match="policy_in_use"):
            act(service, "delete", version, "test")
    with pytest.raises(Exception, match="policy_not_found"):
        act(service, "delete", made[0], "test")


def test_acts_that_nobody_decides_exports_and_jobs_are_bounded(service):
    """Two undecided acts of one operator, two exports of one person, three jobs of one caller."""
    container, person = service.container, service.register()
    roles = scopes_of(frozenset({Role.SECURITY_OFFICER.value}))
    for actor in (UUID(person.id), UUID(int=7)):
        caller = Caller(client=UUID(int=1), scopes=roles, operator=actor)
        with container.store.transaction() as tx:
            for number in range(2):
                container.operators.request(
                    tx,
                    caller,
                    act="keys.destroy",
                    target=f"kek x {number}",
                    params={},
                    reason="why",
                )
                service.clock.advance(seconds=20)
            with pytest.raises(TooMany, match="too_many_approvals") as full:
                container.operators.request(
                    tx, caller, act="keys.destroy", target="kek x 3", params={}, reason="why"
                )
            assert full.value.retry_after == 24 * 3600 - 40
    path = f"/v1/subjects/{person.id}/export"
    assert [service.call("POST", path).status_code for _ in range(2)] == [202, 202]
    service.clock.advance(seconds=60)
    full = service.call("POST", path)
    refused(full, "too_many_exports")
    assert full.headers["Retry-After"] == str(24 * 3600 - 60)
    with container.store.transaction() as tx:
        for _ in range(3):
            container.key_admin.jobs.plan(tx, "export", {"export": "x"}, "somebody")
        with pytest.raises(TooMany, match="too_many_jobs"):
            container.key_admin.jobs.plan(tx, "export", {"export": "x"}, "somebody")


def test_lists_of_operators_and_approvals_are_paged(service):
    """Each once, approvals newest first, operators by id with all their roles."""
    container = service.container
    people = sorted(UUID(service.register(f"p{number}").id) for number in range(3))
    with container.store.transaction() as tx:
        for subject in people:
            for role in (Role.OPERATOR, Role.AUDITOR):
                container.operators.roles.grant(tx, subject, role, "test")
    with container.store.transaction(read=True) as tx:
        first = container.operators.roles.page(tx, PageRequest(2))
        assert len(first["items"]) == 4
        assert first["next_cursor"]
        second = container.operators.roles.page(tx, PageRequest(2, people[1]))
    assert [row["subject"] for row in second["items"]] == [str(people[2])] * 2
    assert second["next_cursor"] is None
    caller = Caller(
        client=UUID(int=1), scopes=scopes_of(frozenset({"security_officer"})), operator=people[0]
    )
    asked = []
    for number in range(2):
        service.clock.advance(seconds=1)
        with container.store.transaction() as tx:
            row = container.operators.request(
                tx, caller, act="keys.destroy", target=f"kek x {number}", params={}, reason="w"
            )
            asked.append(row["id"])
    with container.store.transaction(read=True) as tx:
        newest = container.operators.waiting(tx, PageRequest(1))
        oldest = container.operators.waiting(tx, PageRequest(1, UUID(asked[1])))
    assert [newest["items"][0]["id"], oldest["items"][0]["id"]] == asked[::-1]
    assert oldest["next_cursor"] is None
