"""What every holder of root keys offers."""

from typing import Protocol


class RootProvider(Protocol):
    """Wraps and unwraps KEKs under the root key of their class."""

    def key_classes(self) -> frozenset[str]:
        """Return the classes this process may use."""

    def version(self, key_class: str) -> int:
        """Return the root version that wraps new KEKs; raises KeyUnavailable."""

    def wrap(self, key_class: str, plaintext: bytes, associated: bytes) -> bytes:
        """Encrypt under the newest root version of the class; raises KeyUnavailable."""

    def unwrap(self, key_class: str, version: int, wrapped: bytes, associated: bytes) -> bytes:
        """Decrypt under one root version; raises KeyUnavailable or OpenError."""
