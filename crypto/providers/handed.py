"""Root keys from a systemd credential, a file descriptor or a passphrase."""

import base64
import binascii
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from crypto import aead, opaque
from crypto.errors import KeyFileError
from crypto.fields import length_prefixed
from crypto.providers.base import LocalRoots, ciphers, only
from crypto.providers.records import LARGEST, damaged, parse, read_private, write_private

_MISSING: Final = "no root key of class {} was handed over"
_MEMORY_KIB: Final = 64 * 1024
_PASSES: Final = 3
_SALT_BYTES: Final = 16
_LEAST_CHARACTERS: Final = 12


def open_credential(path: Path, classes: Iterable[str]) -> LocalRoots:
    """Read root keys from a credential file, such as systemd's ``$CREDENTIALS_DIRECTORY/NAME``.

    Raises:
        KeyFileError: It cannot be read, others can read it, or a class is missing.
    """
    keys = parse(path.name, read_private(path))
    return LocalRoots(ciphers(only(keys, classes, _MISSING)), f"the credential {path.name}")


def read_descriptor(number: int) -> bytes:
    """Read a file descriptor to its end and close it; raises KeyFileError."""
    try:
        with os.fdopen(number, "rb") as file:
            return file.read(LARGEST)
    except OSError as error:
        raise KeyFileError(f"file descriptor {number}: {error.strerror}") from None


def parse_handed(content: bytes, classes: Iterable[str]) -> LocalRoots:
    """Return the root keys in records that were read from a descriptor; raises KeyFileError."""
    keys = parse("the descriptor", content)
    return LocalRoots(ciphers(only(keys, classes, _MISSING)), "what the descriptor hands over")


def create_parameters(path: Path, passphrase: bytes) -> None:
    """Write a passphrase's parameters: salt, cost, and a check value that reveals no key.

    Raises:
        KeyFileError: The passphrase is too short, or the file already exists.
    """
    if len(passphrase.decode("utf-8", "replace")) < _LEAST_CHARACTERS:
        raise KeyFileError(f"the passphrase must have {_LEAST_CHARACTERS} characters at least")
    salt = opaque.random_bytes(_SALT_BYTES)
    body = {
        "format": "lamina-passphrase 1",
        "version": 1,
        "salt": base64.b64encode(salt).decode(),
        "memory_kib": _MEMORY_KIB,
        "passes": _PASSES,
    }
    body["check"] = _check(_master(passphrase, body)).hex()
    write_private(path, json.dumps(body).encode())


def open_passphrase(path: Path, passphrase: bytes, classes: Iterable[str]) -> LocalRoots:
    """Derive the root key of every class from a passphrase (Argon2id, then HKDF per class).

    Raises:
        KeyFileError: The parameters are damaged, or the passphrase is wrong.
    """
    try:
        body = json.loads(read_private(path))
        version = int(body["version"])
        check = bytes.fromhex(body["check"])
        master = _master(passphrase, body)
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise damaged(path.name) from None
    if not opaque.equal(_check(master), check):
        raise KeyFileError(f"{path.name}: the passphrase is not the one it was made with")
    keys = {
        key_class: {
            version: _expand(master, b"lamina/1/root" + length_prefixed(key_class.encode()))
        }
        for key_class in classes
    }
    return LocalRoots(ciphers(keys), "a new passphrase file; move to it with: lamina keys rewrap")


def _master(passphrase: bytes, body: dict[str, Any]) -> bytes:
    # Before argon2, as in crypto.hashing: passwords are hashed by what is loaded first.
    from crypto import bindings  # noqa: F401, PLC0415 - it loads them  # isort: skip
    from argon2.low_level import Type, hash_secret_raw  # noqa: PLC0415 - roots of files need none

    return hash_secret_raw(
        passphrase,
        base64.b64decode(body["salt"]),
        time_cost=int(body["passes"]),
        memory_cost=int(body["memory_kib"]),
        parallelism=1,
        hash_len=aead.KEY_BYTES,
        type=Type.ID,
    )


def _check(master: bytes) -> bytes:
    return _expand(master, b"lamina/1/passphrase-check")[:16]


def _expand(master: bytes, info: bytes) -> bytes:
    return HKDFExpand(hashes.SHA256(), aead.KEY_BYTES, info).derive(master)
