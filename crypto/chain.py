"""Hash chain: each head covers its leaf and all leaves before it.

Anyone can recompute the heads. A MAC beside each head proves that a holder of the key wrote it,
which detects a chain that was modified and then recomputed.
"""

import hashlib
import hmac
from collections.abc import Iterable
from typing import Final

from crypto.errors import ChainBroken

GENESIS: Final = hashlib.sha256(b"lamina/1/chain").digest()


def leaf_hash(leaf: bytes) -> bytes:
    """Return the hash of a leaf, in another domain than `link` (RFC 6962 section 2.1)."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def link(previous: bytes, leaf: bytes) -> bytes:
    """Return the 32-byte head after appending a leaf."""
    return hashlib.sha256(b"\x01" + previous + leaf_hash(leaf)).digest()


def link_mac(key: bytes, position: int, head: bytes) -> bytes:
    """Return the HMAC-SHA-256 of a head and its position."""
    return hmac.digest(key, b"lamina/1/link" + position.to_bytes(8, "big") + head, "sha256")


def verify_chain(
    entries: Iterable[tuple[int, bytes, bytes]], position: int = 0, head: bytes = GENESIS
) -> tuple[int, bytes]:
    """Verify (position, leaf, head) entries after a position; return the last position and head.

    Raises:
        ChainBroken: An entry was changed, removed or moved.
    """
    for number, leaf, claimed in entries:
        position = position + 1
        head = link(head, leaf)
        if number != position or head != claimed:
            raise ChainBroken(position)
    return position, head
