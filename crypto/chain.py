"""A hash chain: each head covers its leaf and every leaf before it.

Anybody can recompute the heads; a MAC beside each of them says that it was written by a holder of
the key, so that a chain which was changed and then recomputed is found out.
"""

import hashlib
import hmac
from collections.abc import Iterable
from typing import Final

from crypto.errors import ChainBroken

GENESIS: Final = hashlib.sha256(b"lamina/1/chain").digest()


def leaf_hash(leaf: bytes) -> bytes:
    """Return the hash of a leaf, apart from the hash of a link (RFC 6962 section 2.1)."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def link(previous: bytes, leaf: bytes) -> bytes:
    """Return the head after a leaf: 32 bytes."""
    return hashlib.sha256(b"\x01" + previous + leaf_hash(leaf)).digest()


def link_mac(key: bytes, position: int, head: bytes) -> bytes:
    """Return the MAC of a head at its position: HMAC-SHA-256 over a label, both."""
    return hmac.new(key, b"lamina/1/link" + position.to_bytes(8, "big") + head, "sha256").digest()


def verify_chain(
    entries: Iterable[tuple[int, bytes, bytes]], position: int = 0, head: bytes = GENESIS
) -> tuple[int, bytes]:
    """Recompute (position, leaf, head) entries that follow a position; return where they end.

    Raises:
        ChainBroken: An entry was changed, left out or moved.
    """
    for number, leaf, claimed in entries:
        position, head = position + 1, link(head, leaf)
        if number != position or head != claimed:
            raise ChainBroken(position)
    return position, head
