"""The text format of root keys: five lines each, with a checksum that detects damage."""

import base64
import hashlib
import os
import re
import stat
from pathlib import Path
from typing import Final

from crypto import opaque
from crypto.errors import KeyFileError

LARGEST: Final = 64 * 1024
_RECORD: Final = re.compile(
    rb"lamina-root-key 1\nclass (?P<key_class>[a-z]+)\nversion (?P<version>[1-9][0-9]{0,8})\n"
    rb"key (?P<key>[A-Za-z0-9_-]{43}=)\nchecksum [0-9a-f]{16}\n"
)


def render(key_class: str, version: int, key: bytes) -> bytes:
    """Return the record of one root key."""
    text = base64.urlsafe_b64encode(key).decode()
    body = f"lamina-root-key 1\nclass {key_class}\nversion {version}\nkey {text}\n".encode()
    return body + b"checksum " + hashlib.sha256(body).hexdigest()[:16].encode() + b"\n"


def parse(name: str, content: bytes) -> dict[str, dict[int, bytes]]:
    """Parse consecutive records; return the keys by class and version.

    Args:
        name: The name of the source, for the error.
        content: The bytes.

    Raises:
        KeyFileError: A part is not a record, or its checksum does not match.
    """
    keys: dict[str, dict[int, bytes]] = {}
    end = 0
    for match in _RECORD.finditer(content):
        key_class = match["key_class"].decode()
        version = int(match["version"])
        key = base64.urlsafe_b64decode(match["key"])
        # Rendering the parsed values and comparing checks every line, including the checksum.
        if match.start() != end or not opaque.equal(render(key_class, version, key), match[0]):
            raise damaged(name)
        keys.setdefault(key_class, {})[version] = key
        end = match.end()
    if not keys or end != len(content):
        raise damaged(name)
    return keys


def damaged(name: str) -> KeyFileError:
    """Return the error for a damaged or renamed record."""
    detail = "damaged, or renamed from another class or version; restore it from a backup"
    return KeyFileError(f"{name}: {detail}")


def read_private(path: Path, largest: int = LARGEST) -> bytes:
    """Read a file that must be private to its owner.

    Raises:
        KeyFileError: It is missing, has another owner, is readable by others, is a symbolic link,
            or is not a regular file (reading a pipe or a device could block forever).
    """
    try:
        # Without O_NONBLOCK, opening a pipe blocks until a writer opens it.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise KeyFileError(f"{path.name}: cannot be read ({error.strerror})") from None
    with os.fdopen(handle, "rb") as file:
        # Check the open handle, not the path, so that the file cannot be swapped in between.
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileError(f"{path.name}: is no regular file")
        check_private(path.name, status, "600")
        return file.read(largest)


def check_private(name: str, status: os.stat_result, mode: str) -> None:
    """Check that a file or directory is private; raises KeyFileError with the command to fix it."""
    if status.st_uid != os.geteuid():
        raise KeyFileError(f"{name}: belongs to another user; chown it to the one that runs lamina")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise KeyFileError(f"{name}: others can read it; run: chmod {mode} {name}")


def write_private(path: Path, content: bytes) -> None:
    """Write a new file that only its owner can read; raises KeyFileError if it already exists."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise KeyFileError(f"{path.name}: cannot be made ({error.strerror})") from None
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
