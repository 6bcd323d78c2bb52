"""A person is registered and signs in through the layers."""

from tests.functional.conftest import CONSENT, PASSWORD


def test_a_person_signs_in_through_the_layers(service):
    """Password, then TOTP, then a code that becomes tokens whose level is AAL2."""
    person = service.register()
    flow = service.begin().json
    assert list(flow["actions"]) == ["password"]
    assert flow["status"] == "pending"
    after = service.act(flow, "password", {"password": PASSWORD}).json
    assert list(after["actions"]) == ["totp", "recovery_code", "back"]
    assert after["assurance"]["achieved"]["acr"] == "urn:lamina:acr:aal1"
    done = service.act(flow, "totp", {"code": service.code(person)})
    assert done.status_code == 200
    assert done.json["status"] == "completed"
    tokens = service.exchange(done.json["completion_code"])
    assert tokens.status_code == 200, tokens.json
    seen = service.oauth("introspect", token=tokens.json["access_token"]).json
    assert seen["active"]
    assert seen["sub"] == person.id
    assert seen["acr"] == "urn:lamina:acr:aal2"
    assert set(seen["amr"]) == {"pwd", "otp", "mfa"}


def test_the_first_action_may_ride_along(service):
    """A flow begun with the password is answered as if it came next."""
    service.register()
    answer = service.begin(action={"name": "password", "input": {"password": PASSWORD}})
    assert answer.status_code == 201
    assert "totp" in answer.json["actions"]
    assert answer.json["flow_token"]


def test_an_unknown_identifier_is_answered_the_same(service):
    """Status, members and actions are alike for a stranger, at the start and after a failure."""
    service.register()
    answers = []
    for name in ("alice", "nobody"):
        flow = service.begin(name)
        wrong = service.act(flow.json, "password", {"password": "a wrong pass phrase"})
        answers.append((flow, wrong))
    (known, known_wrong), (unknown, unknown_wrong) = answers
    assert known.status_code == unknown.status_code == 201
    assert shape(known.json) == shape(unknown.json)
    assert known_wrong.status_code == unknown_wrong.status_code == 422
    assert shape(known_wrong.json) == shape(unknown_wrong.json)


def test_behavior_is_kept_with_consent_only(service):
    """Samples are kept where the person agreed, after AAL2 and not before."""
    keystroke = {"field": "password", "keys": [[0, 90, "char"], [120, 200, "char"]]}
    for name, consents in (("alice", [CONSENT | {"purpose": "behavior"}]), ("bob", [])):
        person = service.register(name, consents=consents)
        flow = service.begin(name).json
        capture = flow["actions"]["password"]["options"]["capture_id"]
        sample = {"v": 1, "capture_id": capture, "keystroke": keystroke}
        service.act(flow, "password", {"password": PASSWORD, "behavior": sample})
        done = service.act(flow, "totp", {"code": service.code(person)})
        assert done.json["status"] == "completed"
        with service.container.store.transaction() as tx:
            learned = service.container.behaviors.learned(tx, __import__("uuid").UUID(person.id))
        assert learned == len(consents)


def shape(value):
    """Return a JSON value with every leaf replaced by its type."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return type(value).__name__
