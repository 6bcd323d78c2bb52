"""Erase a subject or one class of its data; detect a restored backup and repeat erasures."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

from service.domain.errors import NotFound, RowRefused
from service.keys.actions.crypto_shredding import SUBJECT_CLASSES, Erased, Shredding
from service.keys.ledger import Entry
from service.privacy.actions.memory import Memory, RestoreDetails, RestoreFindings
from service.privacy.actions.repeating import Repeating, RepeatResult
from service.privacy.model import TOMBSTONE, since
from service.store.engine import Store, Tx
from service.store.erasing import ErasureRegistry

_WHOLE: Final = frozenset(SUBJECT_CLASSES)


@dataclass(kw_only=True, frozen=True, slots=True)
class ErasureDependencies:
    """What erasure asks of other features.

    Args:
        present: Locks the subject for a change; raises NotFound if unknown.
        registry: The actions of every feature.
        end_sessions: Ends every session of every subject, for a restored database.
    """

    present: Callable[[Tx, UUID], object]
    registry: ErasureRegistry
    end_sessions: Callable[[Tx], int]


class Erasure:
    """Erasure of subjects, and its record in the ledger outside the database."""

    def __init__(
        self,
        *,
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
        """Erase a subject or one class of its data; the result holds the certificate.

        Raises:
            NotFound: The subject is unknown or erased already, or the class is unknown.
            Conflict: A legal hold is active; the detail names its end.
        """
        if key_class is not None and key_class not in _WHOLE:
            known = ", ".join(SUBJECT_CLASSES)
            raise NotFound("class_not_found", f"This class of data is unknown; known: {known}.")
        with self._database.transaction() as tx:
            self._ends.present(tx, subject)
            done = self.shred(tx, subject, actor, key_class)
        self._database.scrub()
        return done

    def shred(
        self, tx: Tx, subject: UUID, actor: str | None, key_class: str | None = None
    ) -> Erased:
        """Erase within a transaction; the ledger records it when the transaction has committed.

        Args:
            tx: The transaction.
            subject: The subject.
            actor: Who erases; None for the current caller.
            key_class: The class to erase; None for all.
        """
        self._shredding.require_free(tx, subject)
        classes = _WHOLE if key_class is None else frozenset({key_class})
        self._end(tx, subject, classes)
        return self._shredding.shred(tx, subject, classes, actor)

    def remember(self, tx: Tx) -> int:
        """Add acts missing from the ledger; return how many lines were added."""

        def missing(known: Sequence[Entry]) -> list[Entry]:
            erased = {entry["id"] for entry in known if entry["kind"] == TOMBSTONE}
            return [entry for entry in self._shredding.entries(tx) if entry["id"] not in erased]

        return self._memory.remember(tx, missing)

    def remember_due(self, tx: Tx, _now: datetime) -> int:
        """Run `remember` as a background task."""
        return self.remember(tx)

    def compare(self) -> RestoreFindings:
        """Compare the database with the ledger and repeat what a restored backup has undone.

        Returns:
            How many erasures and other acts were repeated, how many could not be, and how many
            sessions ended; zeros if nothing differs.

        Raises:
            SetupError: The ledger is damaged.
        """
        self._memory.look()
        lines = self._memory.entries()
        # One subject is locked at a time, so that the order of locks cannot deadlock (ADR 6).
        again = sum(self._database.unit(partial(self._repeat, line)) for line in _tombstones(lines))
        with self._database.transaction() as tx:
            behind = self._memory.behind(tx, lines)
            unsure = since(lines, self._memory.agreed(tx, lines))
        outcome = self._repeating.run(unsure, restored=behind)
        acts = sum(outcome.repeated.values())
        found: RestoreFindings = {
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

    def _restored(self, found: RestoreFindings, outcome: RepeatResult) -> int:
        """End what a restore may have reactivated, and report it; return the count of sessions."""
        with self._database.transaction() as tx:
            ended = self._ends.end_sessions(tx)
            for end in self._ends.registry.after_restore():
                end(tx)
            details: RestoreDetails = {
                **found,
                "sessions_ended": ended,
                "repeated": dict(+outcome.repeated),
                "left": dict(+outcome.left),
            }
            self._memory.tell_restored(tx, details)
        return ended

    def _repeat(self, entry: Entry, tx: Tx) -> bool:
        subject = UUID(entry["subject"])
        # The lock is held whether or not the subject still exists.
        with suppress(NotFound, RowRefused):
            self._ends.present(tx, subject)
        if not self._shredding.repeat(tx, entry):
            return False
        self._end(tx, subject, frozenset(entry["classes"]))
        return True

    def _end(self, tx: Tx, subject: UUID, classes: frozenset[str]) -> None:
        for erase in self._ends.registry.actions(classes, whole=classes == _WHOLE):
            erase(tx, subject)


def _tombstones(lines: Sequence[Entry]) -> list[Entry]:
    """Return the erasures of ledger lines, by subject id."""
    found = [line for line in lines if line["kind"] == TOMBSTONE]
    return sorted(found, key=lambda line: (line["subject"], line["id"]))
