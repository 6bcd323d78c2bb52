"""Compare rows with what the log was told of them: what was inserted, edited, deleted, rolled back.

Every change of a row is told with a number that counts them, under a MAC of the service. So each
number is told once, the highest is what the row must stand at, and a row that was never told of was
written by somebody else.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from service.audit import notes, store
from service.audit.actions import AuditLog
from service.domain.clock import Clock
from service.domain.errors import RowRefused, SetupError
from service.store import authentic, scanning
from service.store.authentic import GONE
from service.store.engine import Store, Tx
from service.store.sealed import sealer_of
from service.store.shapes import Shape, shapes
from service.store.turns import take_start

TRUSTED: Final = "rows.authenticated"
DIFFER: Final = "rows.differ"
_PAGE: Final = 500
_LISTED: Final = 1000
_TOLD: Final = 20
_LATELY: Final = 20_000
"""How many leaves are read at the most where a start waits for it."""
_LEAST: Final = UUID(int=0)


@dataclass(slots=True)
class _Known:
    """What the log was told of one row, whatever the order of what happened in one moment.

    Args:
        count: How many changes were told.
        first: The lowest number of one.
        top: The highest number of one after which the row was still there.
        tag: The start of its MAC after that.
        until: Until when it may not be missing.
        ends: How often it was deleted; a key may be used again.
        ended: The sum of the numbers of these deletions.
        open: What the row was left as after a change, and was found as before one, by its number,
            until the other of the two is heard.
        broken: Whether a change found the row other than the one before had left it.
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

    def hear(self, revision: int, tag: str, until: int | None) -> None:
        """Take up one more note."""
        self.count += 1
        self.first = min(self.first or revision, revision)
        if tag == GONE:
            self.ends, self.ended = self.ends + 1, self.ended + revision
        elif revision >= self.top:
            self.top, self.tag, self.until = revision, tag, until

    def follow(self, revision: int, left: str, before: str | None) -> None:
        """Take up what a change left and what it found, which the change before must have left."""
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
        """Return the number that the row must stand at; 0 where it must be gone.

        Each life of a row has as many notes as the number of its last.
        """
        if not self.ends:
            return self.top
        return max(0, self.count + self.first - 1 - self.ended)

    def allows(self, revision: int, tag: str) -> bool:
        """Tell whether a row may stand at a number with a MAC."""
        return revision == self.revision and (revision != self.top or tag == self.tag)

    @property
    def fault(self) -> str:
        """Return what is wrong with the numbers themselves; each must have been told once."""
        if self.broken:
            return "edited_before_a_change"
        told, due = self.count, self.top - self.first + 1
        if self.ends or told == due:
            return ""
        return "changed_after_rollback" if told > due else "change_not_told"


_Heard = dict[tuple[str, str], _Known]
"""By table and key of the row."""


@dataclass(slots=True)
class Comparison:
    """What a comparison found.

    Args:
        leaves: How many leaves were read.
        rows: How many rows were held against them.
        position: How far the chain was read.
        count: How many rows differ.
        found: The first thousand of them: table, row and what is wrong.
    """

    leaves: int = 0
    rows: int = 0
    position: int = 0
    count: int = 0
    found: list[dict[str, str]] = field(default_factory=list)

    def add(self, table: str, row: str, what: str) -> None:
        """Note a row that differs."""
        self.count += 1
        if len(self.found) < _LISTED:
            self.found.append({"table": table, "row": row, "what": what})

    def to_json(self) -> dict[str, Any]:
        """Return the report."""
        return {
            "leaves": self.leaves,
            "rows": self.rows,
            "differ": self.count,
            "found": self.found,
        }


class RowState:
    """Trusts the rows of an older database once, and compares them with the log ever after."""

    def __init__(self, database: Store, audit: AuditLog, clock: Clock) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock

    def settled(self) -> bool:
        """Tell whether rows got their first MACs; raises SetupError for a mark of somebody else."""
        with self._database.transaction(read=True) as tx:
            return self._mark(tx)

    def settle(self) -> int:
        """Give the rows of a database that had no MACs their first, once; return how many.

        Raises:
            SetupError: The mark that this was done is gone or not this service's.
            ChainBroken: The log does not hold, so that the rows cannot be trusted either.
        """
        with self._database.transaction(read=True) as tx:
            # What stands beside the mark is judged below: another process may be at it.
            if self._mark(tx):
                return 0
        with self._database.transaction() as tx:
            take_start(tx)
            if self._marked(tx) or not store.set_mark(tx, self._clock.now()):
                return 0
            return self._trust(tx)

    def compare(self, *, lately: bool = False) -> Comparison:
        """Hold rows against the log.

        Args:
            lately: Only those of which the log was told since they were last compared.
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
            # What was left out is compared by the next that goes over all.
            if not done.count and not lately:
                store.move_mark(tx, done.position, self._clock.now())
            else:
                first = [f"{item['table']} {item['row']} {item['what']}" for item in done.found]
                self._audit.append(
                    tx, DIFFER, actor="state", differ=done.count, first=first[:_TOLD]
                )
        return done

    def _since(self, tx: Tx, compared: int) -> int:
        """Return where a comparison that must be short begins."""
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
                count, after = count + len(page), scanning.key_of(shape, page[-1])
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
            told = notes.read(key, leaf.id, leaf.data)
            if told is None:
                done.add("audit_leaf", str(leaf.id), "forged_notes")
                continue
            for table, row, revision, tag, until, *before in told:
                note = known.setdefault((table, row), _Known())
                note.hear(revision, tag, until)
                if table in followed:
                    note.follow(revision, tag, before[0] if before else None)
        return known

    def _hold_all(self, tx: Tx, known: _Heard, done: Comparison) -> None:
        for shape in shapes():
            for row in scanning.all_rows(tx, shape):
                unread = isinstance(row, scanning.Unreadable)
                name = row.name if unread else shape.name_of(shape.of_row(row))
                note = known.pop((shape.table.name, name), None)
                self._hold(tx, shape, row, note, done)
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
                self._hold(tx, shape, row, note, done)
            elif not note.ends:
                self._missing(table, name, note, done)

    def _hold(
        self,
        tx: Tx,
        shape: Shape,
        row: Any,  # noqa: ANN401
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


def _without_mac(shape: Shape) -> list[Any]:
    return [scanning.unsealed(shape)] if shape.keyed else []


def _leaves(tx: Tx, since: int) -> Iterator[Any]:
    position, waiting = since, _LEAST
    page: Sequence[Any]
    while page := store.placed(tx, position, _PAGE):
        yield from page
        position = page[-1].position
    while page := store.unplaced(tx, waiting, _PAGE):
        yield from page
        waiting = page[-1].id
