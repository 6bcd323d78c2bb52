"""What is kept for an Idempotency-Key shows no erased data, and no more than the token may see."""

from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from tests.functional.conftest import CONSENT, PASSWORD

KEY = {"Idempotency_Key": "the same key"}
CANARY = "national id 123"
BODY = {
    "identifiers": {"username": "zoe", "email": "zoe@private.example"},
    "profile": {"name": CANARY},
}


def erased(answer, *hidden):
    """Hold that a replay tells that what was answered is erased, and nothing of it."""
    assert (answer.status_code, answer.json["code"]) == (410, "answer_erased"), answer.json
    assert not any(item in answer.get_data(as_text=True) for item in hidden)


def register(service, bearer=None):
    return service.call("POST", "/v1/subjects", BODY, bearer=bearer, **KEY)


@pytest.mark.parametrize("part", [None, "identity", "contact"])
def test_who_was_registered_is_shown_until_erased(service, part):
    """A replay before the erasure is the answer; one after it tells that it is gone."""
    first = register(service)
    again = register(service)
    assert (again.json, again.headers["Idempotent-Replayed"]) == (first.json, "true")
    service.clock.advance(seconds=1)
    service.container.erasure.erase(UUID(first.json["id"]), "test", part)
    erased(register(service), CANARY, "zoe")


@pytest.mark.parametrize("kind", ["totp", "recovery_codes"])
def test_what_was_enrolled_is_shown_until_erased(service, kind):
    """A secret that was shown once is not shown again by its key."""
    person = service.register()
    path = f"/v1/subjects/{person.id}/authenticators"
    first = service.call("POST", path, {"type": kind}, **KEY)
    assert service.call("POST", path, {"type": kind}, **KEY).json == first.json
    service.clock.advance(seconds=1)
    service.container.erasure.erase(UUID(person.id), "test", "factor")
    erased(
        service.call("POST", path, {"type": kind}, **KEY),
        first.json.get("secret") or first.json["codes"][0],
    )


def test_a_consent_and_a_suspension_are_shown_until_erased(service):
    """Whatever stands under the path of a subject goes with the subject."""
    person = service.register()
    asked = {
        "consents": CONSENT | {"purpose": "news"},
        "suspensions": {"capability": "payment", "reason": "debts"},
    }
    for part, body in asked.items():
        path = f"/v1/subjects/{person.id}/{part}"
        first = service.call("POST", path, body, **KEY)
        assert service.call("POST", path, body, **KEY).json == first.json
    service.clock.advance(seconds=1)
    service.container.erasure.erase(UUID(person.id), "test")
    for part, body in asked.items():
        erased(service.call("POST", f"/v1/subjects/{person.id}/{part}", body, **KEY), "debts")


@pytest.mark.parametrize("part", [None, "identity"])
def test_an_answer_that_is_kept_after_the_erasure_is_kept_empty(service, monkeypatch, part):
    """Erased between the act and the keeping of its answer: no key is made for it anew."""
    answers, erasure = service.container.answers, service.container.erasure
    finish = type(answers).finish

    def late(self, caller, operation, key, *, answer, secret):
        service.clock.advance(seconds=1)
        erasure.erase(answer.about.subject, "test", part)
        finish(self, caller, operation, key, answer=answer, secret=secret)

    monkeypatch.setattr(type(answers), "finish", late)
    assert register(service).status_code == 201
    with service.container.store.transaction(read=True) as tx:
        query = text("SELECT count(*) FROM dek WHERE key_class = 'identity'")
        assert tx.execute(query).scalar() == 0
    erased(register(service), CANARY)


def test_a_backup_of_the_row_opens_by_no_key_of_the_client(service):
    """What was copied before the erasure is ciphertext under a key that is destroyed."""
    first = register(service)
    with service.container.store.transaction(read=True) as tx:
        row = tx.execute(text("SELECT id, answer FROM kept_answer")).one()
    service.clock.advance(seconds=1)
    service.container.erasure.erase(UUID(first.json["id"]), "test")
    with service.container.store.transaction() as tx:
        tx.execute(text("UPDATE kept_answer SET answer = :answer"), {"answer": row.answer})
    erased(register(service), CANARY)


def test_a_token_that_sees_less_gets_no_answer_of_one_that_saw_more(service):
    """`risk` is for `risk:read`: the same key with fewer scopes is another request."""
    service.register()
    little = service.oauth("token", grant_type="client_credentials", scope="flows:write")
    bearer = little.json["access_token"]
    flow = service.begin("alice").json
    first = service.act(flow, "password", {"password": PASSWORD}, **KEY)
    assert "risk" in first.json
    less = service.act(flow, "password", {"password": PASSWORD}, bearer=bearer, **KEY)
    assert (less.status_code, less.json["code"]) == (422, "idempotency_mismatch")
    again = service.act(flow, "password", {"password": PASSWORD}, bearer=service.access(), **KEY)
    assert (again.json, again.headers["Idempotent-Replayed"]) == (first.json, "true")


def test_a_refusal_is_replayed_alike_for_who_is_not_there_and_whom_one_may_not_see(service):
    """A replay tells no client whether there is a subject that it does not serve."""
    person = service.register()
    other = service.access(service.new_client(segments=("bank",)))
    for subject in (person.id, str(uuid4())):
        path = f"/v1/subjects/{subject}/consents"
        for replayed in (None, "true"):
            answer = service.call("POST", path, CONSENT | {"purpose": "news"}, bearer=other, **KEY)
            assert (answer.status_code, answer.json["code"]) == (404, "subject_not_found")
            assert answer.headers.get("Idempotent-Replayed") == replayed
