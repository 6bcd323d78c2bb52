"""Rotate keys online: rewrap wrapped keys and re-encrypt fields, page by page.

The remaining work is read from the rows themselves: there is no cursor to lose, so the next run
finishes one that was killed at any moment. A page is one transaction; on PostgreSQL several
workers share a table by skipping each other's locked rows.
"""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, cast
from uuid import UUID

from crypto import envelope
from crypto.envelope import Cell
from crypto.errors import CryptoError
from crypto.fields import Owner
from crypto.keyring import KeyEncryptionKey, rewrap_kek, root_version_of
from service.domain.clock import Clock
from service.domain.errors import Conflict, RowRefused
from service.domain.ids import new_id
from service.keys.actions.instances import Instances
from service.keys.actions.keystore import INDEX_CLASS, PURPOSE_OWNER, ROWS_CLASS, KeyStore
from service.keys.actions.unit_keys import UnitKeys
from service.keys.model import SETTLE, require_root, require_settled
from service.keys.store import hierarchy as store
from service.keys.store import rotation
from service.store import scanning
from service.store.authentic import renewed
from service.store.engine import AnyRow, Store, Tx
from service.store.fields import AnyField, SealedTable, sealed_tables
from service.store.shapes import Authentic, Shape, shape_of, shapes

PAGE: Final = 500
_LEAST: Final = UUID(int=0)
_PATIENCE: Final = 200
_PAUSE: Final = 0.05


@dataclass(slots=True)
class RotationPage:
    """The result of a page: the number of rows moved, and the failed rows with their reasons."""

    moved: int = 0
    bad: list[dict[str, str]] = field(default_factory=list)
    last: UUID | None = None


def bad_row(table: str, row: UUID, key: str, reason: str) -> dict[str, str]:
    """Return the report entry of a failed row and its key, without secrets."""
    return {"table": table, "row": str(row), "key": key, "reason": reason}


def passes(
    database: Store,
    page_of: Callable[[Tx, UUID], RotationPage],
    left: Callable[[Tx], int] | None = None,
) -> Iterator[RotationPage]:
    """Yield page after page, each in its own transaction, until a pass moves no row.

    Args:
        database: Opens the transactions.
        page_of: Processes the page after an id; its `last` is None at the end.
        left: Counts the remaining rows, including locked ones, which pages skip and which are
            waited for.
    """
    empty = 0
    waiting = 0
    reported = set[str]()
    while empty < _PATIENCE:
        moved = 0
        bad = 0
        after = _LEAST
        while True:
            with database.transaction() as tx:
                page = page_of(tx, after)
            if page.last is None:
                break
            after = page.last
            moved = moved + page.moved
            bad = bad + len(page.bad)
            # Every pass meets a failing row again; only the first one reports it.
            page.bad = [line for line in page.bad if line["row"] not in reported]
            reported.update(line["row"] for line in page.bad)
            yield page
        if moved:
            continue
        if left is None:
            return
        with database.transaction(read=True) as tx:
            waiting = left(tx) - bad
        if waiting <= 0:
            return
        empty += 1
        time.sleep(_PAUSE)
    raise Conflict("rows_locked", f"{waiting} rows stay locked by others; run it again")


