"""By policy an e-mail that nobody has verified signs in, while one subject alone claims it."""

from uuid import UUID

import pytest
from sqlalchemy import event, text

from service.accounts.store.subjects import SubjectIndex
from service.store.authentic import delete_rows
from tests.functional.conftest import PASSWORD
from tests.functional.policing import changed, in_force
from tests.functional.test_identifiers import lookup, outbox, register, sent, verification
from tests.functional.test_login_flow import shape

MINE, PHONE = "mine@example.com", "+4930901820"
BY_PASSWORD = {"acr": "urn:lamina:acr:aal1", "layers": [["password"]]}
ALLOWED = {"unverified_email_sign_in": True}
NOTICE = "email_unverified"


def allow(service, *, allowed=True, **segment):
    """Let unverified addresses sign in, or not; a password is enough."""
    subjects = {"unverified_email_sign_in": allowed}
    in_force(service, changed(login=BY_PASSWORD, subjects=subjects, **segment))


def segmented(service, **segments):
    """Put a policy in force in which other segments say what they say."""
    document = changed(login=BY_PASSWORD)
    for name, subjects in segments.items():
        document["segments"][name] = {"extends": "default", "subjects": subjects}
    in_force(service, document)


def password(service, flow):
    """Act with the right password."""
    return service.act(flow, "password", {"password": PASSWORD})


def sign_in(service, typed=MINE):
    """Sign in with the right password; return the answer."""
    return password(service, service.begin(typed).json)


def view(service, subject):
    """Return what a client sees of a subject."""
    return service.call("GET", f"/v1/subjects/{subject}").json


def prove(service, subject, bearer=None):
    """Verify the e-mail of a subject."""
    code = sent(service, subject)
    answer = verification(service, subject, {"code": code}, bearer=bearer)
    assert answer.json == {"status": "verified"}, answer.json


def owner(service, answer):
    """Return whose session a completed login gave."""
    tokens = service.exchange(answer.json["completion_code"])
    assert tokens.status_code == 200, tokens.json
    found = service.oauth("introspect", token=tokens.json["access_token"])
    return found.json["sub"]


def test_it_signs_in_where_the_segment_allows_and_says_so(service):
    """Not unless the policy says so; then with a notice, until it is verified."""
    in_force(service, changed(login=BY_PASSWORD))
    subject = register(service, email=MINE).json["id"]
    refused = sign_in(service)
    assert (refused.status_code, refused.json["code"]) == (422, "verification_failed")
    allow(service)
    done = sign_in(service, " MINE@Example.com ")
    assert (done.status_code, done.json["status"]) == (200, "completed")
    (notice,) = done.json["notices"]
    assert (notice["pointer"], notice["code"]) == ("/identifier", NOTICE)
    assert owner(service, done) == subject
    prove(service, subject)
    assert "notices" not in sign_in(service).json


def test_a_username_and_a_client_of_somebody_else_get_no_notice(service):
    """What is told is told of the address, to first-party clients."""
    allow(service)
    register(service, username="alice", email=MINE)
    assert "notices" not in sign_in(service, "alice").json
    service.bearer = service.access(service.new_client(name="other", first_party=False))
    done = sign_in(service).json
    assert (done["status"], "notices" in done) == ("completed", False)


def test_views_tell_which_identifiers_are_verified_and_which_sign_in(service):
    """Registration, change and look-up: a code beside the pointer of each unverified address."""
    in_force(service, changed(login=BY_PASSWORD))
    made = register(service, username="alice", email=MINE, phone=PHONE).json
    assert (made["verified"], made["sign_in"]) == ([], ["username"])
    assert [(item["pointer"], item["code"]) for item in made["notices"]] == [
        ("/identifiers/email", NOTICE),
        ("/identifiers/phone", "phone_unverified"),
    ]
    allow(service)
    found = service.call("POST", "/v1/subjects/lookup", {"identifier": MINE}).json
    assert (found["verified"], found["sign_in"]) == ([], ["username", "email"])
    assert "by policy it signs in" in found["notices"][0]["detail"]
    prove(service, made["id"])
    found = view(service, made["id"])
    assert (found["verified"], found["sign_in"]) == (["email"], ["username", "email"])
    assert [item["code"] for item in found["notices"]] == ["phone_unverified"]
    patch = {"identifiers": {"email": "new@example.com", "phone": None}}
    body = patch["identifiers"] | {"email": MINE}
    path = f"/v1/subjects/{made['id']}"
    same = service.call("PATCH", path, {"identifiers": body})
    assert same.status_code == 200, same.json
    assert (same.json["sign_in"], "notices" in same.json) == (["username", "email"], False)
    other = service.call("PATCH", path, patch).json
    assert [item["code"] for item in other["notices"]] == [NOTICE]


