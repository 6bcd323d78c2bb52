"""Access rights of the database files, restricted to their owner."""

import os
import stat
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, make_url

from service.domain.errors import SetupError
from service.telemetry import logs

OWNER_ONLY: Final = 0o600
_OTHERS: Final = 0o077
# SQLite gives its auxiliary files the rights of the database file.
_BESIDE: Final = ("", "-wal", "-shm", "-journal")


def path_of(engine: Engine) -> Path | None:
    """Return the file of a SQLite database; None for one in memory and for PostgreSQL."""
    url = make_url(engine.url)
    name = url.database or ""
    if url.get_backend_name() != "sqlite" or name in {"", ":memory:"} or name.startswith("file:"):
        return None
    return Path(name)


def close(path: Path) -> None:
    """Create a private database file, or remove the access of others to an existing one.

    Raises:
        SetupError: The file belongs to another user, who must do it.
    """
    try:
        # Created before SQLite does, which would leave the rights to the umask of the first
        # process.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, OWNER_ONLY))
    except OSError:
        for ending in _BESIDE:
            tighten(path.with_name(path.name + ending))


def tighten(path: Path) -> None:
    """Remove the access of others to a file, and log it.

    Raises:
        SetupError: The file belongs to another user.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode) and mode & _OTHERS:
            path.chmod(stat.S_IMODE(mode) & ~_OTHERS)
            logs.get().warning("file_rights_tightened", file=path.name)
    except FileNotFoundError:
        return
    except OSError as error:
        detail = f"{path.name}: others can read it ({error.strerror}); run: chmod 600 {path.name}"
        raise SetupError("unsafe_file", detail) from None
