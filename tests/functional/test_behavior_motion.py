"""How a telephone is held and moved, at the login: learned at AAL2 only, said with its reasons."""

import json

import numpy as np
import pytest
from sqlalchemy import text

from tests.functional.behaving import (
    AGREED,
    DESKTOP,
    about,
    behave,
    learned,
    said,
    settle,
    sign_in,
    stored,
    typed,
)
from tests.functional.conftest import PASSWORD, Past
from tests.typists import holding, typists, wire

PHONE = DESKTOP | {"user_agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0) Safari/604.1"}


@pytest.fixture(scope="module")
def rows():
    return typists(1, samples=60)[0]


@pytest.fixture(scope="module")
def people():
    return holding(5)


def taught(service, rows, movements, *, name="alice", context=None):
    """Register somebody and teach them typing and movement by logins."""
    person = service.register(name, consents=AGREED)
    for row, moved in zip(rows, movements, strict=False):
        sign_in(service, person, row, motion=moved, context=context)
    return person


def imported(service, rows, movements):
    """Register somebody whose samples are imported: typing and movement."""
    person = service.register(consents=AGREED)
    samples = [wire(row, motion=moved) for row, moved in zip(rows, movements, strict=False)]
    answer = behave(service, person, rest="/samples", body={"samples": samples})
    assert answer.json["refused"] == []
    return person


@pytest.fixture(scope="module")
def imported_once(migrated, contract, tmp_path_factory, rows, people):
    def happened(service):
        return {"person": imported(service, rows, people[0][:6])}

    return Past.take(migrated, tmp_path_factory.mktemp("imported"), happened, contract)


@pytest.fixture
def past(request, opened_once, imported_once):
    """Whoever asks for a `person` begins with one whose samples were imported."""
    return imported_once if "person" in request.fixturenames else opened_once


def probe(service, person, row, moved, **more):
    """Return what the score of a running session says."""
    body = {"behavior": wire(row, motion=moved, **more)}
    return behave(service, person, rest="/score", body=body).json


def signals(service):
    """Return which signals are stored."""
    with service.container.store.engine.connect() as connection:
        found = connection.execute(text("SELECT signal, samples FROM behavior_profile"))
        return {row.signal: row.samples for row in found}


def test_movement_is_learned_and_then_tells_a_stranger(service, rows, people):
    """Five strong logins are learning; then it adds to the typing, for its owner and against."""
    person = service.register(consents=AGREED)
    for number in range(5):
        after, _ = sign_in(service, person, rows[number], motion=people[0][number])
        assert f"{number} of 5 samples" in about(after, "motion_learning")["detail"]
    for number in range(5, 22):
        sign_in(service, person, rows[number], motion=people[0][number])
    assert signals(service) == {"keystroke": 22, "motion": 22}
    own = [probe(service, person, rows[at], people[0][at]) for at in range(25, 35)]
    others = [probe(service, person, rows[30], moved) for one in people[1:] for moved in one[:5]]
    mine = [one["signals"]["motion"]["llr"] for one in own]
    strange = [one["signals"]["motion"]["llr"] for one in others]
    assert np.mean(mine) > 0.5
    assert np.mean(strange) < -0.2
    assert all(-1 <= nats <= 2 for nats in mine + strange)
    for one in own + others:
        parts = one["signals"]
        assert one["llr"] == pytest.approx(
            parts["keystroke"]["llr"] + parts["motion"]["llr"], abs=0.01
        )
    reasons = {item["code"]: item for item in own[0]["signals"]["motion"]["reasons"]}
    assert {"motion_holding", "motion_shaking", "motion_turning"} <= set(reasons)
    assert "°" in reasons["motion_holding"]["detail"]
    _, after = typed(service, rows[40], motion=people[1][0])
    assert about(after.json, "motion_holding")["contribution"] != 0
    assert said(after.json) == pytest.approx(
        probe(service, person, rows[40], people[1][0])["llr"], abs=0.02
    )


def test_a_password_alone_teaches_no_movement(service, rows, people):
    """An attacker with the password and his own grip moves nothing, however often he comes."""
    taught(service, rows, people[0][:6])
    before = stored(service)
    for number in range(6):
        _, after = typed(service, rows[20 + number], motion=people[1][number])
        assert after.status_code == 200
    assert stored(service) == before
    assert signals(service) == {"keystroke": 6, "motion": 6}


def test_movement_that_comes_again_under_another_typing_is_a_replay(service, rows, people):
    """New times of keys do not hide a recorded movement; on another device neither."""
    service.client_id, service.secret = service.new_client(asserts_context=True)
    service.bearer = service.access()
    person = taught(service, rows, people[0][:6], context=PHONE)
    before = stored(service)
    for context in (PHONE, DESKTOP):
        _, after = typed(service, rows[20], motion=people[0][3], context=context)
        assert about(after.json, "behavior_replayed")["contribution"] == -4.0
        assert after.json["risk"]["band"] in {"high", "critical"}
    sign_in(service, person, rows[21], motion=people[0][3], context=PHONE)
    assert stored(service) == before
    _, fresh = typed(service, rows[22], motion=people[0][8], context=PHONE)
    assert about(fresh.json, "behavior_replayed") is None


