"""Subjects, identifiers, consents, authenticators and sessions over HTTP."""

import pytest

from tests.functional.conftest import CONSENT, PASSWORD


def test_a_subject_is_shown_found_and_changed(service):
    """Every spelling of an identifier finds it; a change tells the old address."""
    body = {
        "identifiers": {
            "username": "Alice",
            "email": "Alice@Example.com",
            "phone": "+49 30 123456",
        },
        "profile": {"name": "Alice Lidell", "birthdate": "1852-05-04"},
    }
    subject = service.call("POST", "/v1/subjects", body).json
    path = f"/v1/subjects/{subject['id']}"
    assert service.call("GET", path).json == subject
    assert subject["profile"] == body["profile"]
    for typed in ("alice", "ALICE", "alice@EXAMPLE.com", "+4930123456", "+49 (30) 123456"):
        found = service.call("POST", "/v1/subjects/lookup", {"identifier": typed})
        assert found.json["id"] == subject["id"], typed
    changed = service.call("PATCH", path, {"identifiers": {"email": "new@example.com"}})
    assert changed.json["identifiers"]["email"] == "new@example.com"
    with service.container.store.transaction() as tx:
        waiting = service.container.outbox.waiting(tx, reveal=True)
    told = [row["payload"]["to"] for row in waiting if row["kind"] == "identifier.changed"]
    assert told == ["alice@example.com"]
    assert service.call("PATCH", path, {"profile": {"name": "A."}}).json["profile"] == {
        "name": "A."
    }
    removed = {"identifiers": {"username": None, "email": None, "phone": None}}
    assert service.call("PATCH", path, removed).status_code == 422


@pytest.mark.parametrize(
    ("identifiers", "pointer"),
    [
        ({}, "/identifiers"),
        ({"username": "a@b"}, "/identifiers/username"),
        ({"username": "+49 30 123456"}, "/identifiers/username"),
        ({"username": "two words"}, "/identifiers/username"),
        ({"email": "nobody"}, "/identifiers/email"),
        ({"phone": "12"}, "/identifiers/phone"),
    ],
)
def test_identifiers_are_of_their_kind(service, identifiers, pointer):
    """What is none is refused with the place to mend."""
    answer = service.call("POST", "/v1/subjects", {"identifiers": identifiers})
    assert answer.json["errors"][0]["pointer"] == pointer


def test_segments_are_those_of_the_client(service):
    """Another segment is refused."""
    body = {"identifiers": {"username": "alice"}, "segment": "bank"}
    answer = service.call("POST", "/v1/subjects", body)
    assert (answer.status_code, answer.json["code"]) == (403, "segment_not_allowed")


def test_consents_are_kept_and_withdrawn(service):
    """A second one supersedes the first; a withdrawal keeps the record."""
    person = service.register()
    path = f"/v1/subjects/{person.id}/consents"
    for version in ("1", "2"):
        body = CONSENT | {"purpose": "behavior", "version": version}
        assert service.call("POST", path, body).status_code == 201
        service.clock.advance(seconds=1)
    assert service.call("DELETE", f"{path}/behavior").status_code == 204
    assert service.call("DELETE", f"{path}/behavior").status_code == 404
    items = service.call("GET", path).json["items"]
    assert [(item["version"], bool(item["withdrawn_at"])) for item in items] == [
        ("1", True),
        ("2", True),
    ]


def test_authenticators_are_listed_confirmed_and_revoked(service):
    """A pending one becomes active by its code; a revoked one is gone and told of."""
    person = service.register()
    path = f"/v1/subjects/{person.id}/authenticators"
    items = service.call("GET", path).json["items"]
    assert {item["type"] for item in items} == {"password", "totp", "recovery_codes"}
    assert "secret" not in repr(items)
    totp = next(item for item in items if item["type"] == "totp")
    again = service.call("POST", f"{path}/{totp['id']}/confirm", {"code": "000000"})
    assert (again.status_code, again.json["code"]) == (409, "not_pending")
    assert service.call("DELETE", f"{path}/{totp['id']}").status_code == 204
    assert service.call("DELETE", f"{path}/{totp['id']}").status_code == 409
    added = service.enroll(person, "totp").json
    assert added["otpauth_uri"].startswith("otpauth://totp/Lamina:alice?secret=")
    assert added["qr_svg"].startswith("<svg")
    confirm = f"{path}/{added['id']}/confirm"
    assert service.call("POST", confirm, {"code": "000000"}).status_code == 422
    assert service.call("POST", confirm, {"code": "no code"}).status_code == 422


@pytest.mark.parametrize(
    "identifiers",
    [
        {"username": "中" * 251},
        {"username": "a:b"},
        {"username": "𠀀" * 254},
        {"email": "é" * 32 + "@" + ("b" * 60 + ".") * 3 + "museum"},
    ],
    ids=["chinese", "colon", "astral", "email"],
)
def test_an_account_of_any_name_can_enroll_a_totp(service, identifiers):
    """The longest names that can be registered get a secret, a URI and a picture."""
    subject = service.call("POST", "/v1/subjects", {"identifiers": identifiers})
    assert subject.status_code == 201, subject.json
    path = f"/v1/subjects/{subject.json['id']}/authenticators"
    added = service.call("POST", path, {"type": "totp"})
    assert added.status_code == 201, added.json
    assert added.json["qr_svg"].startswith("<svg")


