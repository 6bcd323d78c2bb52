"""The key-encryption keys (KEKs) of this process, by class and version."""

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
    """A KEK, ready to wrap data keys; its repr hides the key, and it cannot be pickled."""

    __slots__ = ("cipher", "key_class", "label", "version")

    def __init__(self, key_class: str, version: int, key: bytes) -> None:
        self.key_class = key_class
        self.version = version
        # The associated data that all data keys of the class share.
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
    """Generate a KEK and wrap it under the newest root key of its class.

    Returns:
        ``0xF9 | 0x4B | root version u32 | KEK version u32 | the provider's ciphertext``, and the
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
        KeyUnavailable: This process does not hold the root key of that class or version.
    """
    return KeyEncryptionKey(key_class, version, _unwrap(root, key_class, version, wrapped))


def export_kek(root: RootProvider, key_class: str, version: int, wrapped: bytes) -> bytes:
    """Return the plaintext bytes of a KEK for a recovery export; raises as `open_kek` does."""
    return _unwrap(root, key_class, version, wrapped)


def import_kek(root: RootProvider, key_class: str, version: int, key: bytes) -> bytes:
    """Wrap a recovered KEK under the newest root key of its class."""
    header = _header(root, key_class, version)
    return header + root.wrap(key_class, key, _associated(header, key_class))


def root_version_of(wrapped: bytes) -> int:
    """Return the root version recorded in a wrapped KEK."""
    return int.from_bytes(wrapped[2:6], "big")


def rewrap_kek(root: RootProvider, key_class: str, version: int, wrapped: bytes) -> bytes:
    """Rewrap a KEK under the newest root key of its class; raises as `open_kek` does."""
    return import_kek(root, key_class, version, _unwrap(root, key_class, version, wrapped))


class KeyRing:
    """The unwrapped KEKs of this process; thread-safe."""

    def __init__(self) -> None:
        self._keys: dict[tuple[str, int], KeyEncryptionKey] = {}
        self._active: dict[str, int] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"KeyRing({sorted(self._keys)})"

    def add(self, kek: KeyEncryptionKey) -> None:
        """Add a key; it wraps nothing until `settle` makes it active."""
        with self._lock:
            self._keys = self._keys | {(kek.key_class, kek.version): kek}

    def settle(
        self, active: Collection[tuple[str, int]], known: Collection[tuple[str, int]]
    ) -> None:
        """Make the newest active key of each class wrap data keys; drop keys that no longer exist.

        Args:
            active: Class and version of each key that may wrap new data keys.
            known: Class and version of each key that still exists.
        """
        with self._lock:
            self._keys = {name: kek for name, kek in self._keys.items() if name in known}
            held = sorted(name for name in self._keys if name in active)
            self._active = dict(held)

    def holds(self, key_class: str, version: int) -> bool:
        """Return whether this process holds a key."""
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
        """Return a key by class and version.

        Raises:
            KeyUnavailable: This process does not hold it.
        """
        try:
            return self._keys[key_class, version]
        except KeyError:
            raise KeyUnavailable(key_class, version) from None

    def classes(self) -> frozenset[str]:
        """Return the classes that have an active key in this process."""
        return frozenset(self._active)
