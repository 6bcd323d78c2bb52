"""Models of an operator's own: YuNet finds faces, a described network tells them apart."""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from biometrics.face import (
    PROBE,
    BadTemplate,
    EngineUnavailable,
    FaceEngine,
    FaceMismatch,
    FrameRefused,
    enroll_template,
    match_template,
    renew_template,
    template,
)
from biometrics.face.conversion.onnx_writer import FLOAT, Graph
from biometrics.face.frames import Frame
from biometrics.face.images import decode
from biometrics.face.model import DLIB
from biometrics.face.sequence import Frontal
from biometrics.face.yunet import YuNet
from lab.face import portraits
from service.factors.face.engine_pool import EnginePool
from tests.lacking import lacks

YUNET = os.environ.get("LAMINA_TEST_YUNET", "")
SECRET = bytes(range(32))
DESCRIBED = {
    "file": "colors.onnx",
    "name": "colors/1",
    "license": "CC0-1.0",
    "origin": "a test",
    "color": "rgb",
    "mean": 127.5,
    "scale": 127.5,
    "thresholds": {"match": 0.3, "frame": 0.35, "agreement": 0.35, "same_person": 0.4},
}


def colors(side=112, *, outputs=True):
    """Return a network of the shape of ArcFace: the mean colors of 16 parts of a face."""
    graph = Graph("colors")
    window = {"kernel_shape": [28, 28], "strides": [28, 28]}
    value = graph.node("AveragePool", ["data"], window)
    value = graph.node("Flatten", [value], {}) if outputs else value
    return graph.model(("data", FLOAT, ["n", 3, side, side]), value)


def describe(place, network=None, **changes):
    """Write a network and its description; return the description."""
    data = colors() if network is None else network
    (place / "colors.onnx").write_bytes(data)
    file = place / "colors.json"
    pinned = {"sha256": hashlib.sha256(data).hexdigest()}
    file.write_text(json.dumps(DESCRIBED | pinned | changes), "utf-8")
    return file


@pytest.fixture(scope="module")
def own(face_cache, tmp_path_factory):
    """An engine that tells people apart by the colors of their faces."""
    return FaceEngine.open(face_cache, embedder=describe(tmp_path_factory.mktemp("own")))


def test_a_described_network_enrolls_and_matches(own):
    """Three frames enroll in 57 bytes; others match, somebody else does not; nothing is claimed."""
    mine = [own.read(item, PROBE) for item in portraits.variants(portraits.collins())[1:]]
    stored = enroll_template(mine[:3], SECRET)
    assert (len(stored), own.model.size, own.model.name) == (9 + 48, 48, "colors/1")
    score = match_template(stored, SECRET, mine[:2])
    assert (score.llr, score.model_version) == (0.0, "colors/1")
    with pytest.raises(FaceMismatch):
        match_template(stored, SECRET, [own.read(portraits.hopper(), PROBE)])
    renewed = renew_template(stored, SECRET, bytes(32))
    assert match_template(renewed, bytes(32), mine[:2]).llr == 0.0


def test_templates_of_two_models_never_meet(own, engine):
    """Neither takes the other's, whatever the distance would be."""
    theirs, mine = engine.read(portraits.collins()), own.read(portraits.collins())
    with pytest.raises(BadTemplate):
        match_template(enroll_template([theirs], SECRET), SECRET, [mine])
    with pytest.raises(BadTemplate):
        match_template(enroll_template([mine], SECRET), SECRET, [theirs])


def test_stills_belong_to_the_network_that_read_them(own):
    """A flow in the modes without gestures, and a score, judge by its distances, not by dlib's."""
    pictures = portraits.variants(portraits.collins())[1:6]
    frames = [Frame(float(at), picture) for at, picture in enumerate(pictures)]
    mine = EnginePool(lambda: own, 1).stills(frames, PROBE)
    assert {item.model for item in mine} == {own.model}
    stored = enroll_template(mine[:3], SECRET)
    assert len(stored) == 9 + 48
    assert match_template(stored, SECRET, mine[3:]).model_version == "colors/1"


@pytest.mark.parametrize("size", [48, 128, 512])
def test_nobody_is_compared_like_anybody(size):
    """The decoy is of the model that is compared with, so that it costs a whole comparison."""
    model = replace(DLIB, name="x", size=size, tag=bytes(range(8)))
    vector = np.random.default_rng(size).normal(size=size)
    face = Frontal(
        vector=(vector / np.linalg.norm(vector)).astype(np.float32),
        quality=1.0,
        cues={},
        model=model,
    )
    decoy = template.decoy_template(model, bytes(31) + b"x")
    assert len(decoy) == len(enroll_template([face], SECRET))
    with pytest.raises(FaceMismatch):
        match_template(decoy, SECRET, [face])


