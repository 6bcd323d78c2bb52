"""Root keys in a directory, one file per class and version, accessible to their owner only."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from crypto import aead, opaque
from crypto.errors import KeyFileError
from crypto.providers.base import LocalRoots, ciphers, only
from crypto.providers.records import (
    check_private,
    damaged,
    parse,
    read_private,
    render,
    write_private,
)

_NAME: Final = re.compile(r"(?P<key_class>[a-z]+)\.(?P<version>[1-9][0-9]{0,8})\.key")


class FileRoot(LocalRoots):
    """The `file` provider: holds the roots of the classes it was opened for."""

    def __init__(self, roots: dict[str, dict[int, aead.XaesGcm]], directory: Path) -> None:
        super().__init__(roots, directory.name)
        self._directory = directory

    @classmethod
    def init(cls, directory: Path, classes: Iterable[str]) -> "FileRoot":
        """Create version 1 of every class; the directory is renamed into place once complete.

        Raises:
            KeyFileError: The directory already exists, or cannot be created.
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
                content = render(key_class, 1, opaque.random_bytes(aead.KEY_BYTES))
                write_private(work / f"{key_class}.1.key", content)
            work.rename(directory)
        except KeyFileError:
            shutil.rmtree(work, ignore_errors=True)
            raise
        except OSError as error:
            shutil.rmtree(work, ignore_errors=True)
            raise KeyFileError(f"{directory.name}: cannot be made ({error.strerror})") from None
        return cls.open(directory, wanted)

    @classmethod
    def open(cls, directory: Path, classes: Iterable[str]) -> "FileRoot":
        """Read all versions of the named classes and no other file.

        Raises:
            KeyFileError: A file is missing, damaged, or readable by others.
        """
        try:
            check_private(directory.name, directory.lstat(), "700")
            names = sorted(entry.name for entry in directory.iterdir())
        except OSError as error:
            raise KeyFileError(f"{directory.name}: no key directory ({error.strerror})") from None
        wanted = tuple(classes)
        keys = dict[str, dict[int, bytes]]()
        for match in filter(None, map(_NAME.fullmatch, names)):
            key_class = match["key_class"]
            version = int(match["version"])
            if key_class in wanted:
                found = parse(match[0], read_private(directory / match[0]))
                if found.keys() != {key_class} or found[key_class].keys() != {version}:
                    raise damaged(match[0])
                keys.setdefault(key_class, {}).update(found[key_class])
        missing = "{}.1.key: missing; restore it or drop the class"
        return cls(ciphers(only(keys, wanted, missing)), directory)

    def grow(self, key_class: str) -> int:
        """Write a file with the next version; raises KeyUnavailable or KeyFileError."""
        number = self.version(key_class) + 1
        key = opaque.random_bytes(aead.KEY_BYTES)
        path = self._directory / f"{key_class}.{number}.key"
        write_private(path, render(key_class, number, key))
        _sync(self._directory)
        self._roots[key_class] |= ciphers({key_class: {number: key}})[key_class]
        return number

    def destroy(self, key_class: str, version: int) -> None:
        """Overwrite and delete the file of a version that is not the newest."""
        self.require_older(key_class, version)
        path = self._directory / f"{key_class}.{version}.key"
        try:
            size = path.stat().st_size
            with path.open("r+b") as file:
                file.write(opaque.random_bytes(size))
                file.flush()
                os.fsync(file.fileno())
            path.unlink()
            _sync(self._directory)
        except OSError as error:
            raise KeyFileError(f"{path.name}: cannot be removed ({error.strerror})") from None
        del self._roots[key_class][version]


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
