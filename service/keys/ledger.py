"""The ledger: a file outside the database that records what a restored backup would undo.

One JSON line per entry, chained and authenticated: ``{"entry": …, "mac": hex}`` with a MAC
(HMAC-SHA-256 under a key of the service) that covers the MAC of the previous line. Lines are only
appended; when the file has grown, it is replaced by a shorter one that starts with a `snapshot`.
A database backup older than the ledger is detected at start.
"""

import fcntl
import hashlib
import hmac
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson

from crypto import opaque
from service.domain.errors import SetupError
from service.store.files import OWNER_ONLY, tighten

Entry = dict[str, Any]
"""A line of the ledger; its members follow from its `kind`."""
Fold = Callable[[Sequence[Entry]], Sequence[Entry]]
_START: Final = b"lamina/1/ledger"
_AGAIN: Final = 50
SNAPSHOT: Final = "snapshot"
LARGE: Final = 2 * 2**20
"""File size in bytes above which the file is folded; a larger result folds again once doubled."""


class Ledger:
    """A ledger file, safe for several processes and threads of one machine at once.

    Only lines appended since the last read are read.

    Args:
        path: Path of the file.
        key: Key of the MACs.
        keep: Chooses the entries that a fold keeps; by default all.
    """

    def __init__(self, path: Path, key: bytes, keep: Fold = list) -> None:
        self._path = path
        self._key = key
        self._keep = keep
        self._guard = threading.Lock()
        self._large = LARGE
        self._file = (0, 0)
        self._offset = 0
        self._changed = 0
        self._last = _START
        self._entries: list[Entry] = []

    def __repr__(self) -> str:
        return f"Ledger({self._path.name!r})"

    @property
    def name(self) -> str:
        """Return the name of the file."""
        return self._path.name

    def entries(self) -> list[Entry]:
        """Return all entries, oldest first; empty if there is no file yet.

        Raises:
            SetupError: A line was changed, removed or moved; names the first one.
        """
        if not self._path.exists():
            return []
        with self._locked(os.O_RDONLY) as handle:
            self._read(handle)
            return list(self._entries)

    def append(self, entries: Sequence[Entry]) -> None:
        """Append entries and wait until they are on disk; raises SetupError."""
        if entries:
            self.add(lambda _known: entries)

    def add(self, choose: Fold) -> int:
        """Append the entries that `choose` returns for the existing ones, under an exclusive lock.

        Returns:
            The number of appended entries; they are on disk.

        Raises:
            SetupError: The file is damaged or cannot be written.
        """
        new = not self._path.exists()
        with self._locked(os.O_RDWR | os.O_CREAT) as handle:
            self._read(handle)
            entries = choose(self._entries)
            if entries:
                self._write(handle, entries)
        if new:
            self._settle()
        return len(entries)

    def fold(self) -> bool:
        """Replace a file that has grown by one with fewer lines; return whether it was replaced."""
        if not self._path.exists() or self._path.stat().st_size < self._large:
            return False
        with self._locked(os.O_RDWR) as handle:
            self._read(handle)
            content = self._folded(self._keep(self._entries))
            self._replace(content)
            self._large = max(LARGE, 2 * len(content))
            # A process that waits for the lock of the old file will notice that the path has
            # changed.
            self._forget()
        return True

    def _folded(self, kept: Sequence[Entry]) -> bytes:
        before = sum(item["lines"] for item in self._entries if item["kind"] == SNAPSHOT)
        lines = before + len(self._entries)
        after = self._last.hex()
        rest = [item for item in kept if item["kind"] != SNAPSHOT]
        head: Entry = {"kind": SNAPSHOT, "lines": lines, "after": after}
        return self._lines(_START, [head, *rest])[0]

    def _replace(self, content: bytes) -> None:
        other = self._path.with_name(f"{self._path.name}.new")
        try:
            other.unlink(missing_ok=True)
            handle = os.open(other, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, OWNER_ONLY)
            try:
                _write_all(handle, content)
                os.fsync(handle)
            finally:
                os.close(handle)
            other.rename(self._path)
        except OSError as error:
            raise _refused(self._path.name, error) from None
        self._settle()

    def _settle(self) -> None:
        """Sync the directory too, so that the file's name survives a power failure."""
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    @contextmanager
    def _locked(self, flags: int) -> Iterator[int]:
        with self._guard:
            handle = self._open(flags)
            try:
                yield handle
            finally:
                os.close(handle)

    def _open(self, flags: int) -> int:
        for _ in range(_AGAIN):
            try:
                # Non-blocking, in case the path is a pipe without another end.
                handle = os.open(
                    self._path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, OWNER_ONLY
                )
            except OSError as error:
                raise _refused(self._path.name, error) from None
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                os.close(handle)
                raise SetupError("ledger_unreadable", f"the ledger {self.name} is no file")
            tighten(self._path)
            fcntl.flock(handle, fcntl.LOCK_EX)
            if _same(self._path, found):
                return handle
            os.close(handle)
        raise SetupError("ledger_unreadable", f"the ledger {self.name} is replaced all the time")

    def _read(self, handle: int) -> None:
        """Read the lines appended since the last read."""
        found = os.fstat(handle)
        same = (found.st_dev, found.st_ino) == self._file and found.st_size >= self._offset
        written = found.st_size == self._offset and found.st_mtime_ns != self._changed
        if not same or written:
            self._forget()
            self._file = (found.st_dev, found.st_ino)
        content = os.pread(handle, found.st_size - self._offset, self._offset)
        # A line left incomplete by a killed process does not count.
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content) and _writable(handle):
            os.ftruncate(handle, self._offset + len(whole))
        entries = []
        last = self._last
        for number, line in enumerate(whole.splitlines(), len(self._entries) + 1):
            entry, mac = _parse(line, number, self.name)
            last = self._mac(last, orjson.dumps(entry, option=orjson.OPT_SORT_KEYS))
            if not opaque.equal(last, mac):
                raise _damaged(self.name, number)
            entries.append(entry)
        self._take_up(handle, entries, last, len(whole))

    def _write(self, handle: int, entries: Sequence[Entry]) -> None:
        content, last = self._lines(self._last, entries)
        try:
            os.lseek(handle, self._offset, os.SEEK_SET)
            _write_all(handle, content)
            os.fsync(handle)
        except OSError as error:
            os.ftruncate(handle, self._offset)
            raise _refused(self.name, error) from None
        self._take_up(handle, entries, last, len(content))

    def _lines(self, last: bytes, entries: Sequence[Entry]) -> tuple[bytes, bytes]:
        lines = []
        for entry in entries:
            last = self._mac(last, orjson.dumps(entry, option=orjson.OPT_SORT_KEYS))
            lines.append(orjson.dumps({"entry": entry, "mac": last.hex()}) + b"\n")
        return b"".join(lines), last

    def _take_up(self, handle: int, entries: Sequence[Entry], last: bytes, size: int) -> None:
        self._entries.extend(entries)
        self._last = last
        self._offset += size
        self._changed = os.fstat(handle).st_mtime_ns

    def _forget(self) -> None:
        self._file = (0, 0)
        self._offset = 0
        self._changed = 0
        self._last = _START
        self._entries = []

    def _mac(self, last: bytes, body: bytes) -> bytes:
        return hmac.new(self._key, last + body, hashlib.sha256).digest()


def _same(path: Path, found: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), found)
    except FileNotFoundError:
        return False


def _write_all(handle: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(handle, view) :]


def _writable(handle: int) -> bool:
    return fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY


def _parse(line: bytes, number: int, name: str) -> tuple[Entry, bytes]:
    try:
        found = orjson.loads(line)
        return dict(found["entry"]), bytes.fromhex(found["mac"])
    except (ValueError, KeyError, TypeError):
        raise _damaged(name, number) from None


def _damaged(name: str, number: int) -> SetupError:
    detail = f"the ledger {name} is damaged at line {number}; restore it from its copy"
    return SetupError("ledger_damaged", detail)


def _refused(name: str, error: OSError) -> SetupError:
    detail = f"the ledger {name} cannot be opened or written ({error.strerror})"
    return SetupError("ledger_unreadable", detail)
