"""MACs over database rows, so that only a holder of the key can write a valid row.

The cell holds 23 bytes:

    0       0x01                 version of this layout
    1..2    generation           of the key, big endian
    3..6    revision             counts the changes of the row, big endian
    7..22   HMAC-SHA-256         under the key of that generation, cut to 16 bytes

The message is ``"lamina/1/row" | generation | revision | lp(table) | lp(member names, by comma) |``
the row's key and its members in declared order, each as a tag byte and

    0  null: the tag alone
    1  Boolean: one byte
    2  integer: 8 bytes, big endian, signed
    3  text: 4-byte length, UTF-8
    4  bytes: 4-byte length, bytes
    5  UUID: 16 bytes
    6  time: microseconds since 1970 in UTC, 8 bytes, big endian, signed
    7  JSON: 4-byte length, canonical JSON

so that no two rows have the same message, and no value can be moved to a neighboring member.
"""

import hashlib
import hmac
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, NoReturn
from uuid import UUID

from crypto.canonical import canonical_json
from crypto.fields import length_prefixed

VERSION: Final = 1
TAG_BYTES: Final = 16
MAC_BYTES: Final = 7 + TAG_BYTES
_MARK: Final = bytes((VERSION,))
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
NOTHING: Final = b"\0"


def truth(value: bool) -> bytes:  # noqa: FBT001 - the value itself
    """Encode a Boolean."""
    return b"\1\1" if value else b"\1\0"


def number(value: int) -> bytes:
    """Encode an integer."""
    return b"\2" + value.to_bytes(8, "big", signed=True)


def text(value: str) -> bytes:
    """Encode a text."""
    raw = value.encode()
    return b"\3" + len(raw).to_bytes(4, "big") + raw


def binary(value: bytes) -> bytes:
    """Encode bytes."""
    return b"\4" + len(value).to_bytes(4, "big") + value


def identity(value: UUID) -> bytes:
    """Encode a UUID."""
    return b"\5" + value.bytes


def moment(value: datetime) -> bytes:
    """Encode an aware time."""
    passed = value - _EPOCH
    micros = (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds
    return b"\6" + micros.to_bytes(8, "big", signed=True)


def document(value: object) -> bytes:
    """Encode a JSON value."""
    raw = canonical_json(value)
    return b"\7" + len(raw).to_bytes(4, "big") + raw


Form = Callable[[Any], bytes]


def place_of(table: str, members: tuple[str, ...]) -> bytes:
    """Return the part of the message that all rows of a table share."""
    return length_prefixed(table.encode()) + length_prefixed(",".join(members).encode())


def generation_of(mac: bytes) -> int:
    """Return the key generation of a MAC; 0 if the bytes are not a MAC of this layout."""
    if len(mac) != MAC_BYTES or mac[0] != VERSION:
        return 0
    return int.from_bytes(mac[1:3], "big")


def revision_of(mac: bytes | None) -> int:
    """Return the revision of a MAC; 0 if it is absent or malformed."""
    return int.from_bytes(mac[3:7], "big") if mac and len(mac) == MAC_BYTES else 0


def tag_of(mac: bytes | None) -> str:
    """Return the first 8 bytes of a MAC's tag in hex, for the audit log; empty if absent."""
    return mac[7:15].hex() if mac else ""


def plain_tag(message: bytes) -> str:
    """Return the start of an unkeyed digest of a row without a MAC; it prevents no forgery."""
    return hashlib.sha256(b"lamina/1/plain-row" + message).hexdigest()[:16]


class RowKey:
    """One generation of the row MAC key; its repr hides the key, and it cannot be pickled."""

    __slots__ = ("_key", "_label", "generation")

    def __init__(self, key: bytes, generation: int) -> None:
        self._key = key
        self.generation = generation
        self._label = generation.to_bytes(2, "big")

    def __repr__(self) -> str:
        return f"RowKey(generation={self.generation})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is never pickled")

    def seal(self, message: bytes, revision: int) -> bytes:
        """Return the MAC of a row.

        Args:
            message: Its place and its members, each encoded.
            revision: The number of changes of the row.
        """
        head = self._label + revision.to_bytes(4, "big")
        tag = hmac.digest(self._key, b"lamina/1/row" + head + message, "sha256")[:TAG_BYTES]
        return _MARK + head + tag

    def holds(self, message: bytes, mac: bytes) -> bool:
        """Return whether a MAC of this generation matches a row."""
        return hmac.compare_digest(self.seal(message, revision_of(mac)), mac)


def notes_mac(key: bytes, leaf: UUID, notes: bytes) -> bytes:
    """Return the 32-byte MAC over the row notes of an audit-log leaf.

    Over ``"lamina/1/notes" | leaf id (16) | canonical JSON of the notes``, under a purpose key of
    the service that no re-encryption replaces, because log entries cannot be rewritten.
    """
    return hmac.digest(key, b"lamina/1/notes" + leaf.bytes + notes, "sha256")
