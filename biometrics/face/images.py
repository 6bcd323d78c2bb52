"""Validate and decode pictures; the header is checked before any pixel is decoded."""

import hashlib
import os
import struct
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from biometrics.face.errors import FrameRefused
from biometrics.face.jpeg import ALONE, MOST_SEGMENTS, end, not_an_image, truncated
from biometrics.face.marks import EXACT

LARGEST_BYTES: Final = 2 * 1024 * 1024
LONGEST_SIDE: Final = 4096
MOST_PIXELS: Final = 4096 * 3072
WORKING_SIDE: Final = 1280
_SHORTEST_SIDE: Final = 48
# OpenCV reads this once, at its first import: a second limit behind the checks below.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MOST_PIXELS))  # noqa: TID251 - OpenCV takes no other way
# It warns about every network that it opens.
os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")  # noqa: TID251 - as above

import cv2  # noqa: E402 - only after its limit is set

cv2.setNumThreads(1)

Picture = npt.NDArray[np.uint8]
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_END: Final = b"IEND\xaeB`\x82"
_BITS: Final = 8
_ANIMATED: Final = 0x02
# Start-of-frame markers of JPEG: all of C0..CF except DHT, JPG and DAC.
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN: Final = 0xDA
_PHONE_PICTURES: Final = {
    b"heic": "HEIC",
    b"heix": "HEIC",
    b"heim": "HEIC",
    b"heis": "HEIC",
    b"hevc": "HEIC",
    b"hevx": "HEIC",
    b"mif1": "HEIC",
    b"msf1": "HEIC",
    b"avif": "AVIF",
    b"avis": "AVIF",
}
"""Picture format by the major brand of a container (ISO 14496-12)."""
_HASHED_SIDE: Final = 64
_LOW_ROWS: Final = 12
_LOW_COLUMNS: Final = 11
_LOW_BITS: Final = 128


def _not_supported() -> FrameRefused:
    detail = "neither animated nor CMYK nor of 16 bits"
    return FrameRefused("image_not_supported", f"Send an ordinary picture, {detail}.")


def _of_another_format(data: bytes) -> FrameRefused:
    """Return the error for data in none of the three formats; a phone's format is named."""
    name = _PHONE_PICTURES.get(data[8:12]) if data[4:8] == b"ftyp" else None
    if name is None:
        return not_an_image()
    return FrameRefused("image_not_supported", f"This is a picture in {name}; send JPEG.")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    at = 2
    for _ in range(MOST_SEGMENTS):
        if at + 10 > len(data):
            raise truncated()
        if data[at] != 0xFF:  # noqa: PLR2004 - every marker begins with it
            raise not_an_image()
        marker = data[at + 1]
        if marker == 0xFF:  # noqa: PLR2004 - a fill byte
            at += 1
        elif marker in ALONE:
            at += 2
        elif marker in _FRAMES:
            return _frame_size(data, at)
        elif marker == _START_OF_SCAN:
            raise not_an_image()
        else:
            at += 2 + int(struct.unpack_from(">H", data, at + 2)[0])
    raise not_an_image()


def _frame_size(data: bytes, at: int) -> tuple[int, int]:
    # Bits per sample, then (after the size) the number of color components.
    if data[at + 4] != _BITS or data[at + 9] not in {1, 3}:
        raise _not_supported()
    height, width = struct.unpack_from(">HH", data, at + 5)
    return width, height


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        if data[20] & _ANIMATED:
            raise _not_supported()
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise not_an_image()


def _png_size(data: bytes) -> tuple[int, int]:
    if data[24] > _BITS or b"acTL" in data[: data.find(b"IDAT")]:
        raise _not_supported()
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _end(data: bytes) -> int:
    """Check the header and size of a picture and return the offset of its end."""
    if len(data) < 32:  # noqa: PLR2004 - no header is shorter
        raise not_an_image()
    if data.startswith(b"\xff\xd8\xff"):
        _check_size(*_jpeg_size(data))
        # Data that a device appends after the end is ignored: a moving picture, a depth map.
        return end(data)
    if data.startswith(_PNG) and data[12:16] == b"IHDR":
        size = _png_size(data)
        tail = data.rpartition(_PNG_END)
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        size = _webp_size(data)
        whole = int.from_bytes(data[4:8], "little") + 8
        tail = (b"", b"whole" if whole <= len(data) else b"", data[whole:])
    else:
        raise _of_another_format(data)
    _check_size(*size)
    if not tail[1]:
        raise truncated()
    # Padding is harmless; anything else after the end is a second file.
    if tail[2].strip(b"\0"):
        raise FrameRefused("trailing_data", "Send only the picture, with no data after it.")
    return len(data)


