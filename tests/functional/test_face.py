"""The face as a further layer, over HTTP, on two public-domain portraits."""

import base64

import pytest

from lab.face import portraits
from service.factors.face.engine_pool import EnginePool
from service.factors.face.model import MOST_CHALLENGES, Mode
from service.login.model import ATTEMPTS
from tests.functional.conftest import CONSENT, PASSWORD


@pytest.fixture
def faces(service, face_engine):
    """The service with a face engine."""
    service.container.face._reader = EnginePool(lambda: face_engine, 1)
    service.container.face._mode = Mode.PASSIVE
    return service


ME = portraits.collins()
MINE = [ME, *portraits.variants(ME)]
HERS = [portraits.hopper(), *portraits.variants(portraits.hopper())]


def frames(*pictures):
    """Return pictures as frames."""
    return [
        {"t": 100.0 * number, "image": base64.b64encode(picture).decode()}
        for number, picture in enumerate(pictures)
    ]


def enroll(service, person, *pictures):
    """Enroll a face with pictures; return the answer to the confirmation."""
    added = service.enroll(person, "face")
    assert added.status_code == 201, added.json
    path = f"/v1/subjects/{person.id}/authenticators/{added.json['id']}/confirm"
    challenge = added.json["challenge"]["challenge_id"]
    return service.call("POST", path, {"challenge_id": challenge, "frames": frames(*pictures)})


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


def at_face(service, person):
    """Return a flow in which only the face is left."""
    flow = service.begin().json
    service.act(flow, "password", {"password": PASSWORD})
    after = service.act(flow, "totp", {"code": service.code(person)})
    assert after.status_code == 200, after.json
    return flow | after.json


def capture(flow, *pictures):
    """Return the input of the action."""
    challenge = flow["actions"]["face"]["options"]["challenge_id"]
    return {"challenge_id": challenge, "frames": frames(*pictures)}


def test_the_right_face_completes_and_another_does_not(faces, person):
    """After password and TOTP the policy asks for the enrolled face."""
    flow = at_face(faces, person)
    assert flow["assurance"]["achieved"]["acr"] == "urn:lamina:acr:aal2"
    other = faces.act(flow, "face", capture(flow, portraits.hopper()))
    assert (other.status_code, other.json["code"]) == (422, "verification_failed")
    stale = faces.act(flow, "face", capture(flow, MINE[4]))
    assert stale.status_code == 422
    flow |= stale.json["flow"]
    done = faces.act(flow, "face", capture(flow, MINE[4]))
    assert done.json["status"] == "completed"
    assert "face" in done.json["assurance"]["achieved"]["amr"]


def test_a_recovery_code_is_offered_beside_the_face(faces, person):
    """Nobody is forced to show a face."""
    flow = at_face(faces, person)
    assert "recovery_code" in flow["actions"]
    done = faces.act(flow, "recovery_code", {"code": person.codes[0]})
    assert done.json["status"] == "completed"


def test_an_unusable_picture_is_no_attempt(faces, person):
    """The fault points at the frame, with an advice; the challenge is a fresh one."""
    flow = at_face(faces, person)
    bad = faces.act(flow, "face", capture(flow, b"no picture at all, but long enough for it"))
    assert bad.json["errors"][0] == {
        "pointer": "/frames/0/image",
        "code": "not_an_image",
        "detail": "Send a JPEG, PNG or WebP picture.",
    }
    path = f"/v1/flows/{flow['id']}"
    seen = faces.call("GET", path, Flow_Token=flow["flow_token"]).json
    # The account's counter is left alone; the flow pays for the fresh challenge.
    assert seen["attempts_left"] == flow["attempts_left"] - 1
    assert bad.json["flow"]["actions"] == seen["actions"]
    flow |= seen
    assert faces.act(flow, "face", capture(flow, MINE[5])).status_code == 200


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        (lambda f: f[0].update(image="%%%"), "/frames/0/image"),
        (lambda f: f[1].update(image=f[0]["image"]), "/frames/1/image"),
        (lambda f: f[1].update(t=0), "/frames/1/t"),
        (lambda f: f.clear(), "/frames"),
        (lambda f: f.extend(f * 14), "/frames"),
    ],
)
def test_frames_are_checked_before_they_are_read(faces, person, change, pointer):
    """Not base64, twice the same, out of order, none or too many: each points at its place."""
    flow = at_face(faces, person)
    body = capture(flow, MINE[0], MINE[1])
    change(body["frames"])
    assert faces.act(flow, "face", body).json["errors"][0]["pointer"] == pointer


