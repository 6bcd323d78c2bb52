"""Pictures scored against a stored face: an attempt like any other, which completes nothing."""

import base64

import cv2
import numpy as np
import pytest

from lab.face import portraits
from service.clients.model import SCOPES
from service.factors.face.engine_pool import EnginePool
from service.factors.face.model import Mode
from tests.functional.conftest import CONSENT
from tests.functional.test_face import HERS, MINE, at_face, capture, enroll, frames


@pytest.fixture
def faces(service, face_engine):
    """The service with a face engine, and active liveness as shipped for all but enrollments."""
    service.container.face._reader = EnginePool(lambda: face_engine, 1)
    service.container.face._mode = Mode.PASSIVE
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
    faces.container.face._mode = Mode.ACTIVE
    return found


def score(service, person, *pictures, **more):
    """Score pictures."""
    path = f"/v1/subjects/{getattr(person, 'id', person)}/face/score"
    return service.call("POST", path, {"frames": frames(*pictures)}, **more)


def audited(service, kind):
    """Return the data of every leaf of a kind."""
    from service.audit.store import Leaf

    with service.container.store.transaction(read=True) as tx:
        return [leaf.data for leaf in tx.query(Leaf).filter(Leaf.kind == kind)]


def test_a_match_says_so_and_nothing_nearer(faces, person):
    """Yes or no, a band that follows from it, quality, and that nobody was asked to move."""
    yes = score(faces, person, MINE[4])
    assert yes.status_code == 200
    told = yes.json
    assert 0 <= told.pop("quality") <= 1
    asked = {"mode": "active", "passed": False, "reasons": ["not_asked"]}
    assert told == {"matched": True, "band": "low", "liveness": asked}
    no = score(faces, person, HERS[0]).json
    no.pop("quality")
    assert no == {"matched": False, "band": "high", "liveness": asked}
    kept = [(item["matched"], item["reason"]) for item in audited(faces, "face.scored")]
    assert sorted(kept) == [(False, "face_mismatch"), (True, "")]


def test_without_a_face_or_a_consent_the_answer_is_that_of_another_face(faces, person):
    """Whether somebody enrolled a face is not told; the counter is the same as well."""
    other = faces.register("bob")
    never = score(faces, other, MINE[4])
    differs = score(faces, person, HERS[4])
    assert faces.call("DELETE", f"/v1/subjects/{person.id}/consents/face").status_code == 204
    withdrawn = score(faces, person, MINE[4])
    for answer in (never, differs, withdrawn):
        assert answer.status_code == 200
        assert answer.json | {"quality": 0} == differs.json | {"quality": 0}
    for _ in range(4):
        assert score(faces, other, MINE[4]).status_code == 200
    assert score(faces, other, MINE[4]).status_code == 429


def test_a_subject_that_is_not_there_is_404(faces, person):
    """Neither an unknown id nor a subject of a segment that this client does not serve."""
    assert score(faces, "0" * 32, MINE[4]).status_code == 404
    client = faces.new_client(name="far", segments=("elsewhere",))
    assert score(faces, person, MINE[4], bearer=faces.access(client)).status_code == 404


def test_it_takes_its_own_scope(faces, person):
    """A client without face:score gets 403, and nothing is counted."""
    client = faces.new_client(name="poor", scopes=tuple(SCOPES - {"face:score"}))
    refused = score(faces, person, MINE[4], bearer=faces.access(client))
    assert (refused.status_code, refused.json["scope"]) == (403, "face:score")


def test_flow_score_and_confirmation_count_on_one_counter(faces, person):
    """Failures on any of the three paths are failures on all; waits hold on all."""
    faces.container.face._mode = Mode.PASSIVE
    flow = at_face(faces, person)
    for picture in HERS[:2]:
        flow |= faces.act(flow, "face", capture(flow, picture)).json["flow"]
    pending = faces.enroll(person, "face")
    grantless = pending.status_code
    assert grantless == 201, pending.json
    path = f"/v1/subjects/{person.id}/authenticators/{pending.json['id']}/confirm"
    wrong = {"challenge_id": "another", "frames": frames(*MINE[3:6])}
    assert faces.call("POST", path, wrong).status_code == 422
    for picture in HERS[2:4]:
        assert score(faces, person, picture).json["matched"] is False
    waiting = score(faces, person, MINE[4])
    assert (waiting.status_code, waiting.json["code"]) == (429, "too_many_attempts")
    assert 1 <= int(waiting.headers["Retry-After"]) <= 31
    assert faces.act(flow, "face", capture(flow, MINE[4])).status_code == 429
    again = faces.call("POST", path, wrong)
    assert again.status_code == 429


def test_a_match_gives_its_attempt_back_and_forgets_no_failure(faces, person):
    """Four failures and a match leave four failures."""
    for picture in HERS[:4]:
        assert score(faces, person, picture).json["matched"] is False
    assert score(faces, person, MINE[4]).json["matched"] is True
    assert score(faces, person, HERS[4]).json["matched"] is False
    assert score(faces, person, MINE[5]).status_code == 429


