"""The data keys of one transaction: loaded together, each unwrapped on first use."""

from collections.abc import Callable, Iterable

from crypto import envelope
from crypto.envelope import DataKey
from crypto.errors import OpenError
from crypto.fields import Owner
from crypto.keyring import KeyEncryptionKey
from service.store.sealed import KeyName, data_key_name


class UnitKeys:
    """Wrapped and unwrapped data keys by name.

    Args:
        kek_of: Finds the KEK of a class that wrapped bytes name.
        opened: The unwrapped keys of the transaction.
    """

    __slots__ = ("_kek_of", "_wrapped", "newest", "opened")

    def __init__(
        self, kek_of: Callable[[str, bytes], KeyEncryptionKey], opened: dict[KeyName, DataKey]
    ) -> None:
        self._kek_of = kek_of
        self._wrapped: dict[KeyName, tuple[Owner, bytes]] = {}
        self.opened = opened
        self.newest: dict[tuple[str, Owner], int] = {}

    def add(self, rows: Iterable[tuple[str, Owner, int, bytes]]) -> None:
        """Add wrapped keys, the oldest generation of each class and owner first."""
        for key_class, owner, generation, wrapped in rows:
            self._wrapped[data_key_name(key_class, owner, generation)] = (owner, wrapped)
            self.newest[key_class, owner] = generation

    def put(self, key: DataKey) -> None:
        """Add a key that this transaction created."""
        self.opened[data_key_name(key.key_class, key.owner, key.generation)] = key
        self.newest[key.key_class, key.owner] = key.generation

    def find(self, name: KeyName) -> DataKey | None:
        """Return a loaded key, or None; raises OpenError or KeyUnavailable."""
        key = self.opened.get(name)
        if key is None and (found := self._wrapped.get(name)) is not None:
            owner, wrapped = found
            key = envelope.open_data_key(self._kek_of(name[0], wrapped), owner, wrapped)
            self.opened[name] = key
        return key

    def get(self, key_class: str, owner: Owner, generation: int) -> DataKey:
        """Return a loaded key; raises OpenError or KeyUnavailable."""
        key = self.find(data_key_name(key_class, owner, generation))
        if key is None:
            raise OpenError
        return key
