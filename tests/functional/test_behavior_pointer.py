"""How a pointer is moved, at the login: learned at AAL2 only; what a program moved is named."""

import json

import numpy as np
import pytest
from sqlalchemy import text

from benchmarks import pointer_bots as bots
from tests.functional.behaving import (
    AGREED,
    DESKTOP,
    about,
    behave,
    learned,
    said,
    sign_in,
    stored,
    typed,
)
from tests.functional.conftest import PASSWORD
from tests.typists import pointing, typists, wire

BANDS = ["low", "elevated", "high", "critical"]
TABLET = DESKTOP | {"user_agent": "Mozilla/5.0 (iPad; CPU OS 18_0) Safari/604.1"}


@pytest.fixture(scope="module")
def rows():
    return typists(1, samples=60)[0]


@pytest.fixture(scope="module")
def people():
    return pointing(3)


@pytest.fixture(scope="module")
def script():
    events = bots.script(np.random.default_rng(3), bots.line)
    return [list(event) for event in events]


def taught(service, rows, trails, *, name="alice", context=None):
    """Register somebody and teach them typing and pointer by logins."""
    person = service.register(name, consents=AGREED)
    for row, trail in zip(rows, trails, strict=False):
        sign_in(service, person, row, pointer=trail, context=context)
    return person


def probe(service, person, row, trail):
    """Return what the score of a running session says."""
    body = {"behavior": wire(row, pointer=trail)}
    return behave(service, person, rest="/score", body=body).json


def signals(service):
    """Return which signals are stored."""
    with service.container.store.engine.connect() as connection:
        found = connection.execute(text("SELECT signal, samples, absent FROM behavior_profile"))
        return {row.signal: (row.samples, row.absent) for row in found}


def test_a_pointer_is_learned_and_then_adds_to_the_typing(service, rows, people):
    """Five strong logins are learning; then it says little, with reasons a person can read."""
    person = service.register(consents=AGREED)
    for number in range(5):
        after, _ = sign_in(service, person, rows[number], pointer=people[0][number])
        assert f"{number} of 5 samples" in about(after, "pointer_learning")["detail"]
    sign_in(service, person, rows[5], pointer=people[0][5])
    assert signals(service) == {"keystroke": (6, 0), "pointer": (6, 0)}
    for trail in (people[0][10], people[1][10], people[2][10]):
        found = probe(service, person, rows[30], trail)
        parts = found["signals"]
        assert -0.5 <= parts["pointer"]["llr"] <= 0.25
        assert found["llr"] == pytest.approx(
            parts["keystroke"]["llr"] + parts["pointer"]["llr"], abs=0.151
        )
        reasons = {item["code"]: item for item in parts["pointer"]["reasons"]}
        assert {"pointer_pace", "pointer_bend", "pointer_rest", "pointer_click"} <= set(reasons)
        assert reasons["pointer_pace"]["detail"].endswith(
            ("faster than usual", "slower than usual")
        )
        shares = [item["contribution"] for item in parts["pointer"]["reasons"]]
        assert sum(shares) == pytest.approx(parts["pointer"]["llr"], abs=0.05 * (len(shares) + 1))
    _, after = typed(service, rows[40], pointer=people[1][11])
    assert about(after.json, "pointer_pace") is not None
    assert said(after.json) == pytest.approx(
        probe(service, person, rows[40], people[1][11])["llr"], abs=0.06
    )


def test_a_password_alone_teaches_no_pointer(service, rows, people):
    """An attacker with the password moves nothing, however often he comes."""
    taught(service, rows, people[0][:6])
    before = stored(service)
    for number in range(4):
        _, after = typed(service, rows[20 + number], pointer=people[1][number])
        assert after.status_code == 200
    assert stored(service) == before


