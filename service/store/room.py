"""Write check of the database: readiness reports a full disk before a request fails."""

import os
import threading
import time
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from service.store.connecting import READ_ONLY
from service.telemetry import logs

LEAST_FREE: Final = 64 * 1024 * 1024
"""Bytes that must be free beside a SQLite file: its log grows before it is written back."""
_KEPT: Final = 4.0
"""Seconds for which a result for PostgreSQL is cached, as each check writes."""


def free_bytes(directory: Path) -> int:
    """Return the bytes that this process may still write to a file system; 0 without inodes."""
    found = os.statvfs(directory)
    if found.f_files and not found.f_favail:
        return 0
    return found.f_bavail * found.f_frsize


class DiskSpace:
    """The write check of `/readyz`.

    Args:
        engine: The database.
        file: The file of SQLite; None for a server, which is checked by writing to its log.
    """

    def __init__(self, engine: Engine, file: Path | None) -> None:
        self._engine = engine
        self._file = file
        self._lock = threading.Lock()
        self._asked = float("-inf")
        self._writable = False
        self.read_only = False
        """Whether the server, at the last check, responded but accepted no writes."""

    def __call__(self) -> bool:
        """Return whether the database can be written."""
        if self._file is not None:
            return self._beside(self._file)
        with self._lock:
            if time.monotonic() - self._asked > _KEPT:
                self._writable = self._probe()
                self._asked = time.monotonic()
            return self._writable

    def _beside(self, file: Path) -> bool:
        directory = file.resolve().parent
        try:
            return free_bytes(directory) >= LEAST_FREE and os.access(directory, os.W_OK)
        except OSError as error:
            logs.get().error("database_directory", error=type(error).__name__)
            return False

    def _probe(self) -> bool:
        """Write an empty message to the write-ahead log, which changes no table."""
        try:
            with self._engine.begin() as connection:
                connection.execute(text("SELECT pg_logical_emit_message(true, 'lamina', '')"))
                # A read-only session may still write messages.
                only = connection.scalar(text("SHOW transaction_read_only"))
        except DBAPIError as error:
            logs.get().error("database_not_writable", error=type(error.orig).__name__)
            self.read_only = getattr(error.orig, "sqlstate", None) == READ_ONLY
            return False
        self.read_only = only != "off"
        return not self.read_only
