"""Blind indexes: keyed digests that find a sealed value by equality without opening it."""

import hashlib
import hmac
from typing import Final, NoReturn

from crypto.fields import length_prefixed

DIGEST_BYTES: Final = 16


class BlindIndex:
    """HMAC-SHA-256 under one version of the index key; its repr hides the key; not picklable."""

    __slots__ = ("_key", "version")

    def __init__(self, key: bytes, version: int) -> None:
        self._key = key
        self.version = version

    def __repr__(self) -> str:
        return f"BlindIndex(version={self.version})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is never pickled")

    def digest(self, table: str, column: str, normal_form: str) -> bytes:
        """Return the 16-byte index of a value, bound to its table and column."""
        place = length_prefixed(table.encode()) + length_prefixed(column.encode())
        message = b"lamina/1/index" + place + normal_form.encode()
        return hmac.new(self._key, message, hashlib.sha256).digest()[:DIGEST_BYTES]
