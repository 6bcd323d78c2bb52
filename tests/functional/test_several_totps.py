"""Several code generators of one person: each has a name, signs in and is ended by itself."""

import pyotp
import pytest
from sqlalchemy import text

from tests.functional.conftest import PASSWORD, Person
from tests.functional.policing import changed, in_force


def enroll(service, person, name=None, step=-1):
    """Enroll and confirm one more; return it, as another holder of codes."""
    service.clock.advance(seconds=1)
    added = service.enroll(person, "totp", **({"name": name} if name else {}))
    assert added.status_code == 201, added.json
    held = Person(person.id, person.name, added.json["secret"])
    path = f"/v1/subjects/{person.id}/authenticators/{added.json['id']}/confirm"
    assert service.call("POST", path, {"code": service.code(held, step)}).status_code == 200
    return held, added.json


def listed(service, person):
    """Return the code generators that are active, oldest first."""
    path = f"/v1/subjects/{person.id}/authenticators"
    items = service.call("GET", path).json["items"]
    return [item for item in items if (item["type"], item["status"]) == ("totp", "active")]


def test_a_second_one_ends_nothing_and_both_sign_in(service, person):
    """Names are in the list; only the one that was used moves its time of use."""
    second, added = enroll(service, person, " tablet ")
    assert added["name"] == "tablet"
    assert [item["name"] for item in listed(service, person)] == [None, "tablet"]
    for held in (person, second):
        before = {item["id"]: item["last_used_at"] for item in listed(service, person)}
        service.clock.advance(seconds=31)
        assert service.login(held)["status"] == "completed"
        after = {item["id"]: item["last_used_at"] for item in listed(service, person)}
        moved = [each for each, at in after.items() if at != before[each]]
        assert moved == ([added["id"]] if held is second else [next(iter(before))])


def test_a_step_is_used_of_each_by_itself(service, person):
    """The code of one does not use up that of another in the same half minute."""
    second, _ = enroll(service, person)
    for held in (person, second):
        assert service.login(held)["status"] == "completed"
        flow = service.begin().json
        service.act(flow, "password", {"password": PASSWORD})
        assert service.act(flow, "totp", {"code": service.code(held)}).status_code == 422


def test_no_more_than_the_bound_and_none_is_ended_in_silence(service, person):
    """The fourth is refused until one is revoked, which then signs in no more."""
    enroll(service, person)
    enroll(service, person)
    full = service.enroll(person, "totp")
    assert (full.status_code, full.json["code"]) == (409, "too_many_totp")
    assert len(listed(service, person)) == 3
    first = listed(service, person)[0]["id"]
    path = f"/v1/subjects/{person.id}/authenticators/{first}"
    assert service.call("DELETE", path).status_code == 204
    enroll(service, person)
    service.clock.advance(seconds=31)
    flow = service.begin().json
    service.act(flow, "password", {"password": PASSWORD})
    assert service.act(flow, "totp", {"code": service.code(person)}).status_code == 422


@pytest.mark.parametrize("name", ["", " ", "x" * 65, "a\nb", "a\u202eb", "\ud800", 7, ["a"]])
def test_what_is_no_name_is_refused_with_its_place(service, person, name):
    """One to 64 visible characters."""
    answer = service.enroll(person, "totp", name=name)
    assert answer.status_code in {400, 422}
    if answer.status_code == 422:
        assert answer.json["errors"][0]["pointer"] == "/name"


@pytest.mark.parametrize(
    ("kind", "more"), [("password", {"password": PASSWORD}), ("recovery_codes", {})]
)
def test_other_types_have_no_name(service, person, kind, more):
    """There is one of each, and nothing to tell apart."""
    assert service.enroll(person, kind, name="mine", **more).status_code == 422


def test_a_name_is_sealed_and_goes_with_its_generator(service, person):
    """The database shows no name, and none is left after the revocation."""
    _, added = enroll(service, person, "my old phone")
    with service.container.store.engine.connect() as connection:
        rows = connection.execute(text("SELECT name FROM authenticator")).scalars().all()
        assert [b"my old phone" in bytes(row) for row in rows if row is not None] == [False]
    path = f"/v1/subjects/{person.id}/authenticators/{added['id']}"
    assert service.call("DELETE", path).status_code == 204
    with service.container.store.engine.connect() as connection:
        rows = connection.execute(text("SELECT name FROM authenticator")).scalars().all()
        assert set(rows) == {None}


def test_deferred_flows_take_any_of_them_once(service, person):
    """The round remembers which one verified, and uses up that one alone."""
    second, _ = enroll(service, person, step=0)
    in_force(service, changed(regime="psd2"))
    service.clock.advance(seconds=31)
    for held in (second, person):
        assert service.login(held)["status"] == "completed"
    flow = service.begin().json
    service.act(flow, "password", {"password": PASSWORD})
    assert service.act(flow, "totp", {"code": service.code(second)}).status_code == 422


@pytest.mark.parametrize("held", [0, 1, 3])
def test_as_much_is_opened_and_compared_whoever_is_asked_about(service, held, monkeypatch):
    """Nobody, somebody with no generator, with one and with three: the same work."""
    body = {"identifiers": {"username": "alice"}, "password": PASSWORD}
    person = Person(service.call("POST", "/v1/subjects", body).json["id"], "alice")
    for _ in range(held):
        enroll(service, person)
    done = []
    inner, opener = pyotp.TOTP.generate_otp, service.container.authenticators.verifiers
    monkeypatch.setattr(
        pyotp.TOTP, "generate_otp", lambda *given: done.append("code") or inner(*given)
    )

    def verifiers(*given):
        own, spare = opener(*given)
        done.append(len(own) + len(spare))
        return own, spare

    monkeypatch.setattr(service.container.authenticators, "verifiers", verifiers)
    in_force(service, changed(regime="psd2"))
    counts = []
    for name in ("alice", "nobody"):
        done.clear()
        flow = service.begin(name).json
        service.act(flow, "password", {"password": PASSWORD})
        service.act(flow, "totp", {"code": "000000"})
        counts.append(list(done))
    assert counts[0] == counts[1] == [3, *["code"] * 9]
