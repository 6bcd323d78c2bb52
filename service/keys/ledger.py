"""The ledger: a file outside the database that remembers erasures and how far the log had come.

One JSON line each, chained and authenticated: ``{"entry": …, "mac": hex}`` where the MAC
(HMAC-SHA-256 under a key of the service) covers the MAC of the line before. Append only. A backup
of the database that is older than the ledger is found out at the start.
"""

import fcntl
import hashlib
import hmac
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson

from crypto import opaque
from service.domain.errors import SetupError
from service.store.files import OWNER_ONLY, tighten

Entry = dict[str, Any]
_START: Final = b"lamina/1/ledger"


class Ledger:
    """One file; safe for several processes of one machine at once."""

    def __init__(self, path: Path, key: bytes) -> None:
        self._path = path
        self._key = key

    def __repr__(self) -> str:
        return f"Ledger({self._path.name!r})"

    def entries(self) -> list[Entry]:
        """Return every line, oldest first; none when there is no file yet.

        Raises:
            SetupError: A line was changed, removed or put elsewhere; names the first.
        """
        if not self._path.exists():
            return []
        with self._locked(os.O_RDONLY) as handle:
            return [entry for entry, _ in self._read(handle)]

    def append(self, entries: Sequence[Entry]) -> None:
        """Add lines, and return when they are on the disk; raises SetupError."""
        if not entries:
            return
        with self._locked(os.O_RDWR | os.O_CREAT) as handle:
            last = ([_START] + [mac for _, mac in self._read(handle)])[-1]
            lines = []
            for entry in entries:
                body = orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)
                last = self._mac(last, body)
                lines.append(orjson.dumps({"entry": entry, "mac": last.hex()}) + b"\n")
            os.lseek(handle, 0, os.SEEK_END)
            os.write(handle, b"".join(lines))
            os.fsync(handle)

    @contextmanager
    def _locked(self, flags: int) -> Iterator[int]:
        try:
            handle = os.open(self._path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, OWNER_ONLY)
        except OSError as error:
            detail = f"the ledger {self._path.name} cannot be opened ({error.strerror})"
            raise SetupError("ledger_unreadable", detail) from None
        try:
            tighten(self._path)
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield handle
        finally:
            os.close(handle)

    def _read(self, handle: int) -> Iterator[tuple[Entry, bytes]]:
        size = os.fstat(handle).st_size
        content = os.pread(handle, size, 0)
        # A line that a killed process left half written is no line yet.
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < size and _writable(handle):
            os.ftruncate(handle, len(whole))
        last = _START
        for number, line in enumerate(whole.splitlines(), 1):
            entry, mac = _parse(line, number, self._path.name)
            last = self._mac(last, orjson.dumps(entry, option=orjson.OPT_SORT_KEYS))
            if not opaque.equal(last, mac):
                raise _damaged(self._path.name, number)
            yield entry, last

    def _mac(self, last: bytes, body: bytes) -> bytes:
        return hmac.new(self._key, last + body, hashlib.sha256).digest()


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
