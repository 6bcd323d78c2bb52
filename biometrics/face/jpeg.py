"""Where a JPEG ends, by its own markers: no pixel of it is decoded here."""

import re
import struct
from typing import Final

from biometrics.face.errors import FrameRefused

ALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without a segment."""
MOST_SEGMENTS: Final = 1000
_START_OF_IMAGE: Final = 0xD8
_END_OF_IMAGE: Final = 0xD9
# A marker among the bits of a scan: neither an escaped FF nor one that restarts the decoder.
_MARKER: Final = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")


def not_an_image() -> FrameRefused:
    """Return the refusal of what is no picture."""
    return FrameRefused("not_an_image", "Send a JPEG, PNG or WebP picture.")


def truncated() -> FrameRefused:
    """Return the refusal of a picture that is cut off."""
    return FrameRefused("image_truncated", "The picture is cut off; send it again.")


def end(data: bytes) -> int:
    """Return where a JPEG ends by its own markers, whatever a maker has put behind it.

    A thumbnail inside a segment has an end of its own, which is passed over.

    Raises:
        FrameRefused: It is cut off, or has more segments than any camera writes.
    """
    at = 2
    for _ in range(MOST_SEGMENTS):
        found = _MARKER.search(data, at)
        if found is None or found[1][0] == _START_OF_IMAGE:
            raise truncated()
        marker, at = found[1][0], found.end()
        if marker == _END_OF_IMAGE:
            return at
        if marker not in ALONE:
            if at + 2 > len(data):
                raise truncated()
            at += max(2, int(struct.unpack_from(">H", data, at)[0]))
    raise not_an_image()


def behind(data: bytes) -> int:
    """Return how many bytes are behind the end of a JPEG, which `decode` cuts off.

    Padding is none of them; of what is no whole JPEG nothing is told, as `decode` refuses it.
    """
    if not data.startswith(b"\xff\xd8\xff"):
        return 0
    try:
        tail = data[end(data) :]
    except FrameRefused:
        return 0
    return len(tail) if tail.strip(b"\0") else 0
