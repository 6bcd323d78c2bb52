"""The text form of root keys: five lines each, with a checksum that names a damaged one."""

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
    """Return the keys of one record after the other, by class and version.

    Args:
        name: The name of the place, for the error.
        content: The bytes.

    Raises:
        KeyFileError: Something is not a record, or its checksum does not fit.
    """
    keys: dict[str, dict[int, bytes]] = {}
    end = 0
    for match in _RECORD.finditer(content):
        key_class, version = match["key_class"].decode(), int(match["version"])
        key = base64.urlsafe_b64decode(match["key"])
        # Rendering what was read and comparing checks every line, the checksum among them.
        if match.start() != end or not opaque.equal(render(key_class, version, key), match[0]):
            raise damaged(name)
        keys.setdefault(key_class, {})[version] = key
        end = match.end()
    if not keys or end != len(content):
        raise damaged(name)
    return keys


def damaged(name: str) -> KeyFileError:
    """Return the refusal of a record that is not as it was written."""
    detail = "damaged, or renamed from another class or version; restore it from a backup"
    return KeyFileError(f"{name}: {detail}")


def read_private(path: Path, largest: int = LARGEST) -> bytes:
    """Return the content of a file that nobody else can read.

    Raises:
        KeyFileError: It is missing, another's, readable by others, a symbolic link, or no file but
            a pipe or a device, which could keep the reader waiting for ever.
    """
    try:
        # Without O_NONBLOCK the opening of a pipe waits until somebody writes to it.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise KeyFileError(f"{path.name}: cannot be read ({error.strerror})") from None
    with os.fdopen(handle, "rb") as file:
        # The open handle is asked, not the path, so the file cannot be exchanged in between.
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileError(f"{path.name}: is no regular file")
        check_private(path.name, status, "600")
        return file.read(largest)


def check_private(name: str, status: os.stat_result, mode: str) -> None:
    """Refuse what others own or can read; raises KeyFileError that says what to run."""
    if status.st_uid != os.geteuid():
        raise KeyFileError(f"{name}: belongs to another user; chown it to the one that runs lamina")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise KeyFileError(f"{name}: others can read it; run: chmod {mode} {name}")


def write_private(path: Path, content: bytes) -> None:
    """Write a new file that only its owner can read; raises KeyFileError when it is there."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise KeyFileError(f"{path.name}: cannot be made ({error.strerror})") from None
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
