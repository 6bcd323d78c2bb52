"""Where a sealed field lives: the associated data that keeps it from opening anywhere else."""

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final, NamedTuple
from uuid import UUID

_LONGEST_PART: Final = 0xFFFF
NO_EXTRA: Final = b"\0\0"
"""The frame of nothing: what most rows add to the place of their cells."""


class OwnerKind(IntEnum):
    """To whom a data key belongs."""

    SUBJECT = 1
    PAYEE = 2
    CLIENT = 3
    SERVICE = 4


_KINDS: Final = tuple(bytes((kind,)) for kind in range(max(OwnerKind) + 1))


class Owner(NamedTuple):
    """The holder of a data key: a subject, payee, client, or a reserved purpose of the service."""

    kind: OwnerKind
    id: UUID

    def to_bytes(self) -> bytes:
        """Return 17 bytes: the kind, then the id."""
        return _KINDS[self.kind] + self.id.bytes


def length_prefixed(value: bytes) -> bytes:
    """Return a 2-byte big-endian length and the value.

    Raises:
        ValueError: The value is longer than 65,535 bytes.
    """
    if len(value) > _LONGEST_PART:
        raise ValueError("a part of the associated data is longer than 65535 bytes")
    return len(value).to_bytes(2, "big") + value


@dataclass(frozen=True, slots=True)
class FieldContext:
    """One cell: table, column, owner, row, and what the row adds (a type and status)."""

    table: str
    column: str
    owner: Owner
    row: UUID
    extra: bytes = b""


def extra_part(extra: bytes) -> bytes:
    """Return what the row adds, framed; most rows add nothing."""
    return length_prefixed(extra) if extra else NO_EXTRA


@lru_cache(maxsize=1024)
def place_of(table: str, column: str) -> bytes:
    """Return the part of the associated data that all cells of a column share."""
    # There are as many as there are columns, and each is asked for with every value.
    names = length_prefixed(table.encode()) + length_prefixed(column.encode())
    return b"lamina/1/field" + names
