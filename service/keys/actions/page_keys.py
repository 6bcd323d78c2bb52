"""The data keys that one page of rows needs, loaded together."""

from collections.abc import Iterable
from typing import Any

from crypto import envelope
from crypto.envelope import DataKey
from crypto.errors import OpenError
from crypto.fields import Owner, OwnerKind
from service.keys.actions.vault import Vault
from service.store.engine import Tx


class PageKeys:
    """The data keys of the owners of one page, of every class, each opened once."""

    def __init__(self, vault: Vault, tx: Tx) -> None:
        self._vault = vault
        self._tx = tx
        self.wrapped: dict[tuple[Owner, str, int], bytes] = {}
        self.opened: dict[tuple[Owner, str, int], DataKey] = {}

    def add(self, rows: Iterable[Any]) -> None:
        """Take up rows of wrapped keys."""
        for row in rows:
            owner = Owner(OwnerKind(row.owner_kind), row.owner_id)
            self.wrapped[owner, row.key_class, row.generation] = row.wrapped

    def get(self, owner: Owner, key_class: str, generation: int) -> DataKey:
        """Return one data key; raises OpenError or KeyUnavailable."""
        name = (owner, key_class, generation)
        if name not in self.opened:
            if name not in self.wrapped:
                raise OpenError
            wrapped = self.wrapped[name]
            kek = self._vault.kek_of(self._tx, key_class, wrapped)
            self.opened[name] = envelope.open_data_key(kek, owner, wrapped)
        return self.opened[name]
