"""The guard in front of the decoder."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biometrics.face import FrameRefused
from biometrics.face.images import LARGEST_BYTES, decode
from biometrics.face.jpeg import behind

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


def png(depth):
    """Return a PNG of 8 or 16 bits."""
    pixels = PIXELS if depth == 8 else PIXELS.astype(np.uint16) << 8
    return cv2.imencode(".png", pixels)[1].tobytes()


def animated_webp():
    """Return a WebP header that says it is animated."""
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes([2, 0, 0, 0]) + b"\x77\0\0\x59\0\0"
    return b"RIFF" + struct.pack("<I", len(body) + 20) + body + bytes(20)


def components(jpeg, count):
    """Return a JPEG whose frame claims so many color components."""
    at = jpeg.index(b"\xff\xc0")
    return jpeg[: at + 9] + bytes([count]) + jpeg[at + 10 :]


def thumbnailed(jpeg):
    """Return a JPEG with another, whole one in a segment of its header."""
    small = cv2.imencode(".jpg", PIXELS[:8, :8])[1].tobytes()
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(small) + 2) + small + jpeg[2:]


def container(brand):
    """Return the beginning of a file as phones store pictures and films."""
    return struct.pack(">I", 24) + b"ftyp" + brand + bytes(4) + b"mif1" + brand + bytes(200)


BAD |= {
    "16 bits": (png(16), "image_not_supported"),
    "cmyk": (components(JPEG, 4), "image_not_supported"),
    "12 bits": (
        JPEG.replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c"),
        "image_not_supported",
    ),
    "animated png": (png(8).replace(b"IDAT", b"acTL", 1) + b"IDAT", "image_not_supported"),
    "animated webp": (animated_webp(), "image_not_supported"),
    "cut jpeg with a thumbnail": (thumbnailed(JPEG)[:-40], "image_truncated"),
    "cut jpeg and another": (JPEG[:-2] + JPEG, "image_truncated"),
    "cut segment": (JPEG[:-2] + b"\xff\xc4\x10", "image_truncated"),
    "segments without end": (JPEG[:2] + b"\xff\xe0\0\2" * 2000 + JPEG[2:], "not_an_image"),
    "scans without end": (JPEG[:-2] + b"\xff\xc4\0\2" * 2000 + JPEG[-2:], "not_an_image"),
    "heic": (container(b"heic"), "image_not_supported"),
    "heic of another brand": (container(b"mif1"), "image_not_supported"),
    "avif": (container(b"avif"), "image_not_supported"),
    "film": (container(b"isom"), "not_an_image"),
    "webp and html": (cv2.imencode(".webp", PIXELS)[1].tobytes() + b"<script>", "trailing_data"),
    "png and html": (png(8) + b"<script>", "trailing_data"),
    "one pixel": (cv2.imencode(".png", PIXELS[:1, :1])[1].tobytes(), "image_too_small"),
    "wrong magic": (b"\x89PNG\r\n\x1a\n" + JPEG, "not_an_image"),
}


def test_the_orientation_is_honored():
    """A picture stored on its side and marked so comes out upright."""
    side = np.ascontiguousarray(np.rot90(PIXELS))
    stored = cv2.imencode(".jpg", side)[1].tobytes()
    tiff = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    exif = b"Exif\0\0" + tiff
    marked = stored[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + stored[2:]
    assert decode(stored).shape == (120, 90, 3)
    assert decode(marked).shape == (90, 120, 3)


FILM = container(b"isom") + b"\xff\xd9" * 9
TRAILERS = {
    "motion photo": FILM,
    "samsung": b"\0\0\x30\x0a\x10\0\0\0MotionPhoto_Data" + FILM + b"SEFH\x6b\0\0\0SEFT",
    "gain map": JPEG,
    "note": b"vivo{}",
    "archive": b"PK\x03\x04" + bytes(30),
}


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("name", TRAILERS)
def test_what_a_maker_puts_behind_a_jpeg_is_cut_off(name, progressive):
    """The pixels are those of the picture alone, also of several scans, and the size is told."""
    plain = cv2.imencode(".jpg", PIXELS, [cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)])
    plain = thumbnailed(plain[1].tobytes())
    assert np.array_equal(decode(plain + TRAILERS[name]), decode(plain))
    assert behind(plain + TRAILERS[name]) == len(TRAILERS[name])
    assert behind(plain) == behind(plain + bytes(16)) == behind(plain[:-40]) == 0


def test_markers_that_restart_the_decoder_are_no_end():
    """A picture with restart markers is read to its end."""
    plain = cv2.imencode(".jpg", PIXELS, [cv2.IMWRITE_JPEG_RST_INTERVAL, 2])[1].tobytes()
    assert b"\xff\xd3" in plain
    assert behind(plain + FILM) == len(FILM)
    assert decode(plain + FILM).shape == (90, 120, 3)


@pytest.mark.parametrize(("brand", "name"), [(b"heic", "HEIC"), (b"avif", "AVIF")])
def test_a_format_of_phones_is_named(brand, name):
    """Whoever sends it is told what it is, and what to send instead."""
    with pytest.raises(FrameRefused) as refused:
        decode(container(brand))
    assert refused.value.advice == f"This is a picture in {name}; send JPEG."


def test_padding_is_no_second_file():
    """Zeros behind a picture are left alone."""
    assert decode(JPEG + bytes(16)).shape == (90, 120, 3)


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_usable_picture_is_refused_before_it_is_decoded(name, monkeypatch):
    """Bombs, stumps and other files have their code; only pixels that are none are looked at."""
    data, code = BAD[name]
    decoded, real = [], cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda *told: decoded.append(name) or real(*told))
    with pytest.raises(FrameRefused) as refused:
        decode(data)
    assert refused.value.code == code
    assert decoded == (["no pixels"] if name == "no pixels" else [])


@given(st.binary(max_size=300), st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF"]))
def test_garbage_is_refused_and_nothing_else(tail, magic):
    """Any bytes behind any magic give a refusal, never another error."""
    with pytest.raises(FrameRefused):
        decode(magic + tail)
