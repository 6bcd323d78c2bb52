"""The identity of a sealed field: associated data that prevents it from opening elsewhere."""

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final, NamedTuple
from uuid import UUID

_LONGEST_PART: Final = 0xFFFF
NO_EXTRA: Final = b"\0\0"
"""The encoding of an empty extra part, which most rows use."""


class OwnerKind(IntEnum):
    """The kind of owner of a data key."""

    SUBJECT = 1
    PAYEE = 2
    CLIENT = 3
    SERVICE = 4


_KINDS: Final = tuple(bytes((kind,)) for kind in range(max(OwnerKind) + 1))


class Owner(NamedTuple):
    """The owner of a data key: a subject, payee, client, or a reserved purpose of the service."""

    kind: OwnerKind
    id: UUID

    def to_bytes(self) -> bytes:
        """Return 17 bytes: the kind, then the id."""
        return _KINDS[self.kind] + self.id.bytes


def length_prefixed(value: bytes) -> bytes:
    """Return a value prefixed with its 2-byte big-endian length.

    Raises:
        ValueError: The value is longer than 65,535 bytes.
    """
    if len(value) > _LONGEST_PART:
        raise ValueError("a part of the associated data is longer than 65535 bytes")
    return len(value).to_bytes(2, "big") + value


@dataclass(kw_only=True, frozen=True, slots=True)
class FieldContext:
    """The identity of a cell: table, column, owner, row and extra data (a type and a status)."""

    table: str
    column: str
    owner: Owner
    row: UUID
    extra: bytes = b""


def extra_part(extra: bytes) -> bytes:
    """Return the encoded extra part of a row; most rows have none."""
    return length_prefixed(extra) if extra else NO_EXTRA


@lru_cache(maxsize=1024)
def place_of(table: str, column: str) -> bytes:
    """Return the part of the associated data that all cells of a column share."""
    # One entry per column; every sealed value needs its own.
    names = length_prefixed(table.encode()) + length_prefixed(column.encode())
    return b"lamina/1/field" + names
