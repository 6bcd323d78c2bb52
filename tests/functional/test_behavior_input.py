"""Whatever is sent as behavior is refused with its place or named, and never changes a profile."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.depth import depth
from tests.functional.behaving import AGREED, about, behave, past, settle, settled_once, stored  # noqa: F401 - fixtures
from tests.functional.conftest import PASSWORD
from tests.typists import contacts, typists, wire


@pytest.fixture(scope="module")
def people():
    return typists(2)


@pytest.fixture
def sqlite_only(url):
    """What is computed from a sample does not depend on the database."""
    if not url.startswith("sqlite"):
        pytest.skip("does not depend on the database")


def keys(times):
    """Return a sample of presses."""
    return {"v": 1, "keystroke": {"field": "password", "keys": times}}


GOOD = [[0, 80, "char"], [120, 200, "char"], [260, 330, "char"]]
REFUSED = {
    "a negative time": (keys([[-1, 80, "char"]]), "/keystroke/keys/0/0"),
    "a time past ten minutes": (keys([[0, 600_001, "char"]]), "/keystroke/keys/0/1"),
    "falling presses": (keys([[100, 180, "char"], [50, 120, "char"]]), "/keystroke"),
    "a release before its press": (keys([[100, 80, "char"]]), "/keystroke"),
    "10,000 keys": (keys([[at, at, "char"] for at in range(10_000)]), "/keystroke/keys"),
    "a key by name": (keys([[0, 80, "a"]]), "/keystroke/keys/0/2"),
    "a key too short": (keys([[0, 80]]), "/keystroke/keys/0/2"),
    "an unknown version": ({"v": 2}, "/v"),
    "no version": ({}, "/v"),
    "an unknown member": ({"v": 1, "compass": []}, ""),
    "a list": ([], ""),
    "a field with a name of its own": (
        {"v": 1, "keystroke": {"field": "pass word", "keys": GOOD}},
        "/keystroke/field",
    ),
    "a touch of no key": ({"v": 1, "touch": [[64, 0.5, 1, 1, 0, 0]]}, "/touch/0/0"),
    "a touch too large": ({"v": 1, "touch": [[0, 1e9, 1, 1, 0, 0]]}, "/touch/0/1"),
    "a clock that is none": ({"v": 1, "clock_step_ms": -1}, "/clock_step_ms"),
    "motion at no rate": ({"v": 1, "motion": {"hz": 0, "from": 0}}, "/motion/hz"),
    "a compass in motion": ({"v": 1, "motion": {"hz": 50, "from": 0, "mag": []}}, "/motion"),
    "33 KB": (
        {
            "v": 1,
            "pointer": [[12345.678, 123.4567, 123.4567, "move"]] * 500,
            "motion": {
                "hz": 50,
                "from": 0,
                "acc": [[1.23456, 1.23456, 9.87654]] * 400,
                "rot": [[1.23456, 1.23456, 9.87654]] * 400,
            },
        },
        "",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_malformed_is_named_with_its_place(service, people, person, name):
    """422 with the pointer where a sample is what is asked about; the profile stays as it is."""
    sample, pointer = REFUSED[name]
    before = stored(service)
    two = behave(service, person, rest="/score", body={"behavior": sample})
    three = behave(service, person, rest="/samples", body={"samples": [wire(people[0][9]), sample]})
    for answer, where in ((two, "/behavior"), (three, "/samples/1")):
        assert answer.status_code == 422, (where, answer.json)
        assert answer.json["errors"][0]["pointer"] == where + pointer
    assert stored(service) == before


HONEST = {
    "a key-up that never came": (
        keys([[0, 80, "char"], [120, None, "char"]]),
        "/keystroke/keys/1/1",
    ),
    "80 characters with their keys": (
        keys([[100 * at, 100 * at + 80, "char"] for at in range(80)]),
        "/keystroke/keys",
    ),
    "presses that a script has sorted otherwise": (
        keys([[120, 200, "char"], [0, 80, "char"]]),
        "/keystroke",
    ),
    "null": (None, ""),
    "a text": ("typed", ""),
}


@pytest.mark.parametrize("name", [*REFUSED, *HONEST])
def test_a_malformed_sample_never_blocks_a_right_password(service, people, person, name):
    """It is set aside and named; it says as much as one that was never sent."""
    sample, pointer = (REFUSED | HONEST)[name]
    before = stored(service)
    flow = service.begin().json
    found = service.act(flow, "password", {"password": PASSWORD, "behavior": sample})
    assert found.status_code == 200, found.json
    assert found.json["set_aside"][0]["pointer"] == "/behavior" + pointer
    assert found.json["attempts_left"] == flow["attempts_left"]
    wrong = service.act(flow, "totp", {"code": "000000", "behavior": sample})
    assert (wrong.status_code, wrong.json["code"]) == (422, "verification_failed")
    assert wrong.json["flow"]["set_aside"][0]["pointer"] == "/behavior" + pointer
    other = service.begin().json
    without = service.act(other, "password", {"password": PASSWORD}).json
    assert "set_aside" not in without
    assert without["risk"] == found.json["risk"]
    assert stored(service) == before


def test_a_sample_of_the_first_request_is_set_aside_by_its_place(service, person):
    """Where the flow begins with a password, the pointer leads into that input."""
    action = {"name": "password", "input": {"password": PASSWORD, "behavior": {"v": 2}}}
    found = service.call(
        "POST", "/v1/flows", {"kind": "login", "identifier": "alice", "action": action}
    )
    assert found.status_code == 201, found.json
    assert found.json["set_aside"][0]["pointer"] == "/action/input/behavior/v"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "null", "[]"])
def test_a_time_that_is_no_number_is_refused(service, person, number):
    """As JSON or as a value; never a fault of the server."""
    before = stored(service)
    text = json.dumps({"behavior": keys([[0, 80, "char"], [120, 200, "char"]])})
    path = f"/v1/subjects/{person.id}/behavior/score"
    answer = service.http.post(
        path,
        data=text.replace("200", number),
        content_type="application/json",
        headers={"Authorization": f"Bearer {service.bearer}"},
    )
    assert answer.status_code in {400, 422}
    assert stored(service) == before


WHEN = st.floats(0, 3000) | st.floats(0, 6e5)
KINDS = st.sampled_from(["char", "shift", "enter", "backspace"])
# Half of them have as many keys as the profile, so that they are scored.
TIMES = st.lists(st.tuples(WHEN, WHEN, KINDS), max_size=20) | st.lists(
    st.tuples(WHEN, WHEN, st.just("char")), min_size=12, max_size=12
)
NUMBERS = st.floats(-1e6, 1e6)
WHOLE = st.builds(
    lambda times, touches, more: (
        {
            "v": 1,
            "keystroke": {
                "field": "password",
                "keys": [
                    [down, max(down, up), kind]
                    for down, (_, up, kind) in zip(sorted(t[0] for t in times), times, strict=True)
                ],
            },
            "touch": [[at, *row, 0, 0] for at, row in enumerate(touches[: len(times)])],
        }
        | more
    ),
    TIMES,
    st.just([]) | st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), max_size=20),
    st.fixed_dictionaries(
        {},
        optional={
            "clock_step_ms": st.floats(0, 1000),
            "pointer": st.lists(
                st.tuples(
                    st.floats(0, 6e5),
                    NUMBERS,
                    NUMBERS,
                    st.sampled_from(["move", "move", "down", "up"]),
                ),
                max_size=40,
            ),
            "motion": st.just({"hz": 50, "from": 0, "acc": [[0, 0, 9.8]]}),
        },
    ),
)


@settings(max_examples=depth(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sample=WHOLE)
def test_whatever_is_well_formed_gets_a_number(sqlite_only, service, person, sample):
    """Any times, contacts and steps within the form: a finite ratio within -6 to 5."""
    answer = behave(service, person, rest="/score", body={"behavior": sample})
    assert answer.status_code == 200, answer.json
    assert -6 <= answer.json["llr"] <= 5
    for part in answer.json["signals"].values():
        assert part["reasons"]


def test_bodies_are_bounded(service, people, person):
    """Beyond the largest body it is 413; more samples than are taken at once 422."""
    long = {"behavior": wire(people[0][0]) | {"capture_id": "x" * 300_000}}
    assert behave(service, person, rest="/score", body=long).status_code == 413
    many = {"samples": [wire(people[0][0])] * 51}
    answer = behave(service, person, rest="/samples", body=many)
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "/samples")
    assert behave(service, person, rest="/samples", body={"samples": []}).status_code == 422


@pytest.mark.parametrize(
    ("sample", "code"),
    [
        (keys([[0, 80, "char"]]), "keystroke_too_few_keys"),
        (keys([]), "keystroke_too_few_keys"),
        (keys(GOOD), "keystroke_length_differs"),
        (keys([[111 * at, 111 * at + 37, "char"] for at in range(12)]), "keystroke_zero_variance"),
        (keys([[0, 0, "char"]] * 12), "keystroke_zero_variance"),
        (
            keys([[100 * at, 100 * at + 100 * (at % 3), "char"] for at in range(12)]),
            "keystroke_coarse_clock",
        ),
        (keys([*GOOD, [400, 470, "backspace"]]), "keystroke_edited"),
        ({"v": 1, "keystroke": {"field": "username", "keys": GOOD}}, "keystroke_another_text"),
        ({"v": 1, "touch": [[0, 0.5, 1, 1, 0, 0]]}, "touch_touch_without_keys"),
    ],
)
def test_what_cannot_be_scored_is_named(service, person, sample, code):
    """One key, no keys, another length, no variance, steps of a clock: 0 nats each, by name."""
    before = stored(service)
    found = behave(service, person, rest="/score", body={"behavior": sample})
    assert found.status_code == 200, found.json
    named = [item["code"] for part in found.json["signals"].values() for item in part["reasons"]]
    assert code in named
    assert found.json["llr"] <= 0
    flow = service.begin().json
    capture = flow["actions"]["password"]["options"]["capture_id"]
    body = {"password": PASSWORD, "behavior": sample | {"capture_id": capture}}
    after = service.act(flow, "password", body)
    assert after.status_code == 200, after.json
    assert about(after.json, code), after.json["risk"]
    assert stored(service) == before


def test_a_sample_with_everything_missing_says_nothing(service, person):
    """What is not there is withheld at most, and never a fault."""
    sample = {"v": 1, "missing": {"keystroke": "denied", "touch": "unsupported"}}
    found = behave(service, person, rest="/score", body={"behavior": sample}).json
    assert found["signals"]["keystroke"]["reasons"][0]["code"] == "keystroke_withheld"
    assert found["llr"] <= 0


def test_touches_of_another_count_leave_the_keys(service, people):
    """A touch too few is named, and the times are scored all the same."""
    person = service.register(consents=AGREED)
    for row in people[0][:6]:
        settle(service, person, [row], touch=contacts(row))
    row = people[0][9]
    sample = wire(row, touch=contacts(row)[:-1])
    found = behave(service, person, rest="/score", body={"behavior": sample}).json["signals"]
    assert found["touch"]["reasons"][0]["code"] == "touch_touches_incomplete"
    assert len(found["keystroke"]["reasons"]) > 2
