"""How somebody types, at the login: it may raise what is asked and is learned at AAL2 only."""

import pytest
from sqlalchemy import text

from service.risk.model import ClientContext
from service.signals.behavior.schema import device_class
from tests.functional.behaving import (  # noqa: F401 - fixtures
    AGREED,
    DESKTOP,
    about,
    behave,
    learned,
    past,
    said,
    settle,
    settled_once,
    sign_in,
    stored,
    typed,
)
from tests.functional.conftest import PASSWORD
from tests.typists import contacts, typists, wire


@pytest.fixture(scope="module")
def people():
    return typists(6)


def test_a_profile_is_learned_and_then_speaks(service, people):
    """Five strong logins are learning; then the person scores above a stranger, with reasons."""
    person = service.register(consents=AGREED)
    for number, row in enumerate(people[0][:5]):
        after, _ = sign_in(service, person, row)
        learning = about(after, "keystroke_learning")
        assert learning["contribution"] == 0
        assert f"{number} of 5 samples" in learning["detail"]
    assert learned(service, person) == 5
    settle(service, person, people[0][5:25])
    own = [said(typed(service, row)[1].json) for row in people[0][30:36]]
    others = [said(typed(service, row)[1].json) for rows in people[1:4] for row in rows[:2]]
    assert sum(own) / len(own) > 0 > sum(others) / len(others)
    assert max(map(abs, own + others)) <= 2.01
    _, strange = typed(service, people[1][0])
    named = {item["code"]: item for item in strange.json["risk"]["reasons"]}
    assert "than usual" in named["keystroke_hold"]["detail"]
    assert {"keystroke_press", "keystroke_overall"} <= set(named)


def test_a_flow_shows_the_reasons_to_those_who_may_read_risk(service, people, person):
    """GET tells them as the action did; a client without the scope sees no risk at all."""
    flow, after = typed(service, people[0][6])
    path = f"/v1/flows/{flow['id']}"
    seen = service.call("GET", path, Flow_Token=flow["flow_token"]).json
    assert seen["risk"] == after.json["risk"]
    assert about(seen, "keystroke_hold")
    blind = service.new_client(scopes=("flows:write",))
    service.bearer = service.access(blind)
    flow, after = typed(service, people[0][7])
    assert after.status_code == 200
    assert "risk" not in after.json


def test_without_consent_nothing_is_compared_or_kept(service, people):
    """The sample is dropped as it comes."""
    person = service.register()
    after, _ = sign_in(service, person, people[0][0])
    assert about(after, "not_offered")
    assert stored(service) == []


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"flags": {"paste": True}}, "pasted"),
        ({"flags": {"autofill": True}}, "autofilled"),
        ({"flags": {"edited": True}}, "edited"),
        ({"clock_step_ms": 100}, "coarse_clock"),
    ],
)
def test_what_cannot_be_scored_is_named_and_learned_from_by_nobody(
    service, people, person, more, code
):
    """A pasted, filled in, corrected or coarse sample says 0 and leaves the profile alone."""
    before = stored(service)
    after, _ = sign_in(service, person, people[0][6], **more)
    assert said(after) == 0
    assert about(after, f"keystroke_{code}")["detail"]
    assert stored(service) == before


def test_another_length_is_named_and_taken_for_another_text_only_in_the_end(
    service, people, person
):
    """Twice it is passed over; the third in a row begins the profile anew."""
    longer = typists(1, keys=14)[0]
    for row in longer[:3]:
        flow = service.begin().json
        capture = flow["actions"]["password"]["options"]["capture_id"]
        sample = wire(row, capture, keys=14)
        after = service.act(flow, "password", {"password": PASSWORD, "behavior": sample}).json
        assert about(after, "keystroke_length_differs")
        assert said(after) == 0
        service.act(flow, "totp", {"code": service.code(person)})
        service.clock.advance(seconds=31)
        service.bearer = service.access()
    assert learned(service, person) == 1


def test_a_sample_that_stays_away_counts_against_and_less_each_time(service, people):
    """Withheld is at most 0; whoever stops for good is believed in the end."""
    person = service.register(consents=AGREED)
    assert about(sign_in(service, person, None)[0], "not_offered")
    settle(service, person, people[0][:8])
    found = []
    for _ in range(4):
        after, _ = sign_in(service, person, None)
        found.append(about(after, "keystroke_withheld")["contribution"])
    assert found == sorted(found)
    assert -2 <= found[0] < found[-1] < 0
    # A sample for another challenge is no sample.
    flow = service.begin().json
    other = service.begin().json["actions"]["password"]["options"]["capture_id"]
    body = {"password": PASSWORD, "behavior": wire(people[0][9], other)}
    assert about(service.act(flow, "password", body).json, "keystroke_withheld")