def test_a_face_needs_consent_and_an_engine(service):
    """Without either nothing is enrolled."""
    person = service.register()
    answer = service.enroll(person, "face")
    assert (answer.status_code, answer.json["code"]) == (503, "face_unavailable")


def test_enrolled_types_take_their_own_input_only(service):
    """A password for TOTP, or none for a password, is refused; weak ones too."""
    person = service.register()
    assert service.enroll(person, "totp", password="x").status_code == 422
    assert service.enroll(person, "password").status_code == 422
    for weak, code in (
        ("short", "too_short"),
        ("password1", "blocklisted"),
        ("a" * 300, "too_long"),
    ):
        answer = service.enroll(person, "password", password=weak)
        assert answer.json["errors"][0]["code"] == code


def test_sessions_are_listed_and_ended(service):
    """One by one, or all; tokens of an ended one are not active."""
    person = service.register()
    tokens = service.exchange(service.login(person)["completion_code"]).json
    path = f"/v1/subjects/{person.id}/sessions"
    items = service.call("GET", path).json["items"]
    assert [item["acr"] for item in items] == ["urn:lamina:acr:aal2"]
    assert service.call("DELETE", f"{path}/{items[0]['id']}").status_code == 204
    assert service.call("DELETE", f"{path}/{items[0]['id']}").status_code == 404
    assert service.oauth("introspect", token=tokens["access_token"]).json == {"active": False}
    service.clock.advance(seconds=60)
    service.login(person)
    assert service.call("DELETE", path).status_code == 204
    assert service.call("GET", path).json == {"items": [], "next_cursor": None}


def test_a_registering_client_may_change_for_a_day_until_the_first_login(service):
    """Afterwards, and for any other client at once, a grant is needed."""
    person = service.register()
    other = service.access(service.new_client())
    path = f"/v1/subjects/{person.id}/authenticators"
    refused = service.call("POST", path, {"type": "recovery_codes"}, bearer=other)
    assert refused.json["code"] == "grant_required"
    service.clock.advance(hours=24)
    service.bearer = service.access()
    assert service.enroll(person, "recovery_codes").json["code"] == "grant_required"
    wrong = service.enroll(person, "recovery_codes", grant="lgrant_made_up")
    assert wrong.json["code"] == "grant_invalid"


def test_nothing_of_a_person_is_in_the_database(service, settings, tmp_path):
    """Neither name, address, password nor secret is in any byte of the files."""
    if not settings.sqlite:
        pytest.skip("reads SQLite's own files")
    body = {
        "identifiers": {"username": "kestrel-name", "email": "kestrel@example.com"},
        "password": PASSWORD,
        "profile": {"name": "Canary Person"},
    }
    service.call("POST", "/v1/subjects", body)
    service.begin("kestrel-name")
    content = b"".join(file.read_bytes() for file in tmp_path.glob("lamina.db*")).lower()
    assert b"kestrel" not in content
    assert PASSWORD.encode() not in content


def test_a_client_sees_only_the_segments_it_serves(service):
    """To a client of another segment a person is not there, nor can it sign that person in."""
    person = service.register()
    other = service.new_client(segments=("bank",))
    mine, service.bearer = service.bearer, service.access(other)
    path = f"/v1/subjects/{person.id}"
    for method, rest, body in (
        ("GET", "", None),
        ("PATCH", "", {}),
        ("GET", "/consents", None),
        ("GET", "/authenticators", None),
        ("POST", "/authenticators", {"type": "totp"}),
        ("GET", "/sessions", None),
        ("DELETE", "/sessions", None),
        ("GET", "/suspensions", None),
        ("POST", "/suspensions", {"capability": "login", "reason": "x"}),
    ):
        assert service.call(method, path + rest, body).status_code == 404, (method, rest)
    assert service.call("POST", "/v1/subjects/lookup", {"identifier": "alice"}).status_code == 404
    flow = service.begin().json
    assert service.act(flow, "password", {"password": PASSWORD}).status_code == 422
    service.bearer = mine
    assert service.call("GET", path).status_code == 200


def test_an_authenticator_that_is_revoked_during_its_check_does_not_count(service):
    """A password that is replaced while its hash is computed no longer signs in."""
    person = service.register()
    flow = service.begin().json
    verify = service.container.password._hasher.verify

    class Slow:
        def verify(self, encoded, password):
            service.container.password._hasher = hasher
            service.enroll(person, "password", password="another long pass phrase")
            verify(encoded, password)

        def needs_rehash(self, encoded):
            return False

    hasher, service.container.password._hasher = service.container.password._hasher, Slow()
    assert service.act(flow, "password", {"password": PASSWORD}).status_code == 422