def _check_size(width: int, height: int) -> None:
    if max(width, height) > LONGEST_SIDE or width * height > MOST_PIXELS:
        detail = f"at most {LONGEST_SIDE} pixels a side and {MOST_PIXELS} in all"
        raise FrameRefused("image_too_large", f"Send a smaller picture: {detail}.")
    if min(width, height) < _SHORTEST_SIDE:
        raise FrameRefused(
            "image_too_small", f"Send a picture of at least {_SHORTEST_SIDE} pixels."
        )


def decode(data: bytes) -> Picture:
    """Decode a picture to uint8 (rows, columns, 3) BGR, at most 1280 pixels a side.

    Metadata is ignored except the orientation, which turns the picture upright. Data after the end
    of a JPEG is cut off unread.

    Raises:
        FrameRefused: Too large, truncated, or not a picture; the header is checked first.
    """
    if len(data) > LARGEST_BYTES:
        limit = LARGEST_BYTES // 1024
        raise FrameRefused("image_too_large", f"Send a picture of at most {limit} KiB.")
    size = _end(data)
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8, count=size), cv2.IMREAD_COLOR)
    except cv2.error:
        raise not_an_image() from None
    if picture is None:
        raise not_an_image()
    factor = WORKING_SIDE / max(picture.shape[:2])
    if factor < 1:
        picture = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(picture, dtype=np.uint8)


def load(file: Path) -> Picture | None:
    """Return an operator's picture in any format OpenCV supports; None if it is not a picture."""
    try:
        found = cv2.imread(str(file), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if found is None else np.asarray(found, dtype=np.uint8)


def grey(picture: Picture) -> Picture:
    """Convert a picture to gray, uint8 (rows, columns)."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), dtype=np.uint8)


def thumbnail(picture: Picture) -> Picture:
    """Return the picture in gray as 64x48 averages, which show any movement."""
    return np.asarray(cv2.resize(grey(picture), (64, 48), interpolation=cv2.INTER_AREA), np.uint8)


def mark(picture: Picture) -> bytes:
    """Return the 24-byte mark that recognizes a decoded picture (`marks`)."""
    shape = repr(picture.shape).encode()
    exact = hashlib.sha256(shape + np.ascontiguousarray(picture).tobytes()).digest()[:EXACT]
    small = cv2.resize(grey(picture), (_HASHED_SIDE, _HASHED_SIDE), interpolation=cv2.INTER_AREA)
    low = cv2.dct(small.astype(np.float32))[:_LOW_ROWS, :_LOW_COLUMNS].ravel()[1 : _LOW_BITS + 1]
    return exact + np.packbits(low > np.median(low)).tobytes()


def shrink(picture: Picture, factor: float) -> Picture:
    """Resize a picture by a factor.

    Down to one half, linear interpolation uses every pixel and costs a tenth of area averaging.
    """
    interpolation = cv2.INTER_AREA if factor <= 0.5 else cv2.INTER_LINEAR  # noqa: PLR2004 - see above
    resized = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=interpolation)
    return np.ascontiguousarray(resized, dtype=np.uint8)


def warp(picture: Picture, matrix: npt.NDArray[np.float64], side: int) -> Picture:
    """Return a square crop of a picture; ``matrix`` (2, 3) maps picture to crop.

    Outside the picture its edge is replicated: black corners, as in dlib, look like a feature.
    """
    linear = cv2.INTER_LINEAR
    goes_on = cv2.BORDER_REPLICATE
    cut = cv2.warpAffine(picture, matrix, (side, side), flags=linear, borderMode=goes_on)
    return np.asarray(cut, dtype=np.uint8)


def sharpness(grey_cut: Picture) -> float:
    """Return the variance of the Laplacian, which is small for a blurred picture."""
    return float(cv2.Laplacian(grey_cut, cv2.CV_64F).var())
