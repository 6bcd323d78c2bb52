"""The data keys of one unit of work: read together, each opened when it is first needed."""

from collections.abc import Callable, Iterable
from typing import Any

from crypto import envelope
from crypto.envelope import DataKey
from crypto.errors import OpenError
from crypto.fields import Owner, OwnerKind
from crypto.keyring import KeyEncryptionKey

KeyName = tuple[Owner, str, int]
"""The owner, the key class and the generation of a data key."""


class UnitKeys:
    """Wrapped data keys by owner, class and generation, and those of them that are opened.

    Args:
        kek_of: Finds the KEK of a class that some wrapped bytes name.
    """

    __slots__ = ("_kek_of", "newest", "opened", "wrapped")

    def __init__(self, kek_of: Callable[[str, bytes], KeyEncryptionKey]) -> None:
        self._kek_of = kek_of
        self.wrapped: dict[KeyName, bytes] = {}
        self.opened: dict[KeyName, DataKey] = {}
        self.newest: dict[tuple[Owner, str], int] = {}

    def add(self, rows: Iterable[Any]) -> None:
        """Take up rows of wrapped keys, the oldest generation of each owner first."""
        for row in rows:
            owner = Owner(OwnerKind(row.owner_kind), row.owner_id)
            self.wrapped[owner, row.key_class, row.generation] = row.wrapped
            self.newest[owner, row.key_class] = row.generation

    def put(self, key: DataKey) -> None:
        """Take up a key that was made in this unit of work."""
        self.opened[key.owner, key.key_class, key.generation] = key
        self.newest[key.owner, key.key_class] = key.generation

    def find(self, name: KeyName) -> DataKey | None:
        """Return a key that was taken up, or None; raises OpenError or KeyUnavailable."""
        key = self.opened.get(name)
        if key is None and (wrapped := self.wrapped.get(name)) is not None:
            key = envelope.open_data_key(self._kek_of(name[1], wrapped), name[0], wrapped)
            self.opened[name] = key
        return key

    def get(self, owner: Owner, key_class: str, generation: int) -> DataKey:
        """Return a key that was taken up; raises OpenError or KeyUnavailable."""
        key = self.find((owner, key_class, generation))
        if key is None:
            raise OpenError
        return key
