"""Root keys in a directory, one file per class and version, readable by their owner only."""

import base64
import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from crypto import aead, opaque
from crypto.errors import KeyFileError, KeyUnavailable

_NAME: Final = re.compile(r"(?P<key_class>[a-z]+)\.(?P<version>[1-9][0-9]{0,8})\.key")
_NONCE_BYTES: Final = 24
_LARGEST_FILE: Final = 1024


def _render(key_class: str, version: int, key: bytes) -> bytes:
    text = base64.urlsafe_b64encode(key).decode()
    body = f"lamina-root-key 1\nclass {key_class}\nversion {version}\nkey {text}\n".encode()
    return body + b"checksum " + hashlib.sha256(body).hexdigest()[:16].encode() + b"\n"


def _parse(name: str, key_class: str, version: int, content: bytes) -> bytes:
    found = re.search(rb"^key ([A-Za-z0-9_-]{43}=)$", content, re.MULTILINE)
    key = base64.urlsafe_b64decode(found[1]) if found else b""
    # Rendering what was read and comparing checks every line, the checksum among them, at once.
    if not found or not opaque.equal(_render(key_class, version, key), content):
        raise KeyFileError(
            f"{name}: damaged, or renamed from another class or version; restore it from a backup"
        )
    return key


def _read(path: Path) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise KeyFileError(f"{path.name}: cannot be read ({error.strerror})") from None
    with os.fdopen(handle, "rb") as file:
        # The open handle is asked, not the path, so the file cannot be exchanged in between.
        _check_private(path.name, os.fstat(file.fileno()), "600")
        return file.read(_LARGEST_FILE)


def _check_private(name: str, status: os.stat_result, mode: str) -> None:
    if status.st_uid != os.geteuid():
        raise KeyFileError(f"{name}: belongs to another user; chown it to the one that runs lamina")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise KeyFileError(f"{name}: others can read it; run: chmod {mode} {name}")


class FileRoot:
    """The `file` provider: holds the roots of the classes it was opened for."""

    def __init__(self, roots: dict[str, dict[int, aead.Aead]]) -> None:
        self._roots = roots

    def __repr__(self) -> str:
        return f"FileRoot({sorted(self._roots)})"

    @classmethod
    def init(cls, directory: Path, classes: Iterable[str]) -> "FileRoot":
        """Make version 1 of every class; the directory appears whole or not at all.

        Raises:
            KeyFileError: The directory exists already, or cannot be made.
        """
        if directory.exists():
            raise KeyFileError(f"{directory.name}: exists already; root keys are never overwritten")
        wanted = tuple(classes)
        try:
            directory.parent.mkdir(parents=True, exist_ok=True)
            work = Path(tempfile.mkdtemp(prefix=".keys-", dir=directory.parent))
        except OSError as error:
            raise KeyFileError(f"{directory.name}: cannot be made ({error.strerror})") from None
        try:
            for key_class in wanted:
                content = _render(key_class, 1, opaque.random_bytes(aead.KEY_BYTES))
                _write(work / f"{key_class}.1.key", content)
            work.rename(directory)
        except OSError as error:
            shutil.rmtree(work, ignore_errors=True)
            raise KeyFileError(f"{directory.name}: cannot be made ({error.strerror})") from None
        return cls.open(directory, wanted)

    @classmethod
    def open(cls, directory: Path, classes: Iterable[str]) -> "FileRoot":
        """Read every version of the named classes, and nothing of any other.

        Raises:
            KeyFileError: A file is missing, damaged, or others can read it.
        """
        try:
            _check_private(directory.name, directory.lstat(), "700")
            names = sorted(entry.name for entry in directory.iterdir())
        except OSError as error:
            raise KeyFileError(f"{directory.name}: no key directory ({error.strerror})") from None
        roots: dict[str, dict[int, aead.Aead]] = {key_class: {} for key_class in classes}
        for match in filter(None, map(_NAME.fullmatch, names)):
            key_class, version = match["key_class"], int(match["version"])
            if key_class in roots:
                key = _parse(match[0], key_class, version, _read(directory / match[0]))
                roots[key_class][version] = aead.cipher(aead.Algorithm.XAES_256_GCM, key)
        for key_class, versions in roots.items():
            if not versions:
                raise KeyFileError(f"{key_class}.1.key: missing; restore it or drop the class")
        return cls(roots)

    def key_classes(self) -> frozenset[str]:
        """Return the classes that were opened."""
        return frozenset(self._roots)

    def version(self, key_class: str) -> int:
        """Return the newest root version of a class; raises KeyUnavailable."""
        if key_class not in self._roots:
            raise KeyUnavailable(key_class)
        return max(self._roots[key_class])

    def wrap(self, key_class: str, plaintext: bytes, associated: bytes) -> bytes:
        """Return a 24-byte nonce, ciphertext and tag; raises KeyUnavailable."""
        root_version = self.version(key_class)
        nonce = opaque.random_bytes(_NONCE_BYTES)
        return nonce + self._roots[key_class][root_version].encrypt(nonce, plaintext, associated)

    def unwrap(self, key_class: str, version: int, wrapped: bytes, associated: bytes) -> bytes:
        """Return the plaintext; raises KeyUnavailable or OpenError."""
        root = self._roots.get(key_class, {}).get(version)
        if root is None:
            raise KeyUnavailable(key_class, version)
        return root.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], associated)


def _write(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