def test_an_enrollment_draws_no_more_challenges_than_a_flow(faces):
    """Or frames that were recorded for one order would wait until it comes, at no cost."""
    person = faces.register(consents=[CONSENT | {"purpose": "face"}])
    added = faces.enroll(person, "face").json
    path = f"/v1/subjects/{person.id}/authenticators/{added['id']}/confirm"
    challenge, drawn = added["challenge"], set()
    while challenge is not None:
        drawn.add(challenge["challenge_id"])
        body = {"challenge_id": challenge["challenge_id"], "frames": frames(b"no picture")}
        refused = faces.call("POST", path, body)
        assert (refused.status_code, refused.json["code"]) == (422, "invalid_input")
        challenge = refused.json.get("challenge")
        assert len(drawn) <= MOST_CHALLENGES
    assert len(drawn) == MOST_CHALLENGES == ATTEMPTS
    ended = faces.call("POST", path, body)
    assert (ended.status_code, ended.json["code"]) == (409, "not_pending")
    assert "enroll" in ended.json["detail"]
    assert enroll(faces, person, *MINE[:3]).status_code == 200


def test_a_confirmation_that_is_refused_late_leaves_the_face_of_one_that_was_first(
    faces, monkeypatch
):
    """It writes no challenge over a template: the face goes on to match."""
    person = faces.register(consents=[CONSENT | {"purpose": "face"}])
    added = faces.enroll(person, "face").json
    path = f"/v1/subjects/{person.id}/authenticators/{added['id']}/confirm"
    asked, read = {"challenge_id": added["challenge"]["challenge_id"]}, faces.container.face._read
    first = []

    def overtaken(pictures, *more):
        if not first:
            first.append(None)
            first.append(faces.call("POST", path, asked | {"frames": frames(*MINE[:3])}))
        return read(pictures, *more)

    monkeypatch.setattr(faces.container.face, "_read", overtaken)
    late = faces.call("POST", path, asked | {"frames": frames(b"no", b"picture", b"at all")})
    assert first[1].json["status"] == "active"
    assert (late.status_code, late.json["code"]) == (409, "not_pending")
    flow = at_face(faces, person)
    assert faces.act(flow, "face", capture(flow, MINE[4])).json["status"] == "completed"


def test_a_challenge_expires(faces, person):
    """Two minutes after it was given a capture comes too late."""
    flow = at_face(faces, person)
    faces.clock.advance(seconds=121)
    late = faces.act(flow, "face", capture(flow, MINE[4]))
    assert late.json["errors"][0]["code"] == "challenge_expired"
    fresh = faces.act(flow | late.json["flow"], "face", capture(late.json["flow"], MINE[4]))
    assert fresh.json["status"] == "completed"


def test_two_people_cannot_enroll_as_one(faces):
    """Frames that differ too much are refused, and so is a wrong challenge."""
    found = faces.register(consents=[CONSENT | {"purpose": "face"}])
    assert enroll(faces, found, ME, MINE[1], portraits.hopper()).status_code == 422
    added = faces.enroll(found, "face").json
    path = f"/v1/subjects/{found.id}/authenticators/{added['id']}/confirm"
    wrong = faces.call("POST", path, {"challenge_id": "other", "frames": frames(*MINE[:3])})
    assert wrong.status_code == 422


def test_a_face_needs_consent_and_goes_with_it(faces, person):
    """Withdrawing the consent revokes the face and forgets template and secret."""
    other = faces.register("bob")
    refused = faces.enroll(other, "face")
    assert (refused.status_code, refused.json["code"]) == (403, "consent_required")
    path = f"/v1/subjects/{person.id}"
    assert faces.call("DELETE", f"{path}/consents/face").status_code == 204
    items = faces.call("GET", f"{path}/authenticators").json["items"]
    assert "face" not in {item["type"] for item in items}
    from service.factors.face.store import TemplateSecret

    with faces.container.store.transaction() as tx:
        assert tx.query(TemplateSecret).count() == 0


