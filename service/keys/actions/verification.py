"""Verify that every sealed value opens, as proof after a rotation."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypedDict
from uuid import UUID

from crypto import envelope
from crypto.errors import CryptoError
from service.keys.actions.keystore import KeyStore
from service.keys.actions.rotation import bad_row
from service.keys.actions.unit_keys import UnitKeys
from service.keys.store import hierarchy as store
from service.keys.store import rotation
from service.store.engine import AnyRow, Store
from service.store.fields import SealedTable, sealed_tables

PAGE: Final = 500
_LEAST: Final = UUID(int=0)
_LISTED: Final = 1000


class ProofJson(TypedDict):
    """The report of a verification: counts per `class/generation`, and the failed rows."""

    rows: int
    opened: dict[str, int]
    erased: int
    not_held: dict[str, int]
    failed: int
    complete: bool
    bad: list[dict[str, str]]


@dataclass(kw_only=True, slots=True)
class Proof:
    """Counts of opened values by class and generation, and the values that failed."""

    rows: int = 0
    opened: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    erased: int = 0
    failed: int = 0
    bad: list[dict[str, str]] = field(default_factory=list)

    def fail(self, line: dict[str, str]) -> None:
        """Count a value that does not open; the first thousand are listed."""
        self.failed += 1
        if len(self.bad) < _LISTED:
            self.bad.append(line)

    def to_json(self) -> ProofJson:
        """Return the report: counts per `class/generation`, classes not held, failed rows."""
        return {
            "rows": self.rows,
            "opened": dict(sorted(self.opened.items())),
            "erased": self.erased,
            "not_held": dict(sorted(self.skipped.items())),
            "failed": self.failed,
            "complete": self.complete,
            "bad": self.bad,
        }

    @property
    def complete(self) -> bool:
        """Whether every value was opened: none failed, and every class is held here."""
        return not self.failed and not self.skipped

    def unproven(self) -> list[dict[str, str]]:
        """Return an entry for each class with values that this process could not open."""
        return [
            {
                "table": "any",
                "row": "any",
                "key": name,
                "reason": f"{count} values were not opened: this process does not hold {name}",
            }
            for name, count in sorted(self.skipped.items())
        ]


class Proving:
    """Opens every value in all tables with sealed columns."""

    def __init__(self, database: Store, key_store: KeyStore) -> None:
        self._database = database
        self._key_store = key_store

    def total(self) -> int:
        """Count the rows to verify."""
        with self._database.transaction(read=True) as tx:
            return sum(rotation.count_rows(tx, table) for table in sealed_tables())

    def verify(self) -> Iterator[Proof]:
        """Open every cell of every row; yield the result so far after each page."""
        proof = Proof()
        for table in sealed_tables():
            after = _LEAST
            while True:
                with self._database.transaction(read=True) as tx:
                    rows = rotation.rows_after(tx, table, after, PAGE)
                    keys = self._key_store.unit(tx)
                    owners = {table.owner(row) for row in rows}
                    for key_class in table.classes():
                        keys.add(store.deks(tx, key_class, owners))
                    for row in rows:
                        self._prove(table, row, keys, proof)
                if not rows:
                    break
                after = rows[-1].id
                yield proof
        yield proof

    def _prove(self, table: SealedTable, row: AnyRow, keys: UnitKeys, proof: Proof) -> None:
        proof.rows += 1
        for cell in table.fields:
            sealed = getattr(row, cell.name)
            if sealed is None:
                continue
            if sealed == envelope.ERASED:
                proof.erased += 1
                continue
            key_class = cell.key_class(row)
            if key_class not in self._key_store.classes():
                proof.skipped[key_class] += 1
                continue
            name = key_class
            try:
                generation = envelope.sealed_generation(sealed)
                name = f"{key_class}/{generation}"
                key = keys.get(key_class, table.owner(row), generation)
                key.open_cell(sealed, cell.place, row.id.bytes, cell.adds(row))
                proof.opened[name] += 1
            except CryptoError as error:
                line = bad_row(table.name, row.id, name, str(error))
                proof.fail(line | {"column": cell.name})