class Moving:
    """Long-running key rotations, each a series of pages."""

    def __init__(
        self, database: Store, key_store: KeyStore, instances: Instances, clock: Clock
    ) -> None:
        self._database = database
        self._key_store = key_store
        self._instances = instances
        self._clock = clock

    def rewrap_roots(self, tx: Tx, key_class: str) -> RotationPage:
        """Rewrap the KEKs of a class under the newest root.

        Raises:
            Conflict: A live instance does not hold that root yet.
        """
        root = self._key_store.reopen_root(key_class)
        newest = root.version(key_class)
        require_root(self._instances.listed(tx), self._clock.now(), key_class, newest)
        page = RotationPage()
        for row in store.class_keks(tx, key_class):
            if root_version_of(row.wrapped) == newest:
                continue
            try:
                row.wrapped = rewrap_kek(root, key_class, row.version, row.wrapped)
                page.moved += 1
            except CryptoError as error:
                page.bad.append(bad_row("kek", row.id, f"kek {row.version}", str(error)))
        return page

    def rewrap_pages(self, key_class: str) -> Iterator[RotationPage]:
        """Rewrap the data keys of a class under its active KEK, until none is left."""
        left = partial(self.left_to_rewrap, key_class=key_class)
        yield from passes(self._database, partial(self._rewrap, key_class=key_class), left)

    def left_to_rewrap(self, tx: Tx, key_class: str) -> int:
        """Count the data keys of a class that are not under its active KEK."""
        return rotation.count_foreign(tx, key_class, self._key_store.active_kek(key_class).version)

    def start_generation(self, tx: Tx, key_class: str) -> int:
        """Start a new generation of data keys of a class, or resume an unfinished one.

        Raises:
            Conflict: The class has no fields (its keys are derived from, and rotate otherwise).
        """
        if key_class == INDEX_CLASS:
            raise Conflict("not_reencrypted", "the index key rotates by: lamina keys reindex")
        row = store.generation(tx, key_class)
        current = row.generation if row else 1
        if self.left_to_reencrypt(tx, key_class, current):
            return current
        return rotation.set_generation(tx, key_class, current + 1, self._clock.now())

    def left_to_reencrypt(self, tx: Tx, key_class: str, generation: int) -> int:
        """Count the rows with a cell of a class under an older generation."""
        cells = sum(
            rotation.count_stale(tx, table, key_class, generation)
            for table in sealed_tables()
            if table.of_class(key_class)
        )
        return cells + sum(
            scanning.count_older(tx, shape, generation) for shape in _keyed(key_class)
        )

    def reencrypt_pages(self, key_class: str, generation: int) -> Iterator[RotationPage]:
        """Re-encrypt every field of a class, until none is left."""
        for table in sealed_tables():
            if table.of_class(key_class):
                left = partial(
                    rotation.count_stale, table=table, key_class=key_class, generation=generation
                )
                page_of = partial(
                    self._reencrypt, table=table, key_class=key_class, generation=generation
                )
                yield from passes(self._database, page_of, left)
        for shape in _keyed(key_class):
            yield from self._renew_macs(shape, generation)

    def finish_generation(self, tx: Tx, key_class: str) -> None:
        """Record when the last field was re-encrypted: a reader may still hold older values."""
        row = store.generation(tx, key_class)
        if row is not None:
            row.since = self._clock.now()

    def drop_old_data_keys(self, tx: Tx, key_class: str) -> int:
        """Delete the data keys of older generations.

        Raises:
            Conflict: A cell still needs one, or the last was re-encrypted just now.
        """
        row = store.generation(tx, key_class)
        if row is None:
            return 0
        generation = row.generation
        require_settled(row.since, self._clock.now(), SETTLE, f"the re-encryption of {key_class}")
        left = self.left_to_reencrypt(tx, key_class, generation)
        if left:
            detail = f"{left} rows are under older data keys; run: lamina keys reencrypt"
            raise Conflict("key_in_use", f"{detail} --class {key_class}")
        return rotation.drop_old_deks(tx, key_class, generation, [PURPOSE_OWNER])

    def _rewrap(self, tx: Tx, after: UUID, key_class: str) -> RotationPage:
        new = self._key_store.active_kek(key_class)
        rows = rotation.foreign_deks(
            tx, key_class=key_class, kek_version=new.version, after=after, limit=PAGE
        )
        page = RotationPage(last=rows[-1].row if rows else None)
        done = []
        olds: dict[int, KeyEncryptionKey] = {}
        for row in rows:
            try:
                old = olds.get(row.kek_version) or self._key_store.kek_of(
                    tx, key_class, row.wrapped
                )
                olds[row.kek_version] = old
                done.append((row.id, envelope.rewrap_data_key(old, new, row.owner, row.wrapped)))
            except CryptoError as error:
                page.bad.append(bad_row("dek", row.row, f"kek {row.kek_version}", str(error)))
        rotation.store_wrapped(tx, new.version, done)
        page.moved = len(done)
        return page

    def _reencrypt(
        self, tx: Tx, after: UUID, *, table: SealedTable, key_class: str, generation: int
    ) -> RotationPage:
        rows = rotation.stale_rows(
            tx, table=table, key_class=key_class, generation=generation, after=after, limit=PAGE
        )
        page = RotationPage(last=rows[-1].id if rows else None)
        owners = [table.owner(row) for row in rows]
        keys = self._data_keys(tx, key_class, set(owners), generation)
        cells: dict[UUID, dict[str, bytes]] = {}
        fields = table.of_class(key_class)
        for row, owner in zip(rows, owners, strict=True):
            try:
                moved = _reseal(
                    keys,
                    fields=fields,
                    row=row,
                    owner=owner,
                    key_class=key_class,
                    generation=generation,
                )
            except CryptoError as error:
                key = f"{key_class} data key"
                page.bad.append(bad_row(table.name, row.id, key, str(error)))
                continue
            if moved:
                cells[row.id] = moved
        names = [cell.name for cell in fields]
        if table.covered:
            # The MAC covers a cell, so both are replaced in the same statement.
            names = [*names, "mac"]
            cells = _with_macs(tx, table=table, rows=rows, cells=cells, page=page)
        rotation.store_cells(tx, table, names, cells)
        page.moved = len(cells)
        return page

    def _renew_macs(self, shape: Shape, generation: int) -> Iterator[RotationPage]:
        """Recompute the MAC of every row of a table under the new key, until none is left."""
        empty = bad = 0
        while empty < _PATIENCE:
            moved = 0
            bad = 0
            for page in self._renew_pass(shape, generation):
                moved = moved + page.moved
                bad = bad + len(page.bad)
                yield page
            with self._database.transaction(read=True) as tx:
                waiting = scanning.count_older(tx, shape, generation) - bad
            if waiting <= 0:
                return
            empty += not moved
            time.sleep(0 if moved else _PAUSE)
        raise Conflict("rows_locked", f"rows of {shape.table.name} stay locked; run it again")

    def _renew_pass(self, shape: Shape, generation: int) -> Iterator[RotationPage]:
        after = None
        while True:
            with self._database.transaction() as tx:
                older = scanning.older(shape, generation)
                rows = scanning.page_after(tx, shape, after, older, lock=True)
                page = RotationPage()
                for row in rows:
                    try:
                        scanning.renew(tx, shape, row)
                        page.moved += 1
                    except RowRefused as error:
                        line = {"table": shape.table.name, "row": shape.name_of(shape.of_row(row))}
                        page.bad.append({**line, "key": "rows", "reason": error.code})
            if not rows:
                return
            after = scanning.key_of(shape, rows[-1])
            yield page

    def _data_keys(
        self, tx: Tx, key_class: str, owners: Collection[Owner], generation: int
    ) -> UnitKeys:
        """Return the data keys of owners, each including one of the new generation."""
        keys = self._key_store.unit(tx)
        keys.add(store.deks(tx, key_class, owners))
        # An owner without any key was shredded and gets no new one.
        missing = [
            owner for owner in owners if 0 < keys.newest.get((key_class, owner), 0) < generation
        ]
        kek = self._key_store.active_kek(key_class)
        now = self._clock.now()
        made = [(owner, *envelope.create_data_key(kek, owner, generation)) for owner in missing]
        rows = [
            rotation.NewDek(new_id(now), owner, key_class, generation, kek.version, wrapped, now)
            for owner, wrapped, _ in made
        ]
        if rotation.add_deks(tx, rows):
            for _, _, key in made:
                keys.put(key)
        else:
            # Another transaction created one of them first; the stored keys are used.
            keys.add(store.deks(tx, key_class, missing))
        return keys