def test_a_new_face_takes_the_place_of_the_old(faces, person):
    """The earlier template no longer matches, and one secret is left."""
    assert enroll(faces, person, *HERS[:3]).status_code == 200
    flow = at_face(faces, person)
    flow |= faces.act(flow, "face", capture(flow, MINE[0])).json["flow"]
    done = faces.act(flow, "face", capture(flow, HERS[4]))
    assert done.json["status"] == "completed"


def test_a_frame_is_accepted_once(faces, person):
    """Neither a frame of the enrollment nor one of an earlier login passes again."""
    flow = at_face(faces, person)
    old = faces.act(flow, "face", capture(flow, MINE[1]))
    assert (old.status_code, old.json["code"]) == (422, "verification_failed")
    flow |= old.json["flow"]
    assert faces.act(flow, "face", capture(flow, MINE[4])).json["status"] == "completed"
    faces.clock.advance(seconds=30)
    flow = at_face(faces, person)
    again = faces.act(flow, "face", capture(flow, MINE[4]))
    assert (again.status_code, again.json["code"]) == (422, "verification_failed")


def test_without_an_engine_no_face_passes(faces, person):
    """The layer falls away as unavailable; what it would have checked is never passed."""
    flow = at_face(faces, person)
    faces.container.face._reader = EnginePool(None, 1)
    answer = faces.act(flow, "face", capture(flow, MINE[4]))
    assert (answer.status_code, answer.json["code"]) == (503, "face_unavailable")


FILM = b"\0\0\0\x18ftypmp42" + bytes(3000)


def test_a_film_behind_a_picture_is_cut_off_and_named(faces, person):
    """A motion photo signs in like its still; the answer tells what was cut off, match or not."""
    flow = at_face(faces, person)
    named = {
        "pointer": "/frames/0/image",
        "code": "trailing_data",
        "detail": f"{len(FILM)} bytes past its end were cut off",
    }
    other = faces.act(flow, "face", capture(flow, portraits.hopper() + FILM))
    assert (other.status_code, other.json["flow"]["set_aside"]) == (422, [named])
    flow |= other.json["flow"]
    body = capture(flow, MINE[4] + FILM)
    done = faces.act(flow, "face", body)
    assert (done.json["status"], done.json["set_aside"]) == ("completed", [named])
    faces.clock.advance(seconds=31)
    again = at_face(faces, person)
    replayed = faces.act(again, "face", capture(again, MINE[4]))
    assert replayed.status_code == 422


def test_a_film_is_named_at_enrollment_and_in_a_score_too(faces):
    """Confirming and scoring cut it off as a login does."""
    person = faces.register(consents=[CONSENT | {"purpose": "face"}])
    added = faces.enroll(person, "face").json
    path = f"/v1/subjects/{person.id}/authenticators/{added['id']}/confirm"
    challenge = added["challenge"]["challenge_id"]
    body = {"challenge_id": challenge, "frames": frames(MINE[0], MINE[1] + FILM, MINE[2])}
    done = faces.call("POST", path, body)
    assert [item["pointer"] for item in done.json["set_aside"]] == ["/frames/1/image"]
    scored = faces.call(
        "POST", f"/v1/subjects/{person.id}/face/score", {"frames": frames(MINE[3] + FILM)}
    )
    assert [item["code"] for item in scored.json["set_aside"]] == ["trailing_data"]


@pytest.mark.parametrize(
    ("picture", "code", "detail"),
    [
        (MINE[5][:-500], "image_truncated", "The picture is cut off; send it again."),
        (
            b"\0\0\0\x18ftypheic" + bytes(500),
            "image_not_supported",
            "This is a picture in HEIC; send JPEG.",
        ),
    ],
)
def test_what_is_wrong_with_a_picture_is_told(faces, person, picture, code, detail):
    """A picture that is cut off has a code of its own; HEIC is told to be sent as JPEG."""
    flow = at_face(faces, person)
    told = faces.act(flow, "face", capture(flow, picture)).json["errors"][0]
    assert told == {"pointer": "/frames/0/image", "code": code, "detail": detail}
