"""Frames as multipart/form-data: the same limits and answers as in JSON, and no temporary file."""

import io
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import settings as sampled
from hypothesis import strategies as st
from werkzeug.exceptions import RequestEntityTooLarge

from biometrics.face.active import MOST_FRAMES
from lab.face import portraits
from service.domain.errors import BadInput
from service.factors.face import model
from service.factors.face.engine_pool import EnginePool
from service.factors.face.model import Mode
from service.web import multipart
from tests.depth import depth
from tests.functional.conftest import CONSENT
from tests.functional.test_face import HERS, MINE, at_face

BOUNDARY = "of-a-test"


@pytest.fixture
def faces(service, face_engine):
    """The service with a face engine."""
    service.container.face._reader = EnginePool(lambda: face_engine, 1)
    service.container.face._mode = Mode.PASSIVE
    return service


def part(name, content, filename=None, boundary=BOUNDARY):
    """Return one part."""
    named = f'; filename="{filename}"' if filename else ""
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'
    return head.encode() + content + b"\r\n"


def form(pictures, challenge_id=None, boundary=BOUNDARY, times=None):
    """Return a form of pictures."""
    spread = [100.0 * number for number in range(len(pictures))] if times is None else times
    fields = [("times", json.dumps(spread).encode())]
    if challenge_id is not None:
        fields.append(("challenge_id", challenge_id.encode()))
    body = b"".join(part(name, value, boundary=boundary) for name, value in fields)
    body += b"".join(part("frames", item, "f.jpg", boundary) for item in pictures)
    return body + f"--{boundary}--\r\n".encode()


