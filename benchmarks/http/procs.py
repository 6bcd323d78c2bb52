"""Processes as Linux accounts for them: trees, processor time, memory; and how they are paused."""

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_SHORT: Final = 0.05
_KIB: Final = 1024


@dataclass(frozen=True)
class Memory:
    """Memory of one process in MiB; None where the system does not say.

    Attributes:
        rss: Resident, shared pages counted in full.
        pss: Resident, each shared page divided by the processes that share it.
        uss: What no other process shares.
    """

    command: str
    rss: float | None
    pss: float | None
    uss: float | None


def _fields(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat after the name, from the state on; None if it ended."""
    try:
        text = (_PROC / str(pid) / "stat").read_text("ascii", "replace")
    except OSError:
        return None
    # The name may hold spaces and parentheses; the last one closes it.
    return text.rpartition(")")[2].split()


def tree(roots: Iterable[int]) -> list[int]:
    """Return the processes that run of some roots and all their descendants, parents first."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        found = _fields(int(entry.name)) if entry.name.isdigit() else None
        if found is not None:
            children.setdefault(int(found[1]), []).append(int(entry.name))
    order = [pid for pid in roots if _fields(pid) is not None]
    for pid in order:
        order += [child for child in sorted(children.get(pid, ())) if child not in order]
    return order


def cpu(roots: Iterable[int]) -> float:
    """Return the milliseconds of processor time that trees have used so far.

    Children that ended count as long as a process of the tree has waited for them. Each process
    is accounted in whole ticks, of 10 ms on most systems.
    """
    total = 0
    for pid in tree(roots):
        found = _fields(pid)
        if found is not None:
            # utime, stime, cutime and cstime: fields 14 to 17 of proc(5).
            total += sum(map(int, found[11:15]))
    return total * 1000 / _TICKS


def memory(pid: int) -> Memory:
    """Return the memory of a process."""
    place = _PROC / str(pid)
    try:
        command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        lines = (place / "smaps_rollup").read_text("ascii").splitlines()[1:]
    except OSError:
        return Memory("", None, None, None)
    sizes = {line.split(":")[0]: int(line.split()[1]) / _KIB for line in lines}
    uss = sizes["Private_Clean"] + sizes["Private_Dirty"]
    return Memory(command.strip()[:120], sizes["Rss"], sizes["Pss"], uss)


def pause(roots: Sequence[int]) -> None:
    """Stop trees where they are, parents first: no supervisor sees its workers stand still."""
    for pid in tree(roots):
        _send(pid, signal.SIGSTOP)


def resume(roots: Sequence[int]) -> None:
    """Let trees go on, children first: workers have reported before their supervisor looks."""
    for pid in reversed(tree(roots)):
        _send(pid, signal.SIGCONT)


def end(root: int, sign: signal.Signals = signal.SIGTERM, seconds: float = 30) -> None:
    """End a tree: by a signal to its root, and by SIGKILL what is left of it after some time.

    A root that is a child of this process is waited for.
    """
    members = tree([root])
    resume([root])
    _send(root, sign)
    deadline = time.monotonic() + seconds
    while any(map(runs, members)) and time.monotonic() < deadline:
        _reap(root)
        time.sleep(_SHORT)
    for pid in members:
        if runs(pid):
            _send(pid, signal.SIGKILL)
    while any(map(runs, members)):
        _reap(root)
        time.sleep(_SHORT)
    _reap(root)


def runs(pid: int) -> bool:
    """Return whether a process is there and has not ended."""
    found = _fields(pid)
    return found is not None and found[0] not in {"Z", "X"}


def _send(pid: int, sign: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, sign)


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