def test_the_timing_of_a_code_is_not_that_of_the_password(service, people):
    """A sample that comes with TOTP is set against nothing and teaches nothing."""
    person = service.register(consents=AGREED)
    flow, _ = typed(service, None)
    seen = service.call("GET", f"/v1/flows/{flow['id']}", Flow_Token=flow["flow_token"]).json
    capture = seen["actions"]["totp"]["options"]["capture_id"]
    body = {"code": service.code(person), "behavior": wire(people[0][0], capture)}
    done = service.act(flow, "totp", body).json
    assert done["status"] == "completed"
    assert about(done, "another_text")
    assert stored(service) == []


@pytest.mark.parametrize(("apart_ms", "again"), [(0.0, True), (0.4, True), (0.9, True), (5, False)])
def test_a_replay_is_a_hard_finding(service, people, apart_ms, again):
    """An accepted sample that comes again within a millisecond makes the band high at least."""
    person = service.register(consents=AGREED)
    settle(service, person, people[0][:7])
    row = people[0][3] + apart_ms / 1000
    before = stored(service)
    _, after = typed(service, row)
    assert bool(about(after.json, "behavior_replayed")) is again
    if again:
        assert after.json["risk"]["band"] in {"high", "critical"}
        assert about(after.json, "behavior_replayed")["contribution"] == -4.0
    assert stored(service) == before
    probe = behave(service, person, rest="/score", body={"behavior": wire(row)}).json
    assert probe["replayed"] is again
    assert not again or probe["llr"] <= -4


def test_a_replayed_sample_is_not_learned_even_at_aal2(service, people, person):
    """Whoever holds the second factor cannot stuff the profile with one typing."""
    sign_in(service, person, people[0][2])
    assert learned(service, person) == 6


def test_a_new_password_begins_a_new_profile(service, people, person):
    """The old one goes with the old password, in the same transaction."""
    token = service.exchange(service.login(person)["completion_code"]).json["access_token"]
    wanted = {"access_token": token, "act": "enroll:password"}
    flow = service.begin(None, "enrollment", **wanted).json
    changed = service.enroll(
        person, "password", password="a wholly other phrase", grant=flow["grant"]
    )
    assert changed.status_code == 201
    assert stored(service) == []


def test_a_revoked_password_takes_its_profile_along(service, people, person):
    """How it was typed tells something about it, and nothing is compared with it any more."""
    path = f"/v1/subjects/{person.id}/authenticators"
    listed = service.call("GET", path).json["items"]
    of = {item["type"]: item["id"] for item in listed}
    token = service.exchange(service.login(person)["completion_code"]).json["access_token"]
    for kind, left in (("recovery_codes", 1), ("password", 0)):
        wanted = {"access_token": token, "act": "revoke:authenticator"}
        grant = service.begin(None, "enrollment", **wanted).json["grant"]
        gone = service.call("DELETE", f"{path}/{of[kind]}", Grant=grant)
        assert gone.status_code == 204
        assert len(stored(service)) == left


def test_a_profile_is_of_one_class_of_device(service, people):
    """A phone learns beside a desktop; a sample of one is not compared with the other."""
    service.client_id, service.secret = service.new_client(asserts_context=True)
    service.bearer = service.access()
    person = service.register(consents=AGREED)
    settle(service, person, people[0][:6], context=DESKTOP)
    phone = DESKTOP | {"user_agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0) Safari/604.1"}
    _, after = typed(service, people[0][7], context=phone)
    assert about(after.json, "keystroke_learning")
    _, after = typed(service, people[0][8], context=DESKTOP)
    assert about(after.json, "keystroke_hold")
    # A recording from the desktop is known on the phone too.
    _, after = typed(service, people[0][3], context=phone)
    assert about(after.json, "behavior_replayed")


@pytest.mark.parametrize(
    ("agent", "asserted", "found"),
    [
        ("Mozilla/5.0 (iPhone; …", True, "phone"),
        ("… Android 14; Pixel 8) Mobile Safari", True, "phone"),
        ("… Android 14; SM-X200) Safari", True, "tablet"),
        ("… iPad; …", True, "tablet"),
        ("… Windows NT 10.0 …", True, "desktop"),
        ("curl/8.0", True, "desktop"),
        ("", True, "unknown"),
        ("… iPhone …", False, "unknown"),
    ],
)
def test_classes_of_devices(service, agent, asserted, found):
    """What a client may not assert counts as unsaid; a touch alone is a class of its own."""
    client_context = ClientContext(user_agent=agent, asserted=asserted)
    parse = service.container.behaviors.parse
    assert device_class(client_context, parse({"v": 1}, "")) == found
    touched = parse({"v": 1, "touch": [[0, 0.5, 1, 1, 0, 0]]}, "")
    assert device_class(client_context, touched) == ("touched" if found == "unknown" else found)


