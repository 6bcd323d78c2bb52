"""How hard a face must show that it lives follows the policy; what was seen is in the audit log."""

from uuid import UUID

import cv2
import numpy as np
import pytest

from biometrics.face.frames import Frame, transcript
from service.factors.face.engine_pool import EnginePool
from service.factors.face.model import Mode
from tests.functional.conftest import CONSENT
from tests.functional.policing import changed, in_force
from tests.functional.test_face import HERS, MINE, at_face, capture, enroll, frames
from tests.functional.test_face_score import audited, score


@pytest.fixture
def faces(service, face_engine):
    """The service with a face engine, active by its setting and passive by its policy."""
    service.container.face._reader = EnginePool(lambda: face_engine, 1)
    assert service.container.face._mode is Mode.ACTIVE
    asks(service, "passive")
    return service


@pytest.fixture
def past(opened_once):
    """Nobody is registered before there are faces."""
    return opened_once


@pytest.fixture
def person(faces):
    """Somebody with a face."""
    found = faces.register(consents=[CONSENT | {"purpose": "face"}])
    assert enroll(faces, found, *MINE[:3]).status_code == 200
    return found


def asks(service, liveness):
    """Put a policy in force that asks for a mode."""
    in_force(service, changed(face={"liveness": liveness}))


def mode(flow):
    """Return the mode of a flow's challenge."""
    return flow["actions"]["face"]["options"]["mode"]


def test_the_policy_says_how_hard_and_the_setting_where_it_does_not(faces, person):
    """Enrollment, flow and score follow the segment; without a word of it, the setting."""
    assert faces.enroll(person, "face").json["challenge"]["mode"] == "passive"
    assert mode(at_face(faces, person)) == "passive"
    assert score(faces, person, MINE[3]).json["liveness"]["mode"] == "passive"
    in_force(faces, changed())
    faces.clock.advance(seconds=30)
    flow = at_face(faces, person)
    assert (mode(flow), len(flow["actions"]["face"]["options"]["gestures"])) == ("active", 3)
    assert faces.enroll(person, "face").json["challenge"]["mode"] == "active"
    assert score(faces, person, MINE[4]).json["liveness"]["mode"] == "active"


def test_each_segment_asks_for_its_own_and_inherits(faces):
    """A subject's segment counts; one that says nothing inherits from the one it extends."""
    document = changed(face={"liveness": "passive"})
    document["segments"]["till"] = {"extends": "default", "face": {"liveness": "off"}}
    document["segments"]["shop"] = {"extends": "default"}
    in_force(faces, document)
    client = faces.new_client(name="all", segments=("default", "till", "shop"))
    faces.bearer = faces.access(client)
    for name in ("default", "till", "shop"):
        told = CONSENT | {"purpose": "face"}
        who = faces.register(name, segment=name, consents=[told])
        added = faces.enroll(who, "face").json
        assert added["challenge"]["mode"] == ("off" if name == "till" else "passive")
        assert "segment" not in added["challenge"]


def test_before_anything_is_told_the_strictest_segment_of_the_client_counts(faces, person):
    """A face as the first layer: the challenge may not tell of which segment somebody is."""
    document = changed(face={"liveness": "off"})
    ways = {"acr": "urn:lamina:acr:aal2", "layers": [["face"], ["password"], ["totp"]]}
    document["segments"]["default"]["login"] = ways
    document["segments"]["till"] = {"extends": "default", "face": {"liveness": "passive"}}
    in_force(faces, document)
    assert mode(faces.begin().json) == "off"
    client = faces.new_client(name="all", segments=("default", "till"))
    bearer = faces.access(client)
    for name in ("alice", "nobody"):
        flow = faces.call(
            "POST", "/v1/flows", {"kind": "login", "identifier": name}, bearer=bearer
        ).json
        assert mode(flow) == "passive"


