"""Bodies that would cost far more than their bytes are refused before they are parsed."""

import base64
import json
from types import SimpleNamespace

import pytest

from service.domain import validation
from service.domain.errors import Malformed
from service.web import strict_json

MEGA = 1024 * 1024
ACTION = "/v1/flows/{}/actions/password"
COSTLY = {
    "nested lists": b"[" + b"[]," * (4 * MEGA - 64) + b"[]]",
    "empty objects": b'{"frames":[' + b"{}," * (2 * MEGA) + b"{}]}",
    "empty strings": b'{"frames":[' + b'"",' * (4 * MEGA - 64) + b'""]}',
    "numbers": b'{"frames":[' + b"1," * (6 * MEGA - 64) + b"1]}",
    "members": b"{" + b",".join(b'"%06d":1' % number for number in range(MEGA)) + b"}",
    "depth": b"[" * (12 * MEGA),
    "depth of objects": b'{"a":' * (2 * MEGA),
}
SMALL = {
    "lists": b'{"kind":[' + b"[]," * 80_000 + b"[]]}",
    "members": b"{" + b",".join(b'"%06d":1' % number for number in range(20_000)) + b"}",
    "depth": b"[" * 250_000,
    "numbers": b'{"kind":[' + b"1," * 120_000 + b"1]}",
}
APART = {
    "one string": b'{"password":"' + b"x" * (11 * MEGA) + b'"}',
    "escapes": b'{"frames":[{"t":1,"image":"' + b"\\u0061" * MEGA + b'"}]}',
    "spaces": b" " * (11 * MEGA) + b"{}",
    "a name": b'{"' + b"n" * (11 * MEGA) + b'":1}',
    "elsewhere": b'{"input":{"frames":[{"image":"' + b"x" * MEGA + b'"}]}}',
}


def post(service, path, body):
    return service.http.post(
        path,
        data=body,
        headers={"Authorization": f"Bearer {service.bearer}", "Flow-Token": "x"},
        content_type="application/json",
    )


def test_bodies_of_many_values_are_not_parsed(service, monkeypatch):
    """Every route that takes frames refuses them with 400, and the parser never sees one."""
    parsed = []
    spy = SimpleNamespace(loads=lambda *_args, **_more: parsed.append(1))
    monkeypatch.setattr(strict_json, "json", spy)
    paths = (
        "/v1/flows",
        ACTION.format("x"),
        "/v1/subjects/x/face/score",
        "/v1/subjects/x/authenticators/y/confirm",
    )
    for path in paths:
        for name, body in COSTLY.items():
            answer = post(service, path, body)
            assert (answer.status_code, answer.json["code"]) == (400, "malformed_json"), name
    assert parsed == []


@pytest.mark.parametrize("name", SMALL)
def test_a_small_body_of_many_values_is_refused_too(service, name):
    """256 KiB of them would cost a second."""
    answer = post(service, "/v1/subjects", SMALL[name])
    assert (answer.status_code, answer.json["code"]) == (400, "malformed_json")


@pytest.mark.parametrize("name", APART)
def test_beside_its_frames_a_body_is_small(service, name):
    """What is no picture shares 256 KiB, on routes that take pictures as well."""
    answer = post(service, ACTION.format("x"), APART[name])
    assert (answer.status_code, answer.json["code"]) == (413, "body_too_large")


def test_frames_pass_the_bound():
    """Twelve large pictures are as many values as they are frames."""
    picture = base64.b64encode(b"\xff" * 600_000).decode()
    frames = [{"t": number, "image": picture} for number in range(12)]
    for value in ({"frames": frames}, {"action": {"name": "face", "input": {"frames": frames}}}):
        raw = json.dumps(value).encode()
        assert strict_json.loads(raw) == value
        validation.beside_frames(raw, value, 4096)


@pytest.mark.parametrize("value", [[], None, 1, {"frames": 1}, {"action": []}, {"frames": [1, {}]}])
def test_a_body_of_another_form_holds_no_pictures(value):
    """Its form is refused later; here it is only not miscounted."""
    validation.beside_frames(b"x" * 10, value, 10)


def test_text_may_hold_marks():
    """What people write is not counted as values until it is absurd."""
    text = "a, b: [c] {d}" * 2000
    assert strict_json.loads(json.dumps({"a": text}).encode()) == {"a": text}
    with pytest.raises(Malformed):
        strict_json.loads(json.dumps({"a": ":" * 20_000}).encode())


def test_only_some_faults_are_described(service):
    """Many are told as many: to describe each costs more than the body."""
    few = post(service, "/v1/subjects", b'{"a":1,"b":2}')
    assert len(few.json["errors"]) >= 2
    many = b"{" + b",".join(b'"%d":1' % number for number in range(3900)) + b"}"
    answer = post(service, "/v1/subjects", many)
    assert [fault["code"] for fault in answer.json["errors"]] == ["too_many_faults"]


def test_no_route_takes_more_than_256_kib_beside_frames(service):
    """Each one that has a body refuses, whatever it is for."""
    body = b'{"a":"' + b"x" * (256 * 1024) + b'"}'
    seen = 0
    for path, item in service.http.get("/openapi.json").json["paths"].items():
        for method, operation in item.items():
            if "requestBody" in operation:
                answer = service.http.open(
                    path.replace("{", "").replace("}", ""),
                    method=method.upper(),
                    data=body,
                    headers={"Authorization": f"Bearer {service.bearer}"},
                    content_type="application/json",
                )
                # Some are for operators, and the guard comes first.
                assert answer.status_code in {403, 413}, path
                seen += answer.status_code == 413
    assert seen > 10