def test_touch_is_scored_with_its_times_counted_once(service, people):
    """A profile of touches speaks in the place of the keys; a missing sensor leaves them."""
    person = service.register(consents=AGREED)
    for number, row in enumerate(people[0][:6]):
        sign_in(service, person, row, touch=contacts(row, number))
    row = people[0][8]
    body = {"behavior": wire(row, touch=contacts(row, 8))}
    found = behave(service, person, rest="/score", body=body).json
    assert set(found["signals"]) == {"keystroke", "touch"}
    codes = {item["code"] for item in found["signals"]["touch"]["reasons"]}
    assert {"touch_pressure", "touch_size", "touch_hold"} <= codes
    assert found["signals"]["keystroke"]["reasons"][0]["code"] == "keystroke_within_touch"
    assert found["llr"] == found["signals"]["touch"]["llr"]
    flat = [[at, 0.5, 1, 1, 0, 0] for at in range(12)]
    found = behave(service, person, rest="/score", body={"behavior": wire(row, touch=flat)}).json
    assert found["signals"]["touch"]["reasons"][0]["code"] == "touch_pressure_missing"
    assert found["signals"]["keystroke"]["samples"] == 6


def test_withdrawal_and_erasure_shred_profiles(service, people):
    """The rows go, and so does the key that an older backup would need."""
    for name, path in (("alice", "/consents/behavior"), ("bob", "")):
        person = service.register(name, consents=AGREED)
        settle(service, person, people[0][:2])
        assert len(stored(service)) == 1
        gone = service.call("DELETE", f"/v1/subjects/{person.id}{path}")
        assert gone.status_code in {200, 204}
        assert stored(service) == []
    *_, proof = service.container.keys.proving.verify()
    assert proof.failed == 0


def test_profiles_are_sealed_anew_while_keys_rotate(service, people):
    """Every profile moves to the new data key and speaks as before."""
    person = service.register(consents=AGREED)
    settle(service, person, people[0][:8])
    body = {"behavior": wire(people[0][9])}
    before = behave(service, person, rest="/score", body=body).json
    moving = service.container.keys.moving
    with service.container.store.transaction() as tx:
        generation = moving.start_generation(tx, "behavior")
    service.clock.advance(seconds=65)
    pages = list(moving.reencrypt_pages("behavior", generation))
    assert [line for page in pages for line in page.bad] == []
    with service.container.store.transaction() as tx:
        assert moving.left_to_reencrypt(tx, "behavior", generation) == 0
        assert moving.drop_old_data_keys(tx, "behavior") >= 1
    service.bearer = service.access()
    assert behave(service, person, rest="/score", body=body).json == before
    settle(service, person, people[0][9:10])
    assert learned(service, person) == 9


def test_timings_are_in_no_log_and_no_plain_byte(service, people, capsys):
    """Neither the log, nor the audit log, nor a table holds a time that was typed."""
    from service.telemetry import logs

    logs.configure("debug")
    person = service.register(consents=AGREED)
    sample = wire(people[0][0])
    sample["keystroke"]["keys"][3][1] = canary = sample["keystroke"]["keys"][3][0] + 123.457
    behave(service, person, rest="/score", body={"behavior": sample})
    behave(service, person, rest="/score", body={"behavior": sample | {"v": 2}})
    flow = service.begin().json
    sample["capture_id"] = flow["actions"]["password"]["options"]["capture_id"]
    service.act(flow, "password", {"password": PASSWORD, "behavior": sample})
    service.act(flow, "totp", {"code": service.code(person)})
    assert learned(service, person) == 1
    logged = capsys.readouterr().err
    assert logged.count("/behavior/score") == 2
    with service.container.store.engine.connect() as connection:
        rows = [
            repr(list(connection.execute(text(f"SELECT * FROM {table}"))))  # noqa: S608 - names of tables
            for table in ("audit_leaf", "outbox", "flow", "behavior_profile", "policy_decision")
        ]
    for mark in (str(canary), str(sample["keystroke"]["keys"][5][0]), "123.457"):
        assert mark not in logged + "".join(rows)