def post(service, path, body, boundary=BOUNDARY, **headers):
    """Post a form."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named |= {"Authorization": f"Bearer {service.bearer}"}
    kind = f"multipart/form-data; boundary={boundary}"
    return service.http.post(path, data=body, headers=named, content_type=kind)


def scored(person):
    """Return the address of a score."""
    return f"/v1/subjects/{person.id}/face/score"


@pytest.fixture
def past(opened_once):
    """Nobody is registered before there are faces."""
    return opened_once


@pytest.fixture
def person(faces):
    """Somebody whose face was enrolled by a form."""
    found = faces.register(consents=[CONSENT | {"purpose": "face"}])
    added = faces.enroll(found, "face").json
    path = f"/v1/subjects/{found.id}/authenticators/{added['id']}/confirm"
    body = form(MINE[:3], added["challenge"]["challenge_id"])
    assert post(faces, path, body).json["status"] == "active"
    return found


def test_a_form_enrolls_scores_and_signs_in(faces, person):
    """Parts in order with their times are frames on all three paths, right and wrong ones."""
    assert post(faces, scored(person), form([MINE[3]])).json["matched"] is True
    flow = at_face(faces, person)
    path = f"/v1/flows/{flow['id']}/actions/face"
    for picture, status in ((HERS[0], 422), (MINE[4], 200)):
        challenge = flow["actions"]["face"]["options"]["challenge_id"]
        answer = post(faces, path, form([picture], challenge), Flow_Token=flow["flow_token"])
        assert answer.status_code == status
        flow |= answer.json.get("flow", answer.json)
    assert flow["status"] == "completed"


def test_nothing_of_a_form_is_written_to_a_file(faces, person, monkeypatch, tmp_path):
    """Two MiB, far above where Werkzeug begins to spool, open no temporary file at all."""
    opened = []

    def refuse(*arguments, **_named):
        opened.append(arguments)
        raise AssertionError("a temporary file was opened")

    for name in ("TemporaryFile", "SpooledTemporaryFile", "NamedTemporaryFile", "mkstemp"):
        monkeypatch.setattr(f"tempfile.{name}", refuse)
    monkeypatch.setattr("werkzeug.formparser.default_stream_factory", refuse)
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    canary = b"canary-4713"
    jpeg = portraits.collins()
    jpeg = jpeg[:2] + (b"\xff\xfe\xff\xf0" + (canary * 6000)[:65518]) * 20 + jpeg[2:]
    assert len(jpeg) > 1_300_000
    answer = post(faces, scored(person), form([jpeg]))
    assert answer.status_code == 200, answer.json
    assert canary not in answer.data
    assert (opened, list(place.iterdir())) == ([], [])
    kept = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert canary not in kept


def test_the_limits_are_those_of_json():
    """What the web kit enforces while it reads is what the factor would refuse."""
    assert multipart.MOST_PICTURES == MOST_FRAMES
    assert multipart.LARGEST_PICTURE == model.LARGEST_STILL


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        (b"", "", "malformed_multipart"),
        (b"no form at all", "", "malformed_multipart"),
        (form([b"x"])[:-4], "", "malformed_multipart"),
        (form([b"x"])[:60], "", "malformed_multipart"),
        (b"-" * 100_000, "", "malformed_multipart"),
        (form([b"x"]) + b"-" * 100_000, "", "malformed_multipart"),
        (f"--{BOUNDARY}\r\nX: y\r\n\r\nz\r\n--{BOUNDARY}--".encode(), "", "malformed_multipart"),
        (f"--{BOUNDARY}\r\n\xff\r\n\r\n".encode("latin-1"), "", "malformed_multipart"),
        (f"--{BOUNDARY}\r\n".encode() + b"X: " + b"y" * 100_000, "", "malformed_multipart"),
        (part("other", b"1") + form([b"x"]), "", "extra_forbidden"),
        (part("times", b"[0]") + form([b"x"]), "/times", "duplicate_member"),
        (form([b"x"], times=[]), "/times", "frame_times"),
        (form([b"x"], times={"0": 0}), "/times", "frame_times"),
        (part("frames", b"x") + f"--{BOUNDARY}--".encode(), "/times", "frame_times"),
        (
            part("times", b"[NaN]") + part("frames", b"x") + f"--{BOUNDARY}--".encode(),
            "/times",
            "frame_times",
        ),
        (form([b"x"], "c" * 65), "/challenge_id", "string_too_long"),
        (form([b"x"], "c\0"), "/challenge_id", "string_nul"),
        (part("challenge_id", b"\xff") + form([b"x"]), "/challenge_id", "string_unicode"),
        (form([b"x"] * 29), "/frames", "too_long"),
        (form([b"x", b"y" * (2 * 1024 * 1024 + 1)]), "/frames/1/image", "image_too_large"),
    ],
)
def test_a_wrong_form_is_refused_with_a_pointer(body, pointer, code):
    """Cut short, overlong outside of its parts, misnamed, twice, untimed, too many, too large."""
    with pytest.raises(BadInput) as refused:
        multipart.read(io.BytesIO(body), f"multipart/form-data; boundary={BOUNDARY}")
    assert [(item.pointer, item.code) for item in refused.value.faults] == [(pointer, code)]


def test_what_a_form_holds_is_checked_as_json_is(faces):
    """Faults point into the frames that the form stands for; all of them are 422."""
    path = scored(faces.register())
    for body, pointer, code in (
        (form([b"x"])[:-4], "", "malformed_multipart"),
        (form([b"x"], times=["early"]), "/frames/0/t", "float_parsing"),
        (form([b"x"], times=[-1]), "/frames/0/t", "greater_than_equal"),
        (form([b"x", b"y"], times=[5, 5]), "/frames/1/t", "not_ascending"),
        (form([b"x", b"x"]), "/frames/1/image", "duplicate_frame"),
        (form([]), "/frames", "too_short"),
        (form([b"x%d" % n for n in range(6)]), "/frames", "too_long"),
        (form([b"no picture at all, but long enough"]), "/frames/0/image", "not_an_image"),
    ):
        answer = post(faces, path, body)
        found = answer.json["errors"][0]
        assert (answer.status_code, found["pointer"], found["code"]) == (422, pointer, code)


@pytest.mark.parametrize("boundary", ["", "b" * 71])
def test_a_boundary_is_needed(service, boundary):
    """None, and one that is too long; a header that is not ASCII is refused before."""
    answer = post(service, scored(service.register()), form([b"x"]), boundary)
    assert answer.json["errors"][0]["code"] == "malformed_multipart"
    refused = post(service, scored(service.register("bob")), form([b"x"]), "\xe9")
    assert (refused.status_code, refused.json["code"]) == (400, "bad_header")


def test_a_form_that_is_too_large_is_413_before_it_is_read(service):
    """By the length that the request claims, as in JSON."""
    answer = post(service, scored(service.register()), form([b"x" * 1_900_000] * 7))
    assert answer.status_code == 413


def test_what_does_not_take_frames_takes_no_form(service):
    """Every other route asks for JSON."""
    answer = post(service, "/v1/subjects", form([b"x"]))
    assert (answer.status_code, answer.json["code"]) == (400, "not_json")


def test_a_factor_that_takes_no_frames_says_so(service):
    """The flow's action takes a form for any name; a password is none."""
    service.register()
    flow = service.begin().json
    path = f"/v1/flows/{flow['id']}/actions/password"
    answer = post(service, path, form([b"x"]), Flow_Token=flow["flow_token"])
    pointers = {item["pointer"] for item in answer.json["errors"]}
    assert (answer.status_code, pointers) == (422, {"/password", ""})


def test_one_key_matches_the_form_and_not_its_boundary(faces, person):
    """A retry encodes anew; other pictures, times or a challenge are another body."""
    path, key = scored(person), {"Idempotency_Key": "one"}
    first = post(faces, path, form([HERS[0]]), **key)
    again = post(faces, path, form([HERS[0]], boundary="anew"), "anew", **key)
    assert (again.data, again.headers["Idempotent-Replayed"]) == (first.data, "true")
    for body in (form([HERS[1]]), form([HERS[0]], times=[7])):
        assert post(faces, path, body, **key).json["code"] == "idempotency_mismatch"


