"""The face with active liveness, over HTTP: a living head passes, once, in time."""

import base64
from contextlib import contextmanager

import cv2
import numpy as np
import pytest

from biometrics.face.active import Gesture
from lab.face import portraits, synthetic
from service.domain.errors import Unavailable
from service.factors.face.engine_pool import EnginePool
from service.factors.face.model import Mode
from tests.functional.conftest import CONSENT, PASSWORD
from tests.functional.test_face import frames as stills


@pytest.fixture
def faces(service, face_engine):
    """The service with a face engine, active as shipped."""
    service.container.face._reader = EnginePool(lambda: face_engine, 1)
    assert service.container.face._mode is Mode.ACTIVE
    return service


@pytest.fixture
def recorded():
    """A function that follows a challenge with a head of one's own, each take another."""
    rng = np.random.default_rng(12)

    def take(challenge, head=None):
        order = tuple(Gesture(name) for name in challenge["gestures"])
        path = synthetic.honest(order, rng, swing=0.01)
        seen = synthetic.record(head or synthetic.collins(), path, rng)
        shown = [{"t": f.t, "image": base64.b64encode(f.image).decode()} for f in seen]
        return {"challenge_id": challenge["challenge_id"], "frames": shown}

    return take


def enroll(service, person, recorded):
    """Enroll a face, again with the fresh challenge when a take did not do; return the answer."""
    added = service.enroll(person, "face").json
    path = f"/v1/subjects/{person.id}/authenticators/{added['id']}/confirm"
    challenge = added["challenge"]
    for _ in range(3):
        take = recorded(challenge)
        service.clock.advance(seconds=4)
        answer = service.call("POST", path, take)
        if answer.status_code != 422:
            break
        assert "challenge" in answer.json, answer.json
        challenge = answer.json["challenge"]
    return answer


def at_face(service, person):
    """Return a flow in which only the face is left."""
    service.clock.advance(seconds=30)
    service.bearer = service.access()
    flow = service.begin().json
    service.act(flow, "password", {"password": PASSWORD})
    return flow | service.act(flow, "totp", {"code": service.code(person)}).json


def options(flow):
    """Return the challenge of the face."""
    return flow["actions"]["face"]["options"]


def act(service, flow, take, wait=4):
    """Answer a challenge after a while."""
    service.clock.advance(seconds=wait)
    return service.act(flow, "face", take)


def test_a_living_person_enrolls_and_signs_in_once(faces, recorded):
    """Gestures in time pass; the same capture, a flat one, a late one and a hasty one do not."""
    person = faces.register(consents=[CONSENT | {"purpose": "face"}])
    assert enroll(faces, person, recorded).status_code == 200
    flow = at_face(faces, person)
    challenge = options(flow)
    assert (challenge["mode"], len(challenge["gestures"])) == ("active", 3)
    late = act(faces, flow, recorded(challenge), wait=16)
    assert late.json["errors"][0]["code"] == "challenge_expired"
    flow |= late.json["flow"]
    hasty = act(faces, flow, recorded(options(flow)), wait=0)
    assert hasty.json["code"] == "verification_failed"
    flow |= hasty.json["flow"]
    flat = act(faces, flow, recorded(options(flow), synthetic.collins().flat()))
    assert flat.json["code"] == "verification_failed"
    flow |= flat.json["flow"]
    few = act(faces, flow, recorded(options(flow)) | {"frames": stills(portraits.collins())})
    assert few.json["errors"][0] == {
        "pointer": "/frames",
        "code": "frame_count",
        "detail": "takes 8 to 28 frames",
    }
    flow |= few.json["flow"]
    for _ in range(3):
        take = recorded(options(flow))
        done = act(faces, flow, take)
        if done.status_code == 200:
            break
        flow |= done.json["flow"]
    assert done.json["status"] == "completed"
    again = at_face(faces, person)
    replayed = act(faces, again, take | {"challenge_id": options(again)["challenge_id"]})
    assert replayed.json["code"] == "verification_failed"


def test_a_template_is_renewed_and_the_gauge_tells_of_it(faces, recorded):
    """Under a new secret the face still signs in; it is counted, and no longer when erased."""
    person = faces.register(consents=[CONSENT | {"purpose": "face"}])
    assert enroll(faces, person, recorded).status_code == 200
    before = template_of(faces)
    with faces.container.store.transaction() as tx:
        (subject,) = faces.container.face.subjects(tx, None, 10)
        assert faces.container.face.renew(tx, subject)
        assert faces.container.face.subjects(tx, subject, 10) == []
    assert template_of(faces) != before
    flow = at_face(faces, person)
    for _ in range(3):
        done = act(faces, flow, recorded(options(flow)))
        if done.status_code == 200:
            break
        flow |= done.json["flow"]
    assert done.json["status"] == "completed"
    assert b"lamina_stored_faces 1.0" in faces.http.get("/metrics").data
    assert faces.call("DELETE", f"/v1/subjects/{person.id}/consents/face").status_code == 204
    assert b"lamina_stored_faces 0.0" in faces.http.get("/metrics").data
    with faces.container.store.transaction() as tx:
        assert not faces.container.face.renew(tx, subject)


