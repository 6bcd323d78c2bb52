"""The key-encryption keys that this process holds, by class and version."""

import threading
from collections.abc import Collection
from typing import Final, NoReturn

from crypto import aead, opaque
from crypto.errors import KeyUnavailable, OpenError
from crypto.fields import length_prefixed
from crypto.providers.base import RootProvider

FORMAT: Final = 0xF9
_KEK_MARK: Final = 0x4B
_HEADER_BYTES: Final = 10

KEY_CLASSES: Final = (
    "contact",
    "identity",
    "factor",
    "biometric",
    "behavior",
    "transaction",
    "receipt",
    "signing",
    "service",
    "index",
)


class KeyEncryptionKey:
    """One KEK, ready to wrap data keys; shows no key in repr and refuses to be pickled."""

    __slots__ = ("cipher", "key_class", "label", "version")

    def __init__(self, key_class: str, version: int, key: bytes) -> None:
        self.key_class = key_class
        self.version = version
        # The part of the associated data that all data keys of the class share.
        self.label = b"lamina/1/dek" + length_prefixed(key_class.encode())
        self.cipher = aead.XaesGcm(key)

    def __repr__(self) -> str:
        return f"KeyEncryptionKey({self.key_class!r}, version={self.version})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is never pickled")


def _associated(header: bytes, key_class: str) -> bytes:
    return header + b"lamina/1/kek" + length_prefixed(key_class.encode())


def _header(root: RootProvider, key_class: str, version: int) -> bytes:
    mark = bytes((FORMAT, _KEK_MARK))
    return mark + root.version(key_class).to_bytes(4, "big") + version.to_bytes(4, "big")


def _unwrap(root: RootProvider, key_class: str, version: int, wrapped: bytes) -> bytes:
    header = wrapped[:_HEADER_BYTES]
    if header[:2] != bytes((FORMAT, _KEK_MARK)) or header[6:] != version.to_bytes(4, "big"):
        raise OpenError
    root_version = int.from_bytes(header[2:6], "big")
    body = wrapped[_HEADER_BYTES:]
    return root.unwrap(key_class, root_version, body, _associated(header, key_class))


def create_kek(root: RootProvider, key_class: str, version: int) -> tuple[bytes, KeyEncryptionKey]:
    """Make a KEK and wrap it under the root.

    Returns:
        ``0xF9 | 0x4B | root version u32 | KEK version u32 | what the provider returned``, and the
        key. The header and the class are the provider's associated data.
    """
    key = opaque.random_bytes(aead.KEY_BYTES)
    header = _header(root, key_class, version)
    wrapped = header + root.wrap(key_class, key, _associated(header, key_class))
    return wrapped, KeyEncryptionKey(key_class, version, key)


def open_kek(root: RootProvider, key_class: str, version: int, wrapped: bytes) -> KeyEncryptionKey:
    """Unwrap a stored KEK.

    Raises:
        OpenError: The bytes were altered, or belong to another class or version.
        KeyUnavailable: The root of this process lacks that class or root version.
    """
    return KeyEncryptionKey(key_class, version, _unwrap(root, key_class, version, wrapped))


def export_kek(root: RootProvider, key_class: str, version: int, wrapped: bytes) -> bytes:
    """Return the bytes of a KEK for a recovery export; raises as `open_kek` does."""
    return _unwrap(root, key_class, version, wrapped)


def import_kek(root: RootProvider, key_class: str, version: int, key: bytes) -> bytes:
    """Return a recovered KEK, wrapped under the newest root of its class."""
    header = _header(root, key_class, version)
    return header + root.wrap(key_class, key, _associated(header, key_class))


def root_version_of(wrapped: bytes) -> int:
    """Return the root version that a wrapped KEK names."""
    return int.from_bytes(wrapped[2:6], "big")


def rewrap_kek(root: RootProvider, key_class: str, version: int, wrapped: bytes) -> bytes:
    """Return the same KEK under the newest root of its class; raises as `open_kek` does."""
    return import_kek(root, key_class, version, _unwrap(root, key_class, version, wrapped))


class KeyRing:
    """The unwrapped KEKs of this process; safe to share between threads."""

    def __init__(self) -> None:
        self._keys: dict[tuple[str, int], KeyEncryptionKey] = {}
        self._active: dict[str, int] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"KeyRing({sorted(self._keys)})"

    def add(self, kek: KeyEncryptionKey) -> None:
        """Hold a key; it seals nothing until `settle` says so."""
        with self._lock:
            self._keys = self._keys | {(kek.key_class, kek.version): kek}

    def settle(
        self, active: Collection[tuple[str, int]], known: Collection[tuple[str, int]]
    ) -> None:
        """Let each class seal under its newest active key; forget keys that are not known.

        Args:
            active: Class and version of the keys that may wrap new data keys.
            known: Class and version of every key that still exists.
        """
        with self._lock:
            self._keys = {name: kek for name, kek in self._keys.items() if name in known}
            held = sorted(name for name in self._keys if name in active)
            self._active = dict(held)

    def holds(self, key_class: str, version: int) -> bool:
        """Tell whether a key is held."""
        return (key_class, version) in self._keys

    def active(self, key_class: str) -> KeyEncryptionKey:
        """Return the key that wraps new data keys of a class.

        Raises:
            KeyUnavailable: This process holds no active key of the class.
        """
        version = self._active.get(key_class)
        if version is None:
            raise KeyUnavailable(key_class)
        return self.get(key_class, version)

    def get(self, key_class: str, version: int) -> KeyEncryptionKey:
        """Return one key.

        Raises:
            KeyUnavailable: This process does not hold it.
        """
        try:
            return self._keys[key_class, version]
        except KeyError:
            raise KeyUnavailable(key_class, version) from None

    def classes(self) -> frozenset[str]:
        """Return the classes that can be sealed here."""
        return frozenset(self._active)