def test_a_telephone_never_signs_in_unverified_and_nothing_is_sent(service):
    """The policy is about e-mail; a login sends nothing to an address."""
    allow(service)
    register(service, email=MINE, phone=PHONE)
    before = len(outbox(service, "identifier.verification"))
    assert sign_in(service, PHONE).status_code == 422
    assert sign_in(service).status_code == 200
    assert len(outbox(service, "identifier.verification")) == before


def test_an_unverified_address_recovers_nothing(service):
    """The recovery codes and the generator of the person prove nothing under it."""
    allow(service)
    person = service.register(identifiers={"username": "alice", "email": MINE})
    flow = service.begin(MINE, "recovery").json
    refused = service.act(flow, "recovery_code", {"code": person.codes[0]})
    assert (refused.status_code, refused.json["code"]) == (422, "verification_failed")
    flow = service.begin("alice", "recovery").json
    right = service.act(flow, "recovery_code", {"code": person.codes[0]})
    assert right.status_code == 200


def test_two_who_claim_it_make_it_lead_nowhere_whatever_their_segments(service):
    """One of a segment that allows, one of another: nobody signs in by it, until one lets go."""
    segmented(service, open=ALLOWED, shut={"unverified_email_sign_in": False})
    service.client_id, service.secret = service.new_client(segments=("open", "shut"))
    service.bearer = service.access()
    body = {"identifiers": {"email": MINE}, "password": PASSWORD, "segment": "open"}
    first = service.call("POST", "/v1/subjects", body).json["id"]
    assert owner(service, sign_in(service)) == first
    body = {"identifiers": {"username": "bob", "email": MINE}, "password": PASSWORD}
    second = service.call("POST", "/v1/subjects", body | {"segment": "shut"}).json["id"]
    assert sign_in(service).status_code == 422
    assert view(service, first)["sign_in"] == []
    path = f"/v1/subjects/{second}"
    assert service.call("PATCH", path, {"identifiers": {"email": None}}).status_code == 200
    assert owner(service, sign_in(service)) == first
    assert service.call("PATCH", path, {"identifiers": {"email": MINE}}).status_code == 200
    assert service.call("DELETE", path).status_code == 200
    assert owner(service, sign_in(service)) == first


def test_the_segment_of_the_subject_counts(service):
    """A client that serves both signs in whom the open segment has, and not the other."""
    segmented(service, open=ALLOWED, inner={}, shut={"unverified_email_sign_in": False})
    service.client_id, service.secret = service.new_client(segments=("open", "inner", "shut"))
    service.bearer = service.access()
    for segment, status in (("open", 200), ("inner", 422), ("shut", 422)):
        typed = f"{segment}@example.com"
        body = {"identifiers": {"email": typed}, "password": PASSWORD, "segment": segment}
        assert service.call("POST", "/v1/subjects", body).status_code == 201
        assert sign_in(service, typed).status_code == status
    stranger = service.access(service.new_client(name="s", segments=("shut",)))
    service.bearer = stranger
    assert sign_in(service, "open@example.com").status_code == 422


def test_who_verifies_it_is_the_one_it_leads_to(service):
    """Also for a client that serves the claimant alone, whose person is nobody by it then."""
    segmented(service, open=ALLOWED, shut={})
    shut = service.access(service.new_client(name="shut", segments=("shut",)))
    client = service.new_client(name="open", segments=("open",))
    service.client_id, service.secret = client
    opened = service.bearer = service.access()
    register(service, email=MINE)
    service.bearer = shut
    second = register(service, email=MINE).json["id"]
    prove(service, second)
    service.bearer = opened
    assert sign_in(service).status_code == 422


@pytest.mark.parametrize("moved", ["claimed", "verified", "changed", "forbidden"])
def test_a_flow_ends_where_its_address_leads_there_no_more(service, moved):
    """Begun while it led to somebody: another claim, proof, change or policy denies it."""
    allow(service)
    subject = register(service, username="alice", email=MINE).json["id"]
    flow = service.begin(MINE).json
    if moved in {"claimed", "verified"}:
        other = register(service, username="bob", email=MINE).json["id"]
        if moved == "verified":
            prove(service, other)
    elif moved == "changed":
        body = {"identifiers": {"email": "new@example.com"}}
        assert service.call("PATCH", f"/v1/subjects/{subject}", body).status_code == 200
    else:
        allow(service, allowed=False)
    denied = password(service, flow)
    assert (denied.status_code, denied.json["code"]) == (403, "identifier_moved")
    assert denied.json["flow"]["status"] == "denied"
    assert service.call("GET", f"/v1/subjects/{subject}/sessions").json["items"] == []
    assert sign_in(service, "alice").status_code == 200


