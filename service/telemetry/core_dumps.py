"""No core file of a process that holds keys: a crash must not write them to a disk."""

import ctypes
import resource
from typing import Final

_PR_SET_DUMPABLE: Final = 4


def forbid() -> None:
    """Set the size of core files to nothing, and on Linux make the process undumpable (prctl(2)).

    The second matters where cores go to a pipe, which knows no size; it also closes
    `/proc/PID/mem` and ptrace to other processes of the same user.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