def test_a_challenge_keeps_its_mode_and_is_void_once_the_policy_asks_for_more(faces, person):
    """An answer in a weaker mode than the present one is refused unread, with a fresh challenge."""
    flow = at_face(faces, person)
    asks(faces, "active")
    late = faces.act(flow, "face", capture(flow, MINE[4]))
    assert late.status_code == 422
    assert late.json["errors"][0] == {
        "pointer": "/challenge_id",
        "code": "challenge_outdated",
        "detail": "is weaker than the current policy requires; answer the new challenge",
    }
    flow |= late.json["flow"]
    assert mode(flow) == "active"
    stills = faces.act(flow, "face", capture(flow, MINE[4]))
    assert stills.json["errors"][0]["code"] == "frame_count"
    # Nothing was compared, so that the account's counter is as it was.
    asks(faces, "passive")
    for picture in HERS[:4]:
        assert score(faces, person, picture).json["matched"] is False
    assert score(faces, person, MINE[5]).json["matched"] is True


def test_a_challenge_stands_while_the_policy_asks_for_less(faces, person):
    """A stricter challenge than the present policy's is still good."""
    flow = at_face(faces, person)
    asks(faces, "off")
    assert faces.act(flow, "face", capture(flow, MINE[4])).json["status"] == "completed"


def test_an_enrollment_follows_a_changed_policy(faces):
    """The pending challenge is void, and the next one asks for what the policy asks."""
    found = faces.register(consents=[CONSENT | {"purpose": "face"}])
    added = faces.enroll(found, "face").json
    asks(faces, "active")
    path = f"/v1/subjects/{found.id}/authenticators/{added['id']}/confirm"
    challenge = added["challenge"]["challenge_id"]
    answer = faces.call("POST", path, {"challenge_id": challenge, "frames": frames(*MINE[:3])})
    assert answer.json["errors"][0]["code"] == "challenge_outdated"
    assert answer.json["challenge"]["mode"] == "active"


def hashed(challenge_id, *pictures):
    """Recompute what the audit log must hold, from the frames that were sent."""
    sent = [Frame(100.0 * number, picture) for number, picture in enumerate(pictures)]
    found = transcript(challenge_id.encode(), sent).hex()
    return {"challenge": challenge_id, "transcript": found}


def kept(service, kind):
    """Return challenge and transcript of every leaf of a kind about a face."""
    return [
        {"challenge": item["challenge"], "transcript": item["transcript"]}
        for item in audited(service, kind)
        if "transcript" in item
    ]


def test_a_capture_can_be_shown_to_be_the_one_that_was_seen(faces, person):
    """Enrolled, failed, verified and scored: the log's hash is that of the frames sent."""
    added = faces.enroll(person, "face").json
    path = f"/v1/subjects/{person.id}/authenticators/{added['id']}/confirm"
    nonce = added["challenge"]["challenge_id"]
    body = {"challenge_id": nonce, "frames": frames(*MINE[3:6])}
    assert faces.call("POST", path, body).status_code == 200
    assert hashed(nonce, *MINE[3:6]) in kept(faces, "authenticator.enrolled")
    flow = at_face(faces, person)
    for picture, kind in ((HERS[1], "factor.failed"), (MINE[1], "factor.verified")):
        nonce = flow["actions"]["face"]["options"]["challenge_id"]
        answer = faces.act(flow, "face", capture(flow, picture))
        assert kept(faces, kind) == [hashed(nonce, picture)]
        flow |= answer.json.get("flow", answer.json)
    assert flow["status"] == "completed"
    score(faces, person, HERS[2], HERS[3])
    assert kept(faces, "face.scored") == [hashed("", HERS[2], HERS[3])]


def test_what_is_typed_leaves_nothing_in_the_log(faces, person):
    """A password or a code has no transcript; the digest of a decision has a key."""
    at_face(faces, person)
    typed = [item for item in audited(faces, "factor.verified") if item["factor"] != "face"]
    assert {item["factor"] for item in typed} == {"password", "totp"}
    beside = {"rows", "rows_mac", "decision"}
    assert all(set(item) - beside == {"flow", "flow_kind", "factor"} for item in typed)


def failing(service, person, flow, number):
    """Fail at the action of a flow, unread; return the status."""
    body = {"challenge_id": "of another", "frames": frames(MINE[number % len(MINE)])}
    return service.act(flow, "face", body).status_code


