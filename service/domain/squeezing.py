"""Small texts that are much alike, compressed against a dictionary of what they usually say."""

import zlib
from typing import Final

_BITS: Final = -13
_MEMORY: Final = 5
"""Little memory to clear, which would cost more than the compression of a short text."""
_LEVEL: Final = 4


def squeeze(text: bytes, dictionary: bytes) -> bytes:
    """Return a text compressed (raw DEFLATE) against a dictionary; a change of either is a format.

    The length of the result depends on the text: nothing may be squeezed in which a secret stands
    beside what a stranger may choose.
    """
    packer = zlib.compressobj(
        _LEVEL, zlib.DEFLATED, _BITS, _MEMORY, zlib.Z_DEFAULT_STRATEGY, dictionary
    )
    return packer.compress(text) + packer.flush()


def expand(squeezed: bytes, dictionary: bytes, most: int) -> bytes:
    """Return the text that was squeezed.

    Args:
        squeezed: The output of `squeeze`.
        dictionary: That of `squeeze`.
        most: The largest length of a text, in bytes.

    Raises:
        ValueError: It is no whole text of at most this length; the message repeats no part of it.
    """
    opener = zlib.decompressobj(_BITS, dictionary)
    try:
        text = opener.decompress(squeezed, most)
    except zlib.error:
        raise ValueError("what was squeezed does not expand") from None
    if not opener.eof or opener.unused_data:
        raise ValueError("what was squeezed is not whole, or is too long")
    return text
