"""Keyed digests that find a sealed value by equality, without opening anything."""

import hashlib
import hmac
from typing import Final, NoReturn

from crypto.fields import length_prefixed

DIGEST_BYTES: Final = 16


class BlindIndex:
    """HMAC-SHA256 under one version of the index key; shows no key, refuses to be pickled."""

    __slots__ = ("_key", "version")

    def __init__(self, key: bytes, version: int) -> None:
        self._key = key
        self.version = version

    def __repr__(self) -> str:
        return f"BlindIndex(version={self.version})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is never pickled")

    def digest(self, table: str, column: str, normal_form: str) -> bytes:
        """Return 16 bytes that depend on the table, the column and the normal form."""
        place = length_prefixed(table.encode()) + length_prefixed(column.encode())
        message = b"lamina/1/index" + place + normal_form.encode()
        return hmac.new(self._key, message, hashlib.sha256).digest()[:DIGEST_BYTES]