def test_a_frame_passes_once_on_every_path(faces, person):
    """What a score accepted is a replay in a flow, and the other way round."""
    assert score(faces, person, MINE[4]).json["matched"] is True
    assert score(faces, person, MINE[4]).json["matched"] is False
    faces.container.face._mode = Mode.PASSIVE
    flow = at_face(faces, person)
    replayed = faces.act(flow, "face", capture(flow, MINE[4]))
    assert replayed.json["code"] == "verification_failed"
    flow |= replayed.json["flow"]
    assert faces.act(flow, "face", capture(flow, MINE[5])).json["status"] == "completed"
    assert score(faces, person, MINE[5]).json["matched"] is False


def commented(picture):
    """Return a JPEG with a comment in it: other bytes, the same pixels."""
    text = b"another file"
    return picture[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + picture[2:]


def again(picture, quality):
    """Return a picture compressed once more."""
    pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


@pytest.mark.parametrize(
    "other", [commented, lambda one: again(one, 90), lambda one: again(one, 60)]
)
def test_another_file_of_an_accepted_picture_is_a_replay(faces, person, other):
    """A comment or another compression makes it no new one: it is remembered by what it shows."""
    taken = commented(MINE[4]) if other is not commented else MINE[4]
    assert score(faces, person, taken).json["matched"] is True
    assert score(faces, person, other(MINE[4])).json["matched"] is False
    # Leaves of one moment have no order.
    assert sorted(leaf["reason"] for leaf in audited(faces, "face.scored")) == ["", "face_replayed"]
    assert score(faces, person, MINE[5]).json["matched"] is True


def test_an_unusable_picture_is_pointed_at_and_not_counted(faces, person):
    """Nothing was compared: ten of them leave the account as it was."""
    for _ in range(10):
        bad = score(faces, person, b"no picture at all, but long enough for it")
        assert bad.status_code == 422
        assert bad.json["errors"][0]["pointer"] == "/frames/0/image"
    assert score(faces, person, MINE[4]).json["matched"] is True


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/frames"),
        ({"frames": []}, "/frames"),
        ({"frames": frames(*MINE[:6])}, "/frames"),
        ({"frames": [{"t": 0}]}, "/frames/0/image"),
        ({"frames": [{"t": 0, "image": "%%"}]}, "/frames/0/image"),
        ({"frames": frames(MINE[0], MINE[0])}, "/frames/1/image"),
        ({"frames": frames(MINE[0]), "challenge_id": "x"}, ""),
    ],
)
def test_what_is_not_of_the_form_is_refused_with_a_pointer(service, body, pointer):
    """None, too many, no picture, twice the same, and a challenge, which it does not take."""
    person = service.register()
    answer = service.call("POST", f"/v1/subjects/{person.id}/face/score", body)
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, pointer)


def test_without_an_engine_nothing_is_scored_and_nothing_counts(faces, person):
    """503, and the attempt is given back."""
    there, faces.container.face._reader = faces.container.face._reader, EnginePool(None, 1)
    for _ in range(6):
        assert score(faces, person, MINE[4]).status_code == 503
    faces.container.face._reader = there
    assert score(faces, person, MINE[4]).json["matched"] is True


def test_one_request_counts_once(faces, person):
    """Under one Idempotency-Key the first answer is given again and nothing is counted."""
    first = score(faces, person, HERS[0], Idempotency_Key="one")
    for _ in range(6):
        again = score(faces, person, HERS[0], Idempotency_Key="one")
        assert again.data == first.data
    other = score(faces, person, HERS[1], Idempotency_Key="one")
    assert other.json["code"] == "idempotency_mismatch"


def test_nothing_of_a_scored_frame_is_told_or_kept(faces, person, capsys):
    """A canary in a picture is in no answer, log or audit leaf."""
    canary = b"canary-4712-in-a-comment"
    jpeg = portraits.hopper()
    marked = jpeg[:2] + b"\xff\xfe" + (len(canary) + 2).to_bytes(2, "big") + canary + jpeg[2:]
    for picture in (marked, b"no picture " + canary * 9):
        assert canary not in score(faces, person, picture).data
    out, err = capsys.readouterr()
    seen = out + err + str(audited(faces, "face.scored"))
    assert canary.decode() not in seen
    assert base64.b64encode(canary)[:24].decode() not in seen


def test_of_two_scores_of_one_frame_at_once_one_matches(faces, person, monkeypatch):
    """The frame is used up where it is settled: the second finds it taken, and is a failure."""
    compare, inner = faces.container.face.score, []

    def overtaken(*arguments):
        scored = compare(*arguments)
        if not inner:
            inner.append(True)
            inner.append(score(faces, person, MINE[4]).json["matched"])
        return scored

    monkeypatch.setattr(faces.container.face, "score", overtaken)
    outer = score(faces, person, MINE[4]).json
    assert (inner[1], outer["matched"], outer["band"]) == (True, False, "high")
    reasons = sorted(item["reason"] for item in audited(faces, "face.scored"))
    assert reasons == ["", "face_replayed"]
