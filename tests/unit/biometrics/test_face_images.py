"""The guard in front of the decoder."""

import struct
import time
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biometrics.face import FrameRefused
from biometrics.face.images import LARGEST_BYTES, decode

PIXELS = np.random.default_rng(3).integers(0, 256, (90, 120, 3), dtype=np.uint8)


def png_header(width, height):
    """Return a PNG whose header claims a size, without the pixels for it."""

    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + head + data + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", [".jpg", ".png", ".webp"])
def test_the_three_formats_are_taken(kind):
    """JPEG, PNG and WebP decode to BGR."""
    data = cv2.imencode(kind, PIXELS)[1].tobytes()
    assert decode(data).shape == (90, 120, 3)


def test_a_large_picture_is_brought_to_working_size():
    """The long side is 1280 at most."""
    data = cv2.imencode(".jpg", np.zeros((1500, 2000, 3), np.uint8))[1].tobytes()
    assert decode(data).shape == (960, 1280, 3)


JPEG = cv2.imencode(".jpg", PIXELS)[1].tobytes()
BAD = {
    "bomb": (png_header(30_000, 30_000), "image_too_large"),
    "wide": (png_header(5_000, 10), "image_too_large"),
    "tiny": (png_header(10, 10), "image_too_small"),
    "cut jpeg": (JPEG[: len(JPEG) // 2], "image_truncated"),
    "cut header": (JPEG[:40], "image_truncated"),
    "text": (b"hello " * 20, "not_an_image"),
    "empty": (b"", "not_an_image"),
    "gif": (b"GIF89a" + bytes(100), "not_an_image"),
    "heavy": (JPEG + bytes(LARGEST_BYTES), "image_too_large"),
    "no pixels": (png_header(100, 100), "not_an_image"),
    "unknown webp": (b"RIFF\x40\0\0\0WEBPVP9 " + bytes(60), "not_an_image"),
    "broken marker": (b"\xff\xd8\xff\xe0\x00\x04ab" + bytes(60), "not_an_image"),
    "scan first": (b"\xff\xd8\xff\xda" + bytes(60), "not_an_image"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_usable_picture_is_refused_at_once(name):
    """Bombs, stumps and other files have their code, and cost no decoding."""
    data, code = BAD[name]
    started = time.process_time()
    with pytest.raises(FrameRefused) as refused:
        decode(data)
    assert refused.value.code == code
    # A bomb that were decoded would take a minute; this bound only tells the two apart.
    assert time.process_time() - started < 5


@given(st.binary(max_size=300), st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF"]))
def test_garbage_is_refused_and_nothing_else(tail, magic):
    """Any bytes behind any magic give a refusal, never another error."""
    with pytest.raises(FrameRefused):
        decode(magic + tail)