def _keyed(key_class: str) -> list[Shape]:
    """Return the tables with row MACs under keys of a class."""
    return [shape for shape in shapes() if shape.keyed] if key_class == ROWS_CLASS else []


def _with_macs(
    tx: Tx,
    *,
    table: SealedTable,
    rows: Sequence[AnyRow],
    cells: dict[UUID, dict[str, bytes]],
    page: RotationPage,
) -> dict[UUID, dict[str, bytes]]:
    """Add to re-encrypted cells the new MACs of their rows; failed rows are left out."""
    done: dict[UUID, dict[str, bytes]] = {}
    for row in rows:
        if row.id not in cells:
            continue
        try:
            model = shape_of(cast("type[Authentic]", table.model)).keyed_model
            done[row.id] = {**cells[row.id], "mac": renewed(tx, model, row, cells[row.id])}
        except RowRefused as error:
            page.bad.append(bad_row(table.name, row.id, "rows", error.code))
    return done


def _reseal(
    keys: UnitKeys,
    *,
    fields: Sequence[AnyField],
    row: AnyRow,
    owner: Owner,
    key_class: str,
    generation: int,
) -> dict[str, bytes]:
    """Return the cells of a class that were under older keys, re-encrypted, by name."""
    older: dict[bytes, dict[str, Cell]] = {}
    identity = row.id.bytes
    newest = generation.to_bytes(2, "big")
    for item in fields:
        sealed = getattr(row, item.name)
        if sealed is None or (item.varies and item.key_class(row) != key_class):
            continue
        # The generation as stored; whether the rest matches shows when the cell is opened.
        known = sealed[2:4]
        if known < newest:
            cells = older.get(known) or older.setdefault(known, {})
            cells[item.name] = (sealed, item.place, identity, item.adds(row))
    done: dict[str, bytes] = {}
    for known, cells in older.items():
        old = keys.get(key_class, owner, int.from_bytes(known, "big"))
        new = keys.get(key_class, owner, generation)
        done.update(zip(cells, new.reseal_many([*cells.values()], old), strict=True))
    return done