def template_of(service):
    """Return the stored template and its secret."""
    from service.factors.face.store import TemplateSecret

    with service.container.store.transaction() as tx:
        row = tx.query(TemplateSecret).one()
        subject = row.subject_id
        return service.container.authenticators.verifier(
            tx, subject, subject, "face"
        ).secret, row.secret


@pytest.mark.parametrize("stored", [89_999, 90_000])
def test_the_alarm_comes_before_the_limit(faces, monkeypatch, stored):
    """From 90,000 stored faces on the operator is told each day that 100,000 is near."""
    monkeypatch.setattr(faces.container.face, "stored", lambda _tx: stored)
    faces.container.jobs.run_due()
    with faces.container.store.transaction() as tx:
        kinds = [item["kind"] for item in faces.container.outbox.waiting(tx)]
    assert ("alarm.stored_faces" in kinds) == (stored >= 90_000)


def test_nothing_of_a_frame_is_kept(faces, capsys, tmp_path, monkeypatch):
    """A canary in a picture reaches neither log, answer, database nor temporary files."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    faces.container.face._mode = Mode.PASSIVE
    person = faces.register(consents=[CONSENT | {"purpose": "face"}])
    canary = b"canary-4711-in-a-comment"
    marked = [canaried(item, canary) for item in portraits.variants(portraits.collins())[:4]]
    added = faces.enroll(person, "face").json
    path = f"/v1/subjects/{person.id}/authenticators/{added['id']}/confirm"
    body = {"challenge_id": added["challenge"]["challenge_id"], "frames": stills(*marked[:3])}
    assert faces.call("POST", path, body).status_code == 200
    flow = at_face(faces, person)
    for pictures in (
        [b"no picture " + canary * 9],
        [canaried(portraits.hopper(), canary)],
        marked[3:],
    ):
        challenge = options(flow)["challenge_id"]
        answer = faces.act(flow, "face", {"challenge_id": challenge, "frames": stills(*pictures)})
        assert canary not in answer.data
        flow |= answer.json.get("flow", answer.json)
    assert flow["status"] == "completed"
    out, err = capsys.readouterr()
    coded = base64.b64encode(canary)[:24].decode()
    assert canary.decode() not in out + err
    assert coded not in out + err
    kept = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert canary not in kept
    assert coded.encode() not in kept


def canaried(jpeg, text):
    """Return a JPEG with a comment."""
    return jpeg[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + jpeg[2:]


def test_too_many_and_too_large_frames_are_turned_away_undecoded(faces, monkeypatch):
    """Frames of 8 MB, and some above the limit of a capture, are 4xx before any decoding."""
    person = faces.register(consents=[CONSENT | {"purpose": "face"}])
    added = faces.enroll(person, "face").json
    path = f"/v1/subjects/{person.id}/authenticators/{added['id']}/confirm"
    challenge = added["challenge"]["challenge_id"]
    many = [{"t": 100.0 * n, "image": "A" * 8 * 1024 * 1024} for n in range(2)]
    decoded, real = [], cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda *told: decoded.append(told) or real(*told))
    huge = faces.call("POST", path, {"challenge_id": challenge, "frames": many})
    assert huge.status_code == 413
    large = [
        {"t": 100.0 * n, "image": base64.b64encode(bytes([n]) * 400_000).decode()} for n in range(9)
    ]
    refused = faces.call("POST", path, {"challenge_id": challenge, "frames": large})
    assert refused.json["errors"][0]["code"] == "image_too_large"
    assert decoded == []


def test_an_inference_runs_on_any_core(face_engine, monkeypatch):
    """Whatever core its process keeps to, for as long as it runs."""
    told = []

    @contextmanager
    def anywhere():
        told.append("leaves")
        yield
        told.append("is back")

    monkeypatch.setattr("crypto.cores.anywhere", anywhere)
    with EnginePool(lambda: face_engine, 1)._turn():
        assert told == ["leaves"]
    assert told == ["leaves", "is back"]


def test_a_full_line_is_told_to_come_back(face_engine):
    """Whoever waits past the deadline, or finds the line full, gets 503 with Retry-After."""
    reader = EnginePool(lambda: face_engine, 1, wait=0.05)
    with reader._turn():
        with pytest.raises(Unavailable) as waited, reader._turn():
            pass
        for _ in range(8):
            reader._places.acquire()
        with pytest.raises(Unavailable) as full, reader._turn():
            pass
    assert [(e.value.code, e.value.retry_after) for e in (waited, full)] == [("overloaded", 2)] * 2
