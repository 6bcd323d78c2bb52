"""Erase a subject, or one class of its data; find out a restored backup and undo its harm."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

from service.domain.errors import NotFound, RowRefused
from service.keys.actions.crypto_shredding import SUBJECT_CLASSES, Erased, Shredding
from service.keys.ledger import Entry
from service.privacy.actions.memory import Memory
from service.privacy.actions.repeating import Repeating, RepeatResult
from service.privacy.model import TOMBSTONE, since
from service.store.engine import Store, Tx

End = Callable[[Tx, UUID], object]
_WHOLE: Final = frozenset(SUBJECT_CLASSES)


@dataclass(frozen=True, slots=True)
class ErasureDependencies:
    """What erasure ends in other features.

    Args:
        present: Locks the subject for a change; raises NotFound when there is none.
        by_class: What ends with one class of data, such as the look-up digests with `contact`.
        whole: What ends only when everything goes, such as sessions.
        restored: What ends for everybody in a restored database beside sessions.
        end_sessions: Ends every session of every subject; for a restored database.
    """

    present: End
    by_class: Mapping[str, Sequence[End]]
    whole: Sequence[End]
    end_sessions: Callable[[Tx], int]
    restored: Sequence[Callable[[Tx], object]]


class Erasure:
    """Erasure and its memory outside the database."""

    def __init__(
        self,
        database: Store,
        shredding: Shredding,
        ends: ErasureDependencies,
        memory: Memory,
        repeating: Repeating,
    ) -> None:
        self._database = database
        self._shredding = shredding
        self._ends = ends
        self._memory = memory
        self._repeating = repeating

    def erase(self, subject: UUID, actor: str, key_class: str | None = None) -> Erased:
        """Erase everything of a subject, or one class; the answer holds the certificate.

        Raises:
            NotFound: There is no such subject, or it was erased before, or no such class.
            Conflict: A legal hold stands; the detail names its end.
        """
        if key_class is not None and key_class not in _WHOLE:
            known = ", ".join(SUBJECT_CLASSES)
            raise NotFound("class_not_found", f"There is no such class of data; known: {known}.")
        with self._database.transaction() as tx:
            self._ends.present(tx, subject)
            done = self.shred(tx, subject, actor, key_class)
        self._database.scrub()
        return done

    def shred(
        self, tx: Tx, subject: UUID, actor: str | None, key_class: str | None = None
    ) -> Erased:
        """Do it inside a unit of work; the ledger has it when that has committed.

        Args:
            tx: The unit of work.
            subject: Whose data.
            actor: Who does it; None for who is calling.
            key_class: Which class of it; all where none is named.
        """
        self._shredding.require_free(tx, subject)
        classes = _WHOLE if key_class is None else frozenset({key_class})
        self._end(tx, subject, classes)
        return self._shredding.shred(tx, subject, classes, actor)

    def remember(self, tx: Tx) -> int:
        """Bring the ledger up to date with the database; return how many lines were added."""

        def missing(known: Sequence[Entry]) -> list[Entry]:
            erased = {entry["id"] for entry in known if entry["kind"] == TOMBSTONE}
            return [entry for entry in self._shredding.entries(tx) if entry["id"] not in erased]

        return self._memory.remember(tx, missing)

    def remember_due(self, tx: Tx, _now: datetime) -> int:
        """Do `remember` as a task."""
        return self.remember(tx)

    def compare(self) -> dict[str, int]:
        """Compare the database with the ledger and undo what a restored backup brought back.

        Returns:
            How many erasures and other acts were repeated, how many could not be, and how many
            sessions ended; zeros when all is well.

        Raises:
            SetupError: The ledger is damaged.
        """
        self._memory.look()
        lines = self._memory.entries()
        # One subject is locked at a time, so that no order of locks is in anybody's way (ADR 6).
        again = sum(self._database.unit(partial(self._repeat, line)) for line in _tombstones(lines))
        with self._database.transaction() as tx:
            behind = self._memory.behind(tx, lines)
            unsure = since(lines, self._memory.agreed(tx, lines))
        outcome = self._repeating.run(unsure, restored=behind)
        acts = sum(outcome.repeated.values())
        found = {
            "erased_again": again,
            "sessions_ended": 0,
            "acts_repeated": acts,
            "acts_left": sum(outcome.left.values()),
        }
        if behind or again or acts:
            found["sessions_ended"] = self._restored(found, outcome)
            self._memory.restored()
        else:
            self._memory.catch_up()
        return found

    def _restored(self, found: Mapping[str, int], outcome: RepeatResult) -> int:
        """End what may be alive again for everybody, and tell; return how many sessions ended."""
        with self._database.transaction() as tx:
            ended = self._ends.end_sessions(tx)
            for end in self._ends.restored:
                end(tx)
            told: dict[str, Any] = {**found, "sessions_ended": ended}
            told |= {"repeated": dict(+outcome.repeated), "left": dict(+outcome.left)}
            self._memory.tell_restored(tx, told)
        return ended

    def _repeat(self, entry: Entry, tx: Tx) -> bool:
        subject = UUID(entry["subject"])
        # The lock stays, whether or not there is anybody to be served.
        with suppress(NotFound, RowRefused):
            self._ends.present(tx, subject)
        if not self._shredding.repeat(tx, entry):
            return False
        self._end(tx, subject, frozenset(entry["classes"]))
        return True

    def _end(self, tx: Tx, subject: UUID, classes: frozenset[str]) -> None:
        for name in sorted(classes):
            for end in self._ends.by_class.get(name, ()):
                end(tx, subject)
        if classes == _WHOLE:
            for end in self._ends.whole:
                end(tx, subject)


def _tombstones(lines: Sequence[Entry]) -> list[Entry]:
    """Return the erasures, in the order of the ids of their subjects."""
    found = [line for line in lines if line["kind"] == TOMBSTONE]
    return sorted(found, key=lambda line: (line["subject"], line["id"]))
