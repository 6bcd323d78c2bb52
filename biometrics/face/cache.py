"""Cache of converted weights, in files that are verified and otherwise rebuilt.

Layout of a cache file: 8 bytes ``LAMFACE1``, 32 bytes SHA-256 of the payload, the payload. The
name contains the first 16 digits of the weight's hash and the converter version, so that neither
a new weight nor a new converter can read an old file.
"""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

_MAGIC: Final = b"LAMFACE1"
_HEADER_BYTES: Final = len(_MAGIC) + hashlib.sha256().digest_size


def path(directory: Path, name: str, weight_sha256: str, version: int) -> Path:
    """Return the path of the converted form of a weight."""
    return directory / f"{name}-{weight_sha256[:16]}-v{version}.face"


def load_or_build(file: Path, build: Callable[[], bytes]) -> bytes:
    """Return the content of a cache file, or build and store it.

    A directory that is not writable is no error: the root of a container is read-only, and then the
    next start converts again.
    """
    stored = _load(file)
    if stored is not None:
        return stored
    built = build()
    with contextlib.suppress(OSError):
        _store(file, built)
    return built


def _load(file: Path) -> bytes | None:
    try:
        data = file.read_bytes()
    except OSError:
        return None
    payload = data[_HEADER_BYTES:]
    whole = data[:_HEADER_BYTES] == _MAGIC + hashlib.sha256(payload).digest()
    return payload if whole else None


def _store(file: Path, payload: bytes) -> None:
    """Write to a temporary file and rename it, so that no reader sees a partial file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=".face-")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(_MAGIC + hashlib.sha256(payload).digest())
            out.write(payload)
            out.flush()
            os.fsync(out.fileno())
        Path(temporary).replace(file)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
