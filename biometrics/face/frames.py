"""Frames of a capture, and the hash of the whole capture."""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture (JPEG, PNG or WebP) and the time it was taken, in milliseconds."""

    t: float
    image: bytes = field(repr=False)


def transcript(nonce: bytes, frames: Sequence[Frame]) -> bytes:
    """Return a hash of the capture: it can confirm disputed frames but cannot reconstruct them.

    SHA-256 over ``lamina/1/face-capture``, 0, the nonce with its length in 4 bytes, then for each
    frame its time as a big-endian double (8 bytes) and the SHA-256 of its picture.
    """
    hashed = hashlib.sha256(b"lamina/1/face-capture\0")
    hashed.update(len(nonce).to_bytes(4, "big") + nonce)
    for frame in frames:
        hashed.update(struct.pack(">d", frame.t))
        hashed.update(hashlib.sha256(frame.image).digest())
    return hashed.digest()