def test_long_vectors_are_turned_by_a_longer_stream():
    """512 numbers need four stretches of HKDF, no two alike; the turn keeps the length."""
    normals = template._normals(SECRET, 512)
    assert normals.shape == (63, 512)
    assert np.abs(normals @ normals.T - np.eye(63)).max() < 0.3
    vector = np.random.default_rng(1).normal(size=512)
    turned = template._turn(vector, SECRET)
    assert np.linalg.norm(turned) == pytest.approx(np.linalg.norm(vector))
    assert np.allclose(template._turn_back(turned, SECRET), vector)
    assert np.abs(normals[:, :128] - template._normals(SECRET, 128)).max() > 0.01


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"color": "grey"}, "color must be rgb or bgr"),
        ({"scale": 0}, "scale must be above 0"),
        ({"mean": True}, "mean must be between 0 and 255"),
        ({"name": 3}, "name must be a text"),
        ({"thresholds": {}}, "thresholds.match must be a distance"),
        ({"thresholds": DESCRIBED["thresholds"] | {"frame": float("nan")}}, "thresholds.frame"),
        ({"sha256": "0" * 64}, "colors.onnx is not the file that colors.json describes"),
        ({"file": "absent.onnx"}, "absent.onnx cannot be read"),
    ],
)
def test_a_bad_description_names_what_to_mend(face_cache, tmp_path, changes, named):
    """Each fault is told, and no engine opens."""
    with pytest.raises(EngineUnavailable, match=named):
        FaceEngine.open(face_cache, embedder=describe(tmp_path, **changes))


def test_a_network_of_another_shape_is_refused(face_cache, tmp_path):
    """Another size, no row of numbers, no network at all, no JSON, nothing there."""
    for network in (colors(side=96), colors(outputs=False), b"nothing"):
        with pytest.raises(EngineUnavailable):
            FaceEngine.open(face_cache, embedder=describe(tmp_path, network))
    for text in ("[]", "{"):
        (tmp_path / "colors.json").write_text(text, "utf-8")
        with pytest.raises(EngineUnavailable, match=r"colors\.json"):
            FaceEngine.open(face_cache, embedder=tmp_path / "colors.json")
    with pytest.raises(EngineUnavailable, match="cannot be read"):
        FaceEngine.open(face_cache, embedder=tmp_path / "none.json")


def test_what_is_no_yunet_is_refused(tmp_path):
    """A missing file and one that holds something else."""
    with pytest.raises(EngineUnavailable, match="cannot be read"):
        YuNet(tmp_path / "none.onnx")
    (tmp_path / "other.onnx").write_bytes(b"other")
    with pytest.raises(EngineUnavailable, match="does not accept"):
        YuNet(tmp_path / "other.onnx")


def test_what_runs_is_told(tmp_path):
    """Hash, license and origin are those of the files in use."""
    file = describe(tmp_path)
    found = FaceEngine.info(detector=tmp_path / "colors.onnx", embedder=file)
    digest = hashlib.sha256((tmp_path / "colors.onnx").read_bytes()).hexdigest()
    assert found[0] == {
        "name": "embedder colors/1",
        "sha256": digest,
        "license": "CC0-1.0",
        "origin": "a test",
    }
    assert (found[1]["license"], found[1]["sha256"]) == ("unknown", digest)
    assert [item["name"] for item in FaceEngine.info()] == ["embedder", "detector", "landmarks"]


@pytest.fixture(scope="module")
def quick(face_cache):
    """An engine with the real network."""
    if not YUNET:
        lacks("YuNet", "set LAMINA_TEST_YUNET to its file", optional=True)
    return FaceEngine.open(face_cache, detector=Path(YUNET))


def test_vectors_by_yunet_are_near_to_the_others(quick, engine):
    """Its boxes lead to the same points."""
    for portrait in (portraits.collins(), portraits.hopper()):
        apart = quick.read(portrait, PROBE).vector - engine.read(portrait, PROBE).vector
        assert np.linalg.norm(apart) < 0.1


def test_yunet_names_nobody_and_two_people(quick):
    """As with the other detector."""
    picture = decode(portraits.collins())
    for pixels, code in ((np.hstack([picture] * 2), "several_faces"), (picture * 0, "no_face")):
        image = cv2.imencode(".jpg", pixels)[1].tobytes()
        with pytest.raises(FrameRefused, match=code):
            quick.read(image, PROBE)


@pytest.mark.usefixtures("quick")
def test_yunet_follows_a_face():
    """Near to where it was, and nowhere else."""
    finder, picture = YuNet(Path(YUNET)), decode(portraits.collins())
    box = finder.find(picture, 64)[0].box
    moved = finder.near(picture, box.shifted(0.2 * box.width, 0))
    assert abs(moved[0].box.left - box.left) < 0.15 * box.width
    assert not finder.near(picture * 0, box)


def test_threads_have_a_yunet_each(quick):
    """Four at once read the same."""
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: quick.read(portraits.hopper(), PROBE), range(8)))
    assert all(np.array_equal(item.vector, found[0].vector) for item in found)