def test_who_uses_the_keyboard_is_never_held_to_have_a_pointer(service, rows, people):
    """It stays away as often as it likes: nothing is said, and nothing counted."""
    person = taught(service, rows, people[0][:8])
    for number, trail in enumerate((None, [], [[0, 5, 5, "down"], [80, 5, 5, "up"]])):
        more = {} if trail is None else {"pointer": trail}
        after, _ = sign_in(service, person, rows[10 + number], **more)
        codes = {item["code"]: item for item in after["risk"]["reasons"]}
        assert "pointer_withheld" not in codes
        assert all(codes[code]["contribution"] == 0 for code in codes if "pointer" in code)
        wanted = [None, "pointer_not_used", "pointer_no_hover"][number]
        assert wanted is None or wanted in codes
    assert signals(service) == {"keystroke": (11, 0), "pointer": (8, 0)}


def test_a_program_is_named_without_any_profile_and_never_learned(service, rows, people, script):
    """1.5 nats against, beside what the typing says; the level and the way in stay the same."""
    person = service.register(consents=AGREED)
    plain, _ = sign_in(service, person, rows[0], pointer=people[0][0])
    after, done = sign_in(service, person, rows[1], pointer=script)
    found = about(after, "pointer_scripted_line")
    assert (found["contribution"], found["detail"]) == (
        -1.5,
        "the pointer moves in exactly straight lines",
    )
    assert BANDS.index(after["risk"]["band"]) >= BANDS.index(plain["risk"]["band"])
    for answer in (plain, after):
        assert answer["assurance"]["achieved"]["aal"] == 1
    assert after["assurance"]["required"]["acr"] >= plain["assurance"]["required"]["acr"]
    assert done["status"] == "completed"
    assert signals(service) == {"keystroke": (2, 0), "pointer": (1, 0)}
    assert about(plain, "pointer_learning")["contribution"] == 0


def test_a_pointer_that_comes_again_under_another_typing_is_a_replay(service, rows, people):
    """As it was, elsewhere on the page, drawn larger, or on another class of device."""
    service.client_id, service.secret = service.new_client(asserts_context=True)
    service.bearer = service.access()
    person = taught(service, rows, people[0][:6], context=DESKTOP)
    before = stored(service)
    once = people[0][3]
    copies = (once, bots.moved(once, 80 - 20j), bots.moved(once, 5j, 1.25))
    for number, trail in enumerate(copies):
        context = (DESKTOP, DESKTOP, TABLET)[number]
        _, after = typed(service, rows[20 + number], pointer=trail, context=context)
        assert about(after.json, "behavior_replayed")["contribution"] == -4.0
    sign_in(service, person, rows[25], pointer=once, context=DESKTOP)
    assert stored(service) == before
    _, fresh = typed(service, rows[26], pointer=people[0][20], context=DESKTOP)
    assert about(fresh.json, "behavior_replayed") is None


def test_a_pointer_is_of_one_class_of_device(service, rows, people):
    """A trackpad beside a tablet is not the mouse of the desk."""
    service.client_id, service.secret = service.new_client(asserts_context=True)
    service.bearer = service.access()
    taught(service, rows, people[0][:6], context=DESKTOP)
    _, after = typed(service, rows[10], pointer=people[0][10], context=TABLET)
    assert about(after.json, "pointer_learning")
    _, after = typed(service, rows[11], pointer=people[0][11], context=DESKTOP)
    assert about(after.json, "pointer_pace")


def test_a_new_password_withdrawal_and_erasure_take_the_pointer_along(service, rows, people):
    """Nothing of it outlives its password, its consent or its person."""
    person = taught(service, rows, people[0][:2])
    token = service.exchange(service.login(person)["completion_code"]).json["access_token"]
    wanted = {"access_token": token, "act": "enroll:password"}
    grant = service.begin(None, "enrollment", **wanted).json["grant"]
    changed = service.enroll(person, "password", password="a wholly other phrase", grant=grant)
    assert changed.status_code == 201
    assert stored(service) == []
    service.clock.advance(seconds=31)
    for name, path in (("bob", "/consents/behavior"), ("carol", "")):
        person = taught(service, rows, people[0][:2], name=name)
        assert set(signals(service)) == {"keystroke", "pointer"}
        gone = service.call("DELETE", f"/v1/subjects/{person.id}{path}")
        assert gone.status_code in {200, 204}
        assert stored(service) == []
    person = service.register("dan")
    after, _ = sign_in(service, person, rows[0], pointer=people[0][0])
    assert about(after, "not_offered")
    assert learned(service, person) == 0


