"""A picture that was accepted is found again whatever its file looks like."""

from itertools import combinations

import cv2
import numpy as np
import pytest

from biometrics.face.active import ORDERS
from biometrics.face.images import decode, mark
from biometrics.face.marks import BYTES, repeated
from lab.face import portraits, synthetic
from tests.depth import depth


@pytest.fixture(scope="module")
def picture():
    return decode(portraits.collins())


def jpeg(picture, quality):
    return decode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes())


COPIES = {
    "lossless": lambda one: decode(cv2.imencode(".png", one)[1].tobytes()),
    "quality 90": lambda one: jpeg(one, 90),
    "quality 50": lambda one: jpeg(one, 50),
    "smaller": lambda one: cv2.resize(one, None, fx=0.9, fy=0.9),
    "blurred": lambda one: cv2.GaussianBlur(one, (3, 3), 0),
    "brighter": lambda one: cv2.convertScaleAbs(one, alpha=1.05, beta=5),
    "noise": lambda one: cv2.add(
        one, np.random.default_rng(1).integers(0, 6, one.shape, dtype=np.uint8)
    ),
}


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_found(picture, kind):
    """Compressed again, resized, blurred, brighter, with noise: it is the same picture."""
    assert repeated(mark(picture), mark(COPIES[kind](picture)))


def test_same_pixels_are_found_among_many(picture):
    """One frame with the same pixels is enough; nothing is found in an empty memory."""
    others = b"".join(mark(np.roll(picture, 40 * n, axis=1)) for n in range(1, 10))
    assert len(others) == 9 * BYTES
    assert repeated(mark(picture), others + mark(picture))
    assert not repeated(mark(picture), others)
    assert not repeated(b"", mark(picture))
    assert not repeated(mark(picture), b"")


def test_one_frame_that_looks_alike_refuses_no_capture(picture):
    """By chance some of many frames resemble others; four fifths of them do not."""
    alike = mark(jpeg(picture, 60))
    others = [mark(np.roll(picture, 40 * n, axis=1)) for n in range(1, 4)]
    assert not repeated(mark(picture), b"".join([alike, *others]))
    assert repeated(mark(picture), alike * 4 + others[0])


def take(head, seed):
    rng = np.random.default_rng(seed)
    frames = synthetic.record(head, synthetic.honest(ORDERS[0], rng), rng)
    return b"".join(mark(decode(frame.image)) for frame in frames)


@pytest.mark.parametrize("head", [synthetic.collins, synthetic.hopper])
def test_takes_of_one_head_are_no_copies(head):
    """Of many takes of one command by one head none repeats another; each repeats itself."""
    takes = [take(head(), seed) for seed in range(depth(10, least=4))]
    for one, other in combinations(takes, 2):
        assert not repeated(one, other)
    assert all(repeated(one, one) for one in takes)
