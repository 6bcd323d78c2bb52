"""Files that an operator replaces while the service runs, reloaded when they change."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Generic, TypeVar

from service.domain.errors import SetupError
from service.telemetry import logs

T = TypeVar("T")
EVERY: Final = timedelta(seconds=30)


class Watched(Generic[T]):
    """The parsed content of a file; the last good content stays if a new one cannot be read.

    Args:
        path: The file.
        read: Parses the file; raises SetupError.

    Raises:
        SetupError: The file cannot be read at start; the detail names it.
    """

    def __init__(self, path: Path, read: Callable[[Path], T]) -> None:
        self._path = path
        self._read = read
        self._stamp = _stamp(path)
        self._value = read(path)
        self._looked: datetime | None = None

    def get(self, now: datetime) -> T:
        """Return the content, at most `EVERY` old. Never raises."""
        if self._looked is None or now - self._looked >= EVERY:
            self._looked = now
            self._renew()
        return self._value

    def _renew(self) -> None:
        try:
            stamp = _stamp(self._path)
            if stamp != self._stamp:
                self._value = self._read(self._path)
                self._stamp = stamp
        except SetupError as error:
            logs.get().warning("watched_file_kept", code=error.code)


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError as error:
        detail = f"{path}: {error.strerror or 'cannot be read'}"
        raise SetupError("unreadable_file", detail) from None
    return found.st_mtime_ns, found.st_size, found.st_ino