def test_pointers_are_imported_with_the_typing(service, rows, people, script):
    """What is unfit is passed over and the rest taken; a pointer alone is a sample too."""
    person = service.register(consents=AGREED)
    samples = [wire(row, pointer=trail) for row, trail in zip(rows[:3], people[0], strict=False)]
    alone = [{"v": 1, "pointer": people[0][5]}, {"v": 1, "pointer": script}]
    answer = behave(service, person, rest="/samples", body={"samples": [*samples, *alone]})
    assert answer.json["refused"] == [{"index": 4, "code": "scripted_line"}]
    assert {name: count for name, (count, _) in signals(service).items()} == {
        "keystroke": 3,
        "pointer": 4,
    }


@pytest.mark.parametrize(
    ("events", "place"),
    [
        ([[-1, 0, 0, "move"]], "/pointer/0/0"),
        ([[600_001, 0, 0, "move"]], "/pointer/0/0"),
        ([[0, 2e6, 0, "move"]], "/pointer/0/1"),
        ([[0, 0, "x", "move"]], "/pointer/0/2"),
        ([[0, 0, 0, "drag"]], "/pointer/0/3"),
        ([[0, 0, 0]], "/pointer/0/3"),
        ([[1, 1, 1, "move"]] * 10_000, "/pointer"),
        ({"a": 1}, "/pointer"),
    ],
)
def test_what_is_malformed_is_named_with_its_place(service, rows, people, events, place):
    """Set aside beside a right password, 422 where it is asked about; no profile changes."""
    person = taught(service, rows, people[0][:2])
    before = stored(service)
    flow = service.begin().json
    body = {"password": PASSWORD, "behavior": wire(rows[10], pointer=events)}
    one = service.act(flow, "password", body)
    two = behave(service, person, rest="/score", body={"behavior": body["behavior"]})
    assert (one.status_code, two.status_code) == (200, 422), (one.json, two.json)
    for told in (one.json["set_aside"], two.json["errors"]):
        assert told[0]["pointer"] == "/behavior" + place
    assert stored(service) == before


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_pointer_that_is_no_number_is_refused(service, rows, people, number, at):
    """Never a fault of the server."""
    person = service.register(consents=AGREED)
    trail = [list(event) for event in people[0][10]]
    trail[7][at] = 77.25
    sent = json.dumps({"behavior": wire(rows[10], pointer=trail)}).replace("77.25", number)
    answer = service.http.post(
        f"/v1/subjects/{person.id}/behavior/score",
        data=sent,
        content_type="application/json",
        headers={"Authorization": f"Bearer {service.bearer}"},
    )
    assert answer.status_code in {400, 422}
    assert answer.content_type == "application/problem+json"


def test_times_that_go_back_are_named_and_not_learned(service, rows, people):
    """Well formed, but of no clock: nil, while the typing counts and is learned as ever."""
    person = taught(service, rows, people[0][:6])
    back = [
        [1000 - event[0] if event[0] < 1000 else event[0], *event[1:]] for event in people[0][10]
    ]
    found = probe(service, person, rows[10], back)
    part = found["signals"]["pointer"]
    assert (part["llr"], part["reasons"][0]["code"]) == (0, "pointer_time_reversed")
    assert found["llr"] == found["signals"]["keystroke"]["llr"] != 0
    sign_in(service, person, rows[10], pointer=back)
    assert signals(service) == {"keystroke": (7, 0), "pointer": (6, 0)}
