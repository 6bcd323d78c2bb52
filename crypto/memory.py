"""How the C library of a server keeps and gives back memory."""

import ctypes
from typing import Final

_MIB: Final = 2**20
_SETTINGS: Final = {
    # From glibc's malloc.h. One arena (M_ARENA_MAX) rather than one for each of many threads.
    -8: 1,
    # What is larger, as of some inferences, is mapped apart and given back (M_MMAP_THRESHOLD).
    -3: 32 * _MIB,
    # Two hashes of 19 MiB are kept (M_TRIM_THRESHOLD): given back, each would have nearly all of
    # its 4,864 pages made anew, for a fifth of its time.
    -1: 48 * _MIB,
}


def keep_for_hashes() -> None:
    """Let malloc keep the memory of hashes; does nothing where the C library is not glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in _SETTINGS.items():
            mallopt(option, value)
