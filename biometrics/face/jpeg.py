"""Find the end of a JPEG by its markers, without decoding a pixel."""

import re
import struct
from typing import Final

from biometrics.face.errors import FrameRefused

ALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without a segment."""
MOST_SEGMENTS: Final = 1000
_START_OF_IMAGE: Final = 0xD8
_END_OF_IMAGE: Final = 0xD9
# A marker within scan data: neither an escaped FF nor a restart marker.
_MARKER: Final = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")


def not_an_image() -> FrameRefused:
    """Return the error for data that is not a picture."""
    return FrameRefused("not_an_image", "Send a JPEG, PNG or WebP picture.")


def truncated() -> FrameRefused:
    """Return the error for a truncated picture."""
    return FrameRefused("image_truncated", "The picture is cut off; send it again.")


def end(data: bytes) -> int:
    """Return the offset of the end of a JPEG by its markers, whatever data follows.

    The end marker of a thumbnail inside a segment is skipped.

    Raises:
        FrameRefused: It is truncated, or has more segments than any camera writes.
    """
    at = 2
    for _ in range(MOST_SEGMENTS):
        found = _MARKER.search(data, at)
        if found is None or found[1][0] == _START_OF_IMAGE:
            raise truncated()
        marker = found[1][0]
        at = found.end()
        if marker == _END_OF_IMAGE:
            return at
        if marker not in ALONE:
            if at + 2 > len(data):
                raise truncated()
            at += max(2, int(struct.unpack_from(">H", data, at)[0]))
    raise not_an_image()


def behind(data: bytes) -> int:
    """Return the number of bytes after the end of a JPEG, which `decode` cuts off.

    Padding does not count; the result is 0 for an incomplete JPEG, which `decode` refuses.
    """
    if not data.startswith(b"\xff\xd8\xff"):
        return 0
    try:
        tail = data[end(data) :]
    except FrameRefused:
        return 0
    return len(tail) if tail.strip(b"\0") else 0