def test_movement_that_stays_away_counts_against_and_less_each_time(service, rows, people):
    """Usual and not sent is evidence; nothing is made of it where it never came."""
    person = taught(service, rows, people[0][:8])
    found = []
    for number in range(3):
        after, _ = sign_in(service, person, rows[10 + number])
        found.append(about(after, "motion_withheld")["contribution"])
    assert found == sorted(found)
    assert -2 <= found[0] < found[-1] < 0
    bob = taught(service, rows, [], name="bob")
    settle(service, bob, rows[20:26])
    assert about(typed(service, rows[26], name="bob")[1].json, "motion_withheld") is None


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"rot": []}, "lengths_differ"),
        ({"hz": 10}, "rate_too_low"),
        ({"acc": [[0, 0, 9.8]] * 60, "rot": [[0, 0, 0]] * 60}, "sensor_constant"),
        ({"acc": [], "rot": []}, "too_short"),
        (
            {
                "acc": [[0, 0.1 * at, 0] for at in range(60)],
                "rot": [[at, 0, 0] for at in range(60)],
            },
            "unknown_units",
        ),
    ],
)
def test_what_says_nothing_of_a_grip_is_named_and_not_learned(service, rows, people, change, code):
    """Nil, with the name; the typing beside it counts and is learned as ever."""
    person = taught(service, rows, people[0][:6])
    found = probe(service, person, rows[10], people[0][10] | change)
    part = found["signals"]["motion"]
    assert (part["llr"], part["reasons"][0]["code"]) == (0, f"motion_{code}")
    assert part["reasons"][0]["detail"]
    assert found["llr"] == found["signals"]["keystroke"]["llr"] != 0
    sign_in(service, person, rows[10], motion=people[0][10] | change)
    assert signals(service) == {"keystroke": 7, "motion": 6}


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"hz": 401}, "/motion/hz"),
        ({"from": 1e9}, "/motion/from"),
        ({"acc": [[0, 0]]}, "/motion/acc/0/2"),
        ({"acc": [[0, 0, "x"]]}, "/motion/acc/0/2"),
        ({"acc": [[0, 0, 9.8]] * 401}, "/motion/acc"),
        ({"rot": [[0, 0, 2e6]]}, "/motion/rot/0/2"),
        ({"heading": [1]}, "/motion"),
    ],
)
def test_what_is_malformed_is_named_with_its_place(service, rows, people, person, change, pointer):
    """Set aside beside a right password, 422 where it is asked about; no profile changes."""
    before = stored(service)
    moved = people[0][10] | change
    flow = service.begin().json
    body = {"password": PASSWORD, "behavior": wire(rows[10], motion=moved)}
    one = service.act(flow, "password", body)
    two = behave(service, person, rest="/score", body={"behavior": wire(rows[10], motion=moved)})
    assert (one.status_code, two.status_code) == (200, 422), (one.json, two.json)
    for told in (one.json["set_aside"], two.json["errors"]):
        assert told[0]["pointer"] == "/behavior" + pointer
    assert stored(service) == before


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("where", ["acc", "rot", "hz"])
def test_movement_that_is_no_number_is_refused(service, rows, people, person, number, where):
    """Never a fault of the server, never a profile that cannot be compared with any more."""
    moved = people[0][10] | {where: 77.25 if where == "hz" else [[0, 77.25, 9.8]] * 60}
    sent = json.dumps({"behavior": wire(rows[10], motion=moved)}).replace("77.25", number)
    answer = service.http.post(
        f"/v1/subjects/{person.id}/behavior/score",
        data=sent,
        content_type="application/json",
        headers={"Authorization": f"Bearer {service.bearer}"},
    )
    assert answer.status_code in {400, 422}
    assert answer.content_type == "application/problem+json"


def test_movement_is_of_one_class_of_device(service, rows, people):
    """A tablet learns beside a telephone: it is held in another way."""
    service.client_id, service.secret = service.new_client(asserts_context=True)
    service.bearer = service.access()
    taught(service, rows, people[0][:6], context=PHONE)
    tablet = PHONE | {"user_agent": "Mozilla/5.0 (iPad; CPU OS 18_0) Safari/604.1"}
    _, after = typed(service, rows[10], motion=people[0][10], context=tablet)
    assert about(after.json, "motion_learning")
    _, after = typed(service, rows[11], motion=people[0][11], context=PHONE)
    assert about(after.json, "motion_holding")


def test_a_new_password_begins_a_new_grip(service, rows, people):
    """The movement goes with the old password: what a thief taught does not outlive it."""
    person = taught(service, rows, people[0][:6])
    token = service.exchange(service.login(person)["completion_code"]).json["access_token"]
    wanted = {"access_token": token, "act": "enroll:password"}
    grant = service.begin(None, "enrollment", **wanted).json["grant"]
    changed = service.enroll(person, "password", password="a wholly other phrase", grant=grant)
    assert changed.status_code == 201
    assert stored(service) == []


def test_withdrawal_and_erasure_shred_movement(service, rows, people):
    """The rows go with the consent and with the person."""
    for name, path in (("alice", "/consents/behavior"), ("bob", "")):
        person = taught(service, rows, people[0][:2], name=name)
        assert set(signals(service)) == {"keystroke", "motion"}
        gone = service.call("DELETE", f"/v1/subjects/{person.id}{path}")
        assert gone.status_code in {200, 204}
        assert stored(service) == []


def test_movement_without_consent_is_dropped_as_it_comes(service, rows, people):
    """Nothing is compared and nothing kept."""
    person = service.register()
    after, _ = sign_in(service, person, rows[0], motion=people[0][0])
    assert about(after, "not_offered")
    assert stored(service) == []
    assert learned(service, person) == 0
