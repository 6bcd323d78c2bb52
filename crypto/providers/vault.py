"""Root keys in the transit engine of a HashiCorp Vault server, which never exports them."""

import base64
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from crypto.errors import KeyFileError, KeyUnavailable, OpenError
from crypto.providers.records import read_private

_TIMEOUT: Final = 5
_MARK: Final = "vault:v"


class VaultRoot:
    """The `vault` provider: one transit key per class, named ``PREFIX-CLASS``.

    Args:
        transit: The transit engine of an ``hvac`` client.
        prefix: The prefix of the key names.
        classes: The classes this process may use.
    """

    def __init__(self, transit: Any, prefix: str, classes: Iterable[str]) -> None:  # noqa: ANN401 - hvac has no types
        self._transit = transit
        self._prefix = prefix
        self._classes = frozenset(classes)

    def __repr__(self) -> str:
        return f"VaultRoot({sorted(self._classes)})"

    @classmethod
    def connect(
        cls, url: str, prefix: str, token_file: Path, classes: Iterable[str]
    ) -> "VaultRoot":
        """Connect with the token in a private file.

        Raises:
            KeyFileError: The extra `vault` is not installed, or the token cannot be read.
        """
        try:
            import hvac  # noqa: PLC0415 - an extra
        except ImportError:
            raise KeyFileError("vault: install the extra: pip install lamina[vault]") from None
        token = read_private(token_file).decode().strip()
        client = hvac.Client(url=url, token=token, timeout=_TIMEOUT)
        return cls(client.secrets.transit, prefix, classes)

    def key_classes(self) -> frozenset[str]:
        """Return the classes that this process may use."""
        return self._classes

    def version(self, key_class: str) -> int:
        """Return the newest version of the transit key; raises KeyUnavailable."""
        return int(self._call("read_key", key_class)["latest_version"])

    def wrap(self, key_class: str, plaintext: bytes, associated: bytes) -> bytes:
        """Encrypt on the server; raises KeyUnavailable."""
        found = self._call(
            "encrypt_data",
            key_class,
            plaintext=_text(plaintext),
            associated_data=_text(associated),
        )
        return str(found["ciphertext"]).encode()

    def unwrap(self, key_class: str, version: int, wrapped: bytes, associated: bytes) -> bytes:
        """Decrypt on the server; raises KeyUnavailable or OpenError."""
        text = wrapped.decode("ascii", "replace")
        if not text.startswith(f"{_MARK}{version}:"):
            raise OpenError
        found = self._call(
            "decrypt_data", key_class, ciphertext=text, associated_data=_text(associated)
        )
        return base64.b64decode(found["plaintext"])

    def grow(self, key_class: str) -> int:
        """Rotate the transit key; raises KeyUnavailable."""
        self._call("rotate_key", key_class)
        return self.version(key_class)

    def destroy(self, key_class: str, version: int) -> None:
        """Delete this version and all older ones on the server."""
        newest = self.version(key_class)
        if version >= newest:
            raise KeyFileError(f"root {key_class} {version} is the newest; make another first")
        # A trim needs both bounds. They are set separately because the client refuses equal ones.
        configure = "update_key_configuration"
        self._call(configure, key_class, min_decryption_version=version + 1)
        self._call(configure, key_class, min_encryption_version=version + 1)
        self._call("trim_key", key_class, min_version=version + 1)

    def _call(self, act: str, key_class: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON members
        from hvac.exceptions import InvalidRequest, VaultError  # noqa: PLC0415 - an extra

        if key_class not in self._classes:
            raise KeyUnavailable(key_class)
        name = f"{self._prefix}-{key_class}"
        try:
            answer = getattr(self._transit, act)(name, **arguments)
        except InvalidRequest:
            # The server does not say which of ciphertext, version or associated data is wrong.
            raise OpenError from None
        except (VaultError, OSError):
            raise KeyUnavailable(key_class) from None
        return dict(answer["data"]) if isinstance(answer, dict) else {}


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
