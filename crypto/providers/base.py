"""The interface of root key providers, and the base of those that hold keys in this process."""

from collections.abc import Iterable
from typing import Final, Protocol

from crypto import aead, opaque
from crypto.errors import KeyFileError, KeyUnavailable

_NONCE_BYTES: Final = 24


class RootProvider(Protocol):
    """Wraps and unwraps KEKs under the root key of their class."""

    def key_classes(self) -> frozenset[str]:
        """Return the classes that this process may use."""

    def version(self, key_class: str) -> int:
        """Return the root version that wraps new KEKs; raises KeyUnavailable."""

    def wrap(self, key_class: str, plaintext: bytes, associated: bytes) -> bytes:
        """Encrypt under the newest root version of the class; raises KeyUnavailable."""

    def unwrap(self, key_class: str, version: int, wrapped: bytes, associated: bytes) -> bytes:
        """Decrypt under one root version; raises KeyUnavailable or OpenError."""

    def grow(self, key_class: str) -> int:
        """Create a new root version and return its number.

        Raises:
            KeyUnavailable: This process does not hold the class.
            KeyFileError: The provider cannot create versions; the text says how to add one.
        """

    def destroy(self, key_class: str, version: int) -> None:
        """Permanently destroy a root version that is not the newest.

        Raises:
            KeyUnavailable: The version does not exist.
            KeyFileError: It is the newest, or it must be destroyed outside; the text says where.
        """


class LocalRoots:
    """Root keys in the memory of this process, from any source.

    Args:
        roots: The cipher of every class and version.
        source: Where the keys come from, for the message that says where to add one.
    """

    def __init__(self, roots: dict[str, dict[int, aead.XaesGcm]], source: str) -> None:
        self._roots = roots
        self._source = source

    def __repr__(self) -> str:
        return f"{type(self).__name__}({sorted(self._roots)})"

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

    def grow(self, key_class: str) -> int:
        """Raise KeyFileError that says where a new root version is added."""
        raise KeyFileError(f"a new root of {key_class} is added to {self._source}")

    def destroy(self, key_class: str, version: int) -> None:
        """Raise KeyFileError that says where a root version is removed."""
        raise KeyFileError(f"root {key_class} {version} is removed from {self._source}")

    def require_older(self, key_class: str, version: int) -> None:
        """Raise an error if a version is the newest or does not exist."""
        if version not in self._roots.get(key_class, {}):
            raise KeyUnavailable(key_class, version)
        if version == self.version(key_class):
            raise KeyFileError(f"root {key_class} {version} is the newest; make another first")


def ciphers(keys: dict[str, dict[int, bytes]]) -> dict[str, dict[int, aead.XaesGcm]]:
    """Return the cipher of every root key."""
    return {
        key_class: {version: aead.XaesGcm(key) for version, key in versions.items()}
        for key_class, versions in keys.items()
    }


def only(
    keys: dict[str, dict[int, bytes]], classes: Iterable[str], missing: str
) -> dict[str, dict[int, bytes]]:
    """Return the keys of some classes; raises KeyFileError if a class has none."""
    chosen = {key_class: keys.get(key_class, {}) for key_class in classes}
    for key_class, versions in chosen.items():
        if not versions:
            raise KeyFileError(missing.format(key_class))
    return chosen
