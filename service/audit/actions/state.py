"""Compare rows with the log, to find inserted, edited, deleted and rolled-back rows.

Every change of a row is recorded in the log with a revision number, under a MAC of the service.
So each revision is recorded once, the highest one must be the row's own, and a row without records
was not written by this service.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement

from service.audit import notes, store
from service.audit.actions.audit_log import AuditLog
from service.audit.store import NotedLeaf
from service.domain.clock import Clock
from service.domain.errors import RowRefused, SetupError
from service.store import authentic, scanning
from service.store.authentic import GONE
from service.store.engine import AnyRow, Store, Tx
from service.store.sealed import sealer_of
from service.store.shapes import Shape, shapes
from service.store.turns import take_start

TRUSTED: Final = "rows.authenticated"
DIFFER: Final = "rows.differ"
_PAGE: Final = 500
_LISTED: Final = 1000
_TOLD: Final = 20
_LATELY: Final = 20_000
"""Maximum number of leaves read when a start waits for the comparison."""
_LEAST: Final = UUID(int=0)


@dataclass(kw_only=True, slots=True)
class _Known:
    """The log's records of one row, independent of their order within one moment.

    Args:
        count: Number of recorded changes.
        first: The lowest revision.
        top: The highest revision after which the row existed.
        tag: The start of its MAC at that revision.
        until: Unix seconds until which it must exist.
        ends: Number of deletions; a key may be reused.
        ended: Sum of the revisions of these deletions.
        open: Digests of the row after or before a change, by revision, until the matching record of
            the other side is read.
        broken: Whether a change found the row different from how the previous one left it.
    """

    count: int = 0
    first: int = 0
    top: int = 0
    tag: str = ""
    until: int | None = None
    ends: int = 0
    ended: int = 0
    open: dict[tuple[int, bool], str] = field(default_factory=dict)
    broken: bool = False

    def add(self, revision: int, tag: str, until: int | None) -> None:
        """Add a record."""
        self.count += 1
        self.first = min(self.first or revision, revision)
        if tag == GONE:
            self.ends = self.ends + 1
            self.ended = self.ended + revision
        elif revision >= self.top:
            self.top = revision
            self.tag = tag
            self.until = until

    def follow(self, revision: int, left: str, before: str | None) -> None:
        """Match the digest before a change with the digest after the previous one."""
        ends = [(revision, False, left)] if left != GONE else []
        if before is not None:
            ends.append((revision - 1, True, before))
        for number, found, other in ends:
            known = self.open.pop((number, not found), None)
            if known is None:
                self.open[number, found] = other
            else:
                self.broken = self.broken or known != other

    @property
    def revision(self) -> int:
        """The revision that the row must have; 0 if it must not exist.

        Each life of a row has as many records as its last revision.
        """
        if not self.ends:
            return self.top
        return max(0, self.count + self.first - 1 - self.ended)

    def allows(self, revision: int, tag: str) -> bool:
        """Return whether a row may have a revision with a MAC."""
        return revision == self.revision and (revision != self.top or tag == self.tag)

    @property
    def fault(self) -> str:
        """The fault in the revisions themselves; each must be recorded exactly once."""
        if self.broken:
            return "edited_before_a_change"
        recorded = self.count
        due = self.top - self.first + 1
        if self.ends or recorded == due:
            return ""
        return "changed_after_rollback" if recorded > due else "change_not_told"


_Heard = dict[tuple[str, str], _Known]
"""Records by table and row key."""


@dataclass(kw_only=True, slots=True)
class Comparison:
    """The result of a comparison.

    Args:
        leaves: Number of leaves read.
        rows: Number of rows compared with them.
        position: Chain position up to which the log was read.
        count: Number of rows that differ.
        found: The first thousand of them: table, row and fault.
    """

    leaves: int = 0
    rows: int = 0
    position: int = 0
    count: int = 0
    found: list[dict[str, str]] = field(default_factory=list)

    def add(self, table: str, row: str, what: str) -> None:
        """Add a row that differs."""
        self.count += 1
        if len(self.found) < _LISTED:
            self.found.append({"table": table, "row": row, "what": what})

    def to_json(self) -> dict[str, object]:
        """Return the report."""
        return {
            "leaves": self.leaves,
            "rows": self.rows,
            "differ": self.count,
            "found": self.found,
        }


class RowState:
    """Trusts the rows of an older database once, and compares rows with the log from then on."""

    def __init__(self, database: Store, audit: AuditLog, clock: Clock) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock

    def settled(self) -> bool:
        """Return whether rows have their first MACs; raises SetupError for a forged mark."""
        with self._database.transaction(read=True) as tx:
            return self._mark(tx)

    def settle(self) -> int:
        """Add first MACs to the rows of a database without MACs, once; return how many.

        Raises:
            SetupError: The mark that this was done is missing or forged.
            ChainBroken: The log fails verification, so that the rows cannot be trusted either.
        """
        with self._database.transaction(read=True) as tx:
            # Other conditions are checked below, because another process may be working on it.
            if self._mark(tx):
                return 0
        with self._database.transaction() as tx:
            take_start(tx)
            if self._marked(tx) or not store.set_mark(tx, self._clock.now()):
                return 0
            return self._trust(tx)

    def compare(self, *, lately: bool = False) -> Comparison:
        """Compare rows with the log.

        Args:
            lately: Whether to compare only rows with records since the last comparison.
        """
        done = Comparison()
        with self._database.transaction(steady=True) as tx:
            mark = store.mark(tx)
            since = self._since(tx, mark.position) if lately and mark else 0
            known = self._heard(tx, since, done)
            if lately:
                self._hold_known(tx, known, done)
            else:
                self._hold_all(tx, known, done)
        with self._database.transaction() as tx:
            # Rows skipped here are compared by the next full comparison.
            if not done.count and not lately:
                store.move_mark(tx, done.position, self._clock.now())
            else:
                first = [f"{item['table']} {item['row']} {item['what']}" for item in done.found]
                self._audit.append(
                    tx, DIFFER, actor="state", differ=done.count, first=first[:_TOLD]
                )
        return done

    def _since(self, tx: Tx, compared: int) -> int:
        """Return the chain position at which a short comparison starts."""
        here = self._audit.checkpoint(tx)
        return max(compared, here[0] - _LATELY) if here else compared

    @staticmethod
    def _mark(tx: Tx) -> bool:
        try:
            return store.mark(tx) is not None
        except RowRefused:
            detail = "the mark of authenticated rows is not this service's: the database was edited"
            raise SetupError("row_mark_refused", detail) from None

    def _marked(self, tx: Tx) -> bool:
        if self._mark(tx):
            return True
        keyed = [shape for shape in shapes() if shape.keyed]
        sealed = any(
            scanning.page_after(tx, shape, None, ~scanning.unsealed(shape)) for shape in keyed
        )
        if sealed or store.any_of_kind(tx, TRUSTED):
            detail = (
                "rows were authenticated before and the mark of it is gone: the database was "
                "edited; restore it from a backup"
            )
            raise SetupError("row_mark_missing", detail)
        return False

    def _trust(self, tx: Tx) -> int:
        count = 0
        for shape in shapes():
            after = None
            while page := scanning.page_after(tx, shape, after, *_without_mac(shape)):
                if not count:
                    self._audit.verify(tx)
                if shape.keyed:
                    scanning.trust(tx, shape, page)
                else:
                    for row in page:
                        authentic.touch(tx, shape.table.name, *shape.note_of(row))
                count = count + len(page)
                after = scanning.key_of(shape, page[-1])
                self._audit.close(tx)
        self._audit.append(tx, TRUSTED, actor="upgrade", count=count)
        return count

    def _heard(self, tx: Tx, since: int, done: Comparison) -> _Heard:
        key = sealer_of(tx).purpose_key(tx, notes.PURPOSE)
        known: _Heard = {}
        followed = {shape.table.name for shape in shapes() if shape.followed}
        done.position = since
        for leaf in _leaves(tx, since):
            done.leaves += 1
            done.position = max(done.position, leaf.position or 0)
            entries = notes.read(key, leaf.id, leaf.data)
            if entries is None:
                done.add("audit_leaf", str(leaf.id), "forged_notes")
                continue
            for table, row, revision, tag, until, *before in entries:
                note = known.setdefault((table, row), _Known())
                note.add(revision, tag, until)
                if table in followed:
                    note.follow(revision, tag, before[0] if before else None)
        return known

    def _hold_all(self, tx: Tx, known: _Heard, done: Comparison) -> None:
        for shape in shapes():
            for row in scanning.all_rows(tx, shape):
                unread = isinstance(row, scanning.Unreadable)
                name = row.name if unread else shape.name_of(shape.of_row(row))
                note = known.pop((shape.table.name, name), None)
                self._hold(tx, shape=shape, row=row, note=note, done=done)
                if note is not None and note.fault:
                    done.add(shape.table.name, name, note.fault)
        for (table, name), note in known.items():
            self._missing(table, name, note, done)
            if note.fault:
                done.add(table, name, note.fault)

    def _hold_known(self, tx: Tx, known: _Heard, done: Comparison) -> None:
        by_name = {shape.table.name: shape for shape in shapes()}
        for (table, name), note in known.items():
            shape = by_name.get(table)
            row = scanning.row_named(tx, shape, name) if shape else None
            if note.broken:
                done.add(table, name, note.fault)
            if shape is not None and row is not None:
                self._hold(tx, shape=shape, row=row, note=note, done=done)
            elif not note.ends:
                self._missing(table, name, note, done)

    def _hold(
        self,
        tx: Tx,
        *,
        shape: Shape,
        row: AnyRow | scanning.Unreadable,
        note: _Known | None,
        done: Comparison,
    ) -> None:
        done.rows += 1
        if isinstance(row, scanning.Unreadable):
            done.add(shape.table.name, row.name, "unreadable")
            return
        name, revision, tag, _ = shape.note_of(row)
        what = ""
        if shape.keyed and not authentic.holds(tx, shape.keyed_model, row):
            what = "edited"
        elif note is None:
            what = "inserted"
        elif not note.revision:
            what = "came_back"
        elif revision < note.revision:
            what = "rolled_back"
        elif not note.allows(revision, tag):
            what = "edited"
        if what:
            done.add(shape.table.name, name, what)

    def _missing(self, table: str, name: str, note: _Known, done: Comparison) -> None:
        if note.revision and not scanning.is_over(note.until, self._clock.now()):
            done.add(table, name, "missing")


def _without_mac(shape: Shape) -> list[ColumnElement[bool]]:
    return [scanning.unsealed(shape)] if shape.keyed else []


def _leaves(tx: Tx, since: int) -> Iterator[NotedLeaf]:
    position = since
    waiting = _LEAST
    page: Sequence[NotedLeaf]
    while page := store.placed(tx, position, _PAGE):
        yield from page
        position = page[-1].position or position
    while page := store.unplaced(tx, waiting, _PAGE):
        yield from page
        waiting = page[-1].id