def test_openapi_names_both_forms(service):
    """Exactly the three routes that take frames; parts and limits are those of each one's JSON."""
    document = service.http.get("/openapi.json").json
    paths, forms = document["paths"], document["components"]["schemas"]
    both = {
        path: forms[found["content"]["multipart/form-data"]["schema"]["$ref"].split("/")[-1]]
        for path, item in paths.items()
        for operation in item.values()
        if len((found := operation.get("requestBody", {"content": {}}))["content"]) > 1
    }
    told = {
        path: (set(item["properties"]), item["properties"]["frames"]["maxItems"])
        for path, item in both.items()
    }
    challenged = {"challenge_id", "times", "frames"}
    assert told == {
        "/v1/subjects/{subject}/authenticators/{authenticator}/confirm": (challenged, 28),
        "/v1/subjects/{subject}/face/score": ({"times", "frames"}, 5),
        "/v1/flows/{flow}/actions/{name}": (challenged, 28),
    }


@sampled(max_examples=depth(400))
@given(data=st.data())
def test_a_form_that_is_bent_is_read_or_refused(data):
    """Bytes cut out, put in or exchanged anywhere, and read in steps of any size: never a fault."""
    body = bytearray(form([b"one picture", b"another one"], "challenge"))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body)))
        length = data.draw(st.integers(0, 12))
        put = st.binary(max_size=12) | st.sampled_from(TELLING)
        body[at : at + length] = data.draw(put)
    kind = data.draw(st.sampled_from([f"multipart/form-data; boundary={BOUNDARY}", "text/plain"]))
    step = data.draw(st.integers(1, 64))
    faults, names = (), set()
    try:
        names = set(multipart.read(Slow(bytes(body), step), kind).values)
    except BadInput as refused:
        faults = refused.faults
    assert bool(faults) != bool(names)
    assert all(fault.code and fault.detail for fault in faults)
    assert names <= {"challenge_id", "frames"}


@pytest.mark.parametrize(
    ("parts", "most"),
    [
        ([part("frames", b"x")] * 29, 64 * 1024),
        ([part("frames", b"y" * 12_000_000)], multipart.LARGEST_PICTURE + 64 * 1024),
        ([part("times", b"1" * 12_000_000)], 64 * 1024),
        ([part("other", b"z" * 12_000_000)], 64 * 1024),
        ([b"-" * 12_000_000], 128 * 1024),
    ],
)
def test_nothing_is_read_after_what_is_refused(parts, most):
    """A part too many, too large or misnamed, or no part at all: the rest stays in the socket."""
    body = b"".join(parts) + b"rest" * 4_000_000
    stream = io.BytesIO(body)
    tracemalloc.start()
    with pytest.raises(BadInput):
        multipart.read(stream, f"multipart/form-data; boundary={BOUNDARY}")
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert stream.tell() <= most
    assert held <= 4 * most + 256 * 1024


def test_a_stream_that_passes_the_limit_is_413():
    """Where no length was claimed, the server notices while it is read; no form is blamed."""

    class Endless(io.BytesIO):
        def read(self, _size=-1):
            if self.tell() > 100_000:
                raise RequestEntityTooLarge
            return super().read(16 * 1024)

    body = Endless(form([b"x" * 1_000_000]))
    with pytest.raises(RequestEntityTooLarge):
        multipart.read(body, f"multipart/form-data; boundary={BOUNDARY}")


def test_a_whole_form_is_held_about_twice():
    """The pictures, and one after the other their text; never a third copy of all of it."""
    pictures = [bytes([number]) * 1_900_000 for number in range(6)]
    body = form(pictures)
    tracemalloc.start()
    found = multipart.read(io.BytesIO(body), f"multipart/form-data; boundary={BOUNDARY}")
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [len(frame["image"]) for frame in found.values["frames"]] == [2_533_336] * 6
    assert held < 2.5 * len(body)


TELLING = (
    b"\r",
    b"\n",
    b"\r\n\r\n",
    f"--{BOUNDARY}".encode(),
    f"\r\n--{BOUNDARY}--".encode(),
    b'"',
    b";",
    b"Content-Disposition: form-data",
    b"filename*=x''%ff",
    b"name*=bad''%zz",
    b"\0",
    b"=?",
)


class Slow(io.BytesIO):
    """A body that comes a few bytes at a time."""

    def __init__(self, body, step):
        super().__init__(body)
        self._step = step

    def read(self, _size=-1):
        """Return at most so many bytes, whatever was asked for."""
        return super().read(self._step)
