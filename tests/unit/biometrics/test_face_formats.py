"""Weight files, ONNX bytes and templates: exact formats, and errors of their own."""

import contextlib

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biometrics.face import BadTemplate, FaceMismatch, template, weights
from biometrics.face.conversion.dlib_reader import ByteReader, floats, integers
from biometrics.face.conversion.networks import convolve, detector_layers, embedder, pixels
from biometrics.face.conversion.onnx_writer import FLOAT, UINT8, Graph
from biometrics.face.conversion.quantized import detector
from biometrics.face.conversion.shape_predictor import predictor
from biometrics.face.errors import BadWeights
from biometrics.face.geometry import Box, Similarity
from biometrics.face.images import decode
from biometrics.face.model import DLIB
from lab.face import portraits


class Seen:
    """A reading with a vector of its own."""

    quality = 1.0
    model = DLIB

    def __init__(self, vector):
        self.vector = vector


def seen(seed, near=None, apart=0.0):
    """Return a reading of a random unit vector, or of one near another."""
    vector = np.random.default_rng(seed).normal(size=128)
    vector /= np.linalg.norm(vector)
    if near is not None:
        vector = near.vector + apart * vector
        vector /= np.linalg.norm(vector)
    return Seen(vector.astype(np.float32))


def test_integers_are_dlibs():
    """A control byte with size and sign, then the magnitude."""
    data = bytes([1, 5, 0x81, 5, 2, 0, 1, 0x88]) + (2**40).to_bytes(8, "little")
    assert integers(data).tolist() == [5, -5, 256, -(2**40)]
    reader = ByteReader(data)
    assert [reader.integer() for _ in range(4)] == [5, -5, 256, -(2**40)]
    assert reader.remaining == 0
    assert floats(np.array([3, -1])).tolist() == [1.5]


@given(st.binary(max_size=400))
def test_garbage_raises_bad_weights_and_nothing_else(data):
    """No reader of weight files lets another error out."""
    for read in (embedder, detector, predictor, integers, lambda d: ByteReader(d).tensor()):
        with contextlib.suppress(BadWeights):
            assert read(data) is not None


@pytest.mark.parametrize(
    "data",
    [b"\x00", b"\x01", b"\x09" + bytes(9), b"\x11\x01", b"\x08" + b"\xff" * 8],
)
def test_broken_integers_are_refused(data):
    """No size, cut off, too wide, unknown flags, out of range."""
    with pytest.raises(BadWeights):
        integers(data)


def test_tensors_are_bounded_by_the_file():
    """A claimed size that the file does not hold is refused before memory is taken."""
    huge = bytes([1, 2, 4, 255, 255, 255, 3, 1, 1, 1, 1, 1, 1])
    with pytest.raises(BadWeights):
        ByteReader(huge).tensor()
    with pytest.raises(BadWeights):
        floats(np.array([1, 900]))
    with pytest.raises(BadWeights):
        ByteReader(b"nothing").skip_past(b"fc_2")


def test_the_detector_in_eight_bits_scores_as_in_thirty_two():
    """Filled up, split and rounded it keeps each score of a portrait to 0.2; a face has 1."""
    data = weights.read(weights.DETECTOR, weights.directory())
    layers = detector_layers(ByteReader(data))
    graph = Graph("exact")
    value = convolve(graph, pixels(graph, "picture"), layers[0].normalized())
    for layer in layers[1:]:
        value = convolve(graph, graph.node("Relu", [value], {}), layer)
    exact = graph.model(("picture", UINT8, [1, "rows", "columns", 3]), value)
    half = np.ascontiguousarray(decode(portraits.collins())[::2, ::2])
    found = [
        onnxruntime.InferenceSession(model).run(None, {"picture": half[None]})[0]
        for model in (exact, detector(data))
    ]
    assert found[0].shape == found[1].shape
    assert found[0].max() > 0.9
    assert np.abs(found[0] - found[1]).max() < 0.2


def test_the_writer_makes_what_onnxruntime_runs():
    """A graph of one addition computes it."""
    graph = Graph("sum")
    output = graph.node("Add", ["x", graph.constant(np.array([1, 2], np.float32))], {})
    model = graph.model(("x", FLOAT, ["n", 2]), output)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    found = session.run(None, {"x": np.array([[3, 4]], np.float32)})[0]
    assert found.tolist() == [[4, 6]]


def test_similarity_is_found_and_applied():
    """Scale, rotation and shift come back from points."""
    source = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    target = source @ np.array([[0.0, 3.0], [-3.0, 0.0]]) + [5.0, 7.0]
    found = Similarity.between(source, target)
    assert np.allclose(found.apply(source), target)
    assert Similarity.between(source * 0, target).turn == 1


def test_boxes_overlap_in_whole_pixels():
    """Areas count both borders, as dlib's rectangles do."""
    box = Box(0, 0, 9, 9)
    assert (box.area, box.overlap(Box(5, 5, 14, 14)), box.overlap(Box(20, 0, 29, 9))) == (
        100,
        25,
        0,
    )
    assert box.times(2) == Box(0, 0, 19, 19)
    assert Box(0.4, 0.6, 1.5, 1.4).rounded() == Box(0, 1, 2, 1)


def test_templates_keep_distances_and_need_their_secret():
    """What is near stays near under the transform; another secret matches nothing."""
    person = seen(1)
    stored = template.enroll_template([person], bytes(32))
    near = seen(2, near=person, apart=0.25)
    assert template.match_template(stored, bytes(32), [near]).quality == 1.0
    for secret, reading in ((bytes(range(32)), person), (bytes(32), seen(3))):
        with pytest.raises(FaceMismatch):
            template.match_template(stored, secret, [reading])


def test_a_template_is_renewed_without_the_person():
    """Under a new secret the same face matches, under the old one no more."""
    person, old, new = seen(1), bytes(32), bytes(range(32))
    renewed = template.renew_template(template.enroll_template([person], old), old, new)
    assert template.match_template(renewed, new, [person]).llr == pytest.approx(6.7849, abs=1e-4)
    with pytest.raises(FaceMismatch):
        template.match_template(renewed, old, [person])


def test_templates_have_one_form():
    """The version, the length and the secret are checked; the bytes are those of the first day."""
    vector = np.zeros(128, np.float32)
    vector[0] = 1
    stored = template.enroll_template([Seen(vector)], bytes(32))
    assert stored[:9].hex() == FIRST_BYTES
    for broken in (b"", stored[:-1], b"\x02" + stored[1:], b"\x01" + bytes(128)):
        with pytest.raises(BadTemplate):
            template.match_template(broken, bytes(32), [Seen(vector)])
    with pytest.raises(ValueError, match="32 bytes"):
        template.enroll_template([Seen(vector)], b"short")
    with pytest.raises(ValueError, match="one reading"):
        template.enroll_template([], bytes(32))


FIRST_BYTES = "017fdde3df12eef706"