def test_an_active_challenge_has_ten_free_and_a_score_makes_it_five(faces, person):
    """The mode of the challenge counts, on every path and under every name of the account."""
    asks(faces, "active")
    flow = at_face(faces, person)
    assert [failing(faces, person, flow, 0) for _ in range(6)] == [422] * 6
    pending = faces.enroll(person, "face").json
    path = f"/v1/subjects/{person.id}/authenticators/{pending['id']}/confirm"
    wrong = {"challenge_id": "of another", "frames": frames(*MINE[3:6])}
    assert [faces.call("POST", path, wrong).status_code for _ in range(3)] == [422] * 3
    # Nine in a row: pictures that nobody was told to move for are past their five.
    assert score(faces, person, MINE[4]).status_code == 429
    assert failing(faces, person, flow, 0) == 422
    for answer in (
        score(faces, person, MINE[4]),
        faces.call("POST", path, wrong),
        faces.act(flow, "face", wrong),
        named(faces, "ALICE"),
    ):
        assert answer.status_code == 429


def named(service, name):
    """Begin anew under another spelling of the name, and try a password."""
    return service.act(service.begin(name).json, "password", {"password": "wrong pass phrase"})


def test_a_failed_score_leaves_five_for_active_challenges_too(faces, person):
    """One failure that was not told to move, and the row is that of the stricter mode."""
    asks(faces, "active")
    assert score(faces, person, HERS[0]).json["matched"] is False
    flow = at_face(faces, person)
    assert [failing(faces, person, flow, 0) for _ in range(5)] == [422] * 4 + [429]


@pytest.mark.parametrize("liveness", ["passive", "off"])
def test_the_other_modes_have_five(faces, person, liveness):
    """Stills, whether looked at for cues or not."""
    asks(faces, "active")
    asks(faces, liveness)
    flow = at_face(faces, person)
    assert [failing(faces, person, flow, 0) for _ in range(6)] == [422] * 5 + [429]


def faded(picture):
    """Return a JPEG without colors, as a print in black and white has none."""
    grey = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_GRAYSCALE)
    return cv2.imencode(".jpg", grey)[1].tobytes()


@pytest.mark.parametrize("liveness", ["passive", "off"])
def test_a_faded_face_may_be_asked_for_more(faces, person, liveness):
    """It verifies and speaks against itself; where no liveness is asked for, no cue is judged."""
    raised = {"elevated": {"layers": [["recovery_code"]]}}
    bands = {"elevated": -0.9, "high": -4, "critical": -7}
    document = changed(face={"liveness": liveness}, bands=bands) | {"name": "cues"}
    document["segments"]["default"]["raise"] = raised
    in_force(faces, document)
    flow = at_face(faces, person)
    done = faces.act(flow, "face", capture(flow, faded(MINE[4])))
    assert done.status_code == 200
    reasons = {item["code"]: item for item in done.json["risk"]["reasons"]}
    # Whom a stranger's face came as near as this one is told, not how near this one is.
    assert reasons["face_distance"]["detail"].startswith("of strangers at most 0.11%")
    if liveness == "off":
        assert done.json["status"] == "completed"
        assert "face_faded" not in reasons
        return
    assert (done.json["status"], next(iter(done.json["actions"]))) == ("pending", "recovery_code")
    assert reasons["face_faded"]["contribution"] == -1.0
    flow |= done.json
    assert faces.act(flow, "recovery_code", {"code": person.codes[0]}).json["status"] == "completed"


def test_a_face_in_its_colors_is_asked_for_nothing_more(faces, person):
    """The same policy and the same person, in color; what was read ends with the flow."""
    document = changed(
        face={"liveness": "passive"}, bands={"elevated": -0.9, "high": -4, "critical": -7}
    )
    document["segments"]["default"]["raise"] = {"elevated": {"layers": [["recovery_code"]]}}
    in_force(faces, document)
    flow = at_face(faces, person)
    done = faces.act(flow, "face", capture(flow, MINE[4]))
    assert done.json["status"] == "completed"
    from service.login import store

    with faces.container.store.transaction(read=True) as tx:
        ended = store.find(tx, UUID(flow["id"]))
    assert (dict(ended.readings), dict(ended.samples)) == ({}, {})


def test_a_faded_picture_lowers_a_score(faces, person):
    """The band is elevated, and the cue is among the reasons that no life was shown."""
    told = score(faces, person, faded(MINE[4])).json
    assert (told["matched"], told["band"]) == (True, "elevated")
    assert told["liveness"]["reasons"] == ["not_asked", "faded"]
    asks(faces, "off")
    told = score(faces, person, faded(MINE[5])).json
    assert (told["band"], told["liveness"]["reasons"]) == ("low", ["not_asked"])