def test_a_flow_goes_on_where_its_own_subject_verifies_meanwhile(service):
    """It leads to the same person, by proof now."""
    allow(service)
    subject = register(service, email=MINE).json["id"]
    flow = service.begin(MINE).json
    prove(service, subject)
    done = password(service, flow)
    assert (done.status_code, "notices" in done.json) == (200, False)
    assert owner(service, done) == subject


def test_suspended_and_erased_claimants(service):
    """One whose login is suspended is told so once its password verified; an erased one is none."""
    allow(service)
    subject = register(service, email=MINE).json["id"]
    path = f"/v1/subjects/{subject}"
    body = {"capability": "login", "reason": "fraud"}
    assert service.call("POST", f"{path}/suspensions", body).status_code == 201
    refused = sign_in(service)
    assert (refused.status_code, refused.json["code"]) == (403, "suspended")
    assert service.call("DELETE", path).status_code == 200
    assert sign_in(service).status_code == 422
    assert lookup(service, MINE) == 404


def test_deferred_flows_tell_it_with_the_verdict(service):
    """Until the last element nothing is told; then the notice comes with the completion."""
    in_force(service, changed(regime="psd2", subjects=ALLOWED, cooldown_hours=0))
    service.clock.advance(minutes=1)
    person = service.register(identifiers={"username": "alice", "email": MINE})
    flow = service.begin(MINE).json
    first = password(service, flow)
    assert (first.status_code, "notices" in first.json) == (200, False)
    done = service.act(flow, "totp", {"code": service.code(person)})
    assert [item["code"] for item in done.json["notices"]] == [NOTICE]


def advanced(service):
    """Move the rotation of the index key on by one state, known everywhere."""
    keys = service.container.keys
    keys.instances.beat()
    with service.container.store.transaction() as tx:
        keys.lifecycle.advance_index(tx, "operator:test")
    service.clock.advance(minutes=2)
    service.bearer = service.access()


def without(service, subject, version):
    """Forget the digest of one version of a subject's e-mail."""
    row = SubjectIndex
    which = (row.subject_id == UUID(subject), row.field == "email", row.key_version == version)
    with service.container.store.transaction() as tx:
        assert delete_rows(tx, row, *which) == 1


def test_one_claim_is_one_while_the_index_key_rotates(service):
    """Its digest may be of the old version, the new one or both; and so may a rival's."""
    allow(service)
    subject = register(service, email=MINE).json["id"]
    with service.container.store.transaction() as tx:
        service.container.keys.lifecycle.generate_index(tx, "operator:test")
    advanced(service)
    assert sign_in(service).status_code == 200
    assert sum(page.moved for page in service.container.keys.indexing.fill_pages(2)) > 0
    assert sign_in(service).status_code == 200
    rival = register(service, email=MINE, username="bob").json["id"]
    without(service, subject, 2)
    without(service, rival, 1)
    assert sign_in(service).status_code == 422
    path = f"/v1/subjects/{rival}"
    assert service.call("PATCH", path, {"identifiers": {"email": None}}).status_code == 200
    assert owner(service, sign_in(service)) == subject


def heard(service, name):
    """Begin a login and show a wrong password; return the answers, the statements and the log."""
    asked, engine = [], service.container.store.engine

    def hear(*of):
        # Whether the caller was read a moment ago is the machine's doing.
        if not of[2].startswith("SELECT client."):
            asked.append(of[2])

    event.listen(engine, "before_cursor_execute", hear)
    try:
        begun = service.begin(name)
        failed = service.act(begun.json, "password", {"password": "not the right pass phrase"})
    finally:
        event.remove(engine, "before_cursor_execute", hear)
    bodies = [
        shape(begun.json),
        failed.status_code,
        failed.json["code"],
        shape(failed.json["flow"]),
    ]
    return bodies, asked, counted(service)


def counted(service):
    """Return the kinds of the newest entries of the log, and how many rows count attempts."""
    with service.container.store.engine.connect() as connection:
        rows = connection.scalar(text("SELECT count(*) FROM throttle"))
        kinds = connection.scalars(text("SELECT kind FROM audit_leaf WHERE kind LIKE 'f%'")).all()
    return rows, kinds.count("flow.begun"), kinds.count("factor.failed")


def test_until_a_factor_verified_every_address_is_answered_alike(service):
    """Unknown, unverified, verified and claimed twice: answers, statements, counts and log."""
    allow(service)
    people = {
        name: register(service, username=name, email=f"{name}@example.com").json["id"]
        for name in ("one", "proven", "twice")
    }
    register(service, username="again", email="twice@example.com")
    prove(service, people["proven"])
    heard(service, "warm@example.com")
    _, _, before = heard(service, "warmer@example.com")
    for number, name in enumerate(("nobody", "one", "proven", "twice"), 1):
        bodies, asked, after = heard(service, f"{name}@example.com")
        if name == "nobody":
            expected = bodies, asked
        assert (bodies, asked) == expected, name
        assert after == tuple(count + number for count in before)
