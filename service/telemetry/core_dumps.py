"""Prevent core dumps of processes that hold keys, so that a crash writes none to disk."""

import ctypes
import resource
from typing import Final

_PR_SET_DUMPABLE: Final = 4


def forbid() -> None:
    """Disable core files, and on Linux make the process undumpable (prctl(2)).

    The latter matters if cores are piped to a handler, which ignores the size limit; it also denies
    `/proc/PID/mem` and ptrace to other processes of the same user.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
