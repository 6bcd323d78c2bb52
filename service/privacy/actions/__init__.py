"""Erase a subject, or one class of its data; find out a restored backup and undo its harm."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from service.audit.actions import AuditLog
from service.domain.errors import NotFound
from service.keys.actions.shredding import SUBJECT_CLASSES, Erased, Shredding
from service.keys.ledger import Entry, Ledger
from service.notifications.actions import Outbox
from service.store.engine import Store, Tx

End = Callable[[Tx, UUID], object]
_WHOLE: Final = frozenset(SUBJECT_CLASSES)


@dataclass(frozen=True, slots=True)
class Ends:
    """What erasure ends in other features.

    Args:
        present: Locks the subject for a change; raises NotFound when there is none.
        by_class: What ends with one class of data, such as the look-up digests with `contact`.
        whole: What ends only when everything goes, such as sessions.
        end_sessions: Ends every session of every subject; for a restored database.
    """

    present: End
    by_class: Mapping[str, Sequence[End]]
    whole: Sequence[End]
    end_sessions: Callable[[Tx], int]


class Erasure:
    """Erasure and its memory outside the database."""

    def __init__(
        self, database: Store, shredding: Shredding, ends: Ends, ledger: Ledger | None,
        audit: AuditLog, outbox: Outbox,
    ) -> None:  # fmt: skip
        self._database = database
        self._shredding = shredding
        self._ends = ends
        self._ledger = ledger
        self._audit = audit
        self._outbox = outbox

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
        self._remember([done.entry()])
        self._database.scrub()
        return done

    def shred(self, tx: Tx, subject: UUID, actor: str, key_class: str | None = None) -> Erased:
        """Do it inside a unit of work; the ledger follows at the next `remember`."""
        self._shredding.require_free(tx, subject)
        classes = _WHOLE if key_class is None else frozenset({key_class})
        self._end(tx, subject, classes)
        return self._shredding.shred(tx, subject, classes, actor)

    def remember(self, tx: Tx) -> int:
        """Bring the ledger up to date with the database; return how many lines were added."""
        if self._ledger is None:
            return 0
        known = self._ledger.entries()
        erased = {entry["id"] for entry in known if entry["kind"] == "tombstone"}
        lines = [entry for entry in self._shredding.entries(tx) if entry["id"] not in erased]
        here = self._audit.checkpoint(tx)
        points = [entry for entry in known if entry["kind"] == "checkpoint"]
        if here and (not points or points[-1]["position"] < here[0]):
            lines.append({"kind": "checkpoint", "position": here[0], "head": here[1].hex()})
        self._ledger.append(lines)
        return len(lines)

    def remember_due(self, tx: Tx, _now: datetime) -> int:
        """Do `remember` as a task."""
        return self.remember(tx)

    def compare(self) -> dict[str, int]:
        """Compare the database with the ledger and undo what a restored backup brought back.

        Returns:
            How many erasures were repeated and how many sessions ended; zeros when all is well.

        Raises:
            SetupError: The ledger is damaged.
        """
        if self._ledger is None:
            return {"erased_again": 0, "sessions_ended": 0}
        entries = self._ledger.entries()
        with self._database.transaction() as tx:
            again = sum(self._repeat(tx, entry) for entry in entries)
            points = [entry for entry in entries if entry["kind"] == "checkpoint"]
            behind = bool(points) and not self._reaches(tx, points[-1])
            ended = self._ends.end_sessions(tx) if behind or again else 0
            if behind or again:
                self._audit.append(
                    tx, "database.restored", actor="ledger", erased_again=again,
                    sessions_ended=ended,
                )  # fmt: skip
                found = {"erased_again": again, "sessions_ended": ended}
                self._outbox.put(tx, "alarm.database_restored", None, found)
        return {"erased_again": again, "sessions_ended": ended}

    def _repeat(self, tx: Tx, entry: Entry) -> bool:
        if entry["kind"] != "tombstone" or not self._shredding.again(tx, entry):
            return False
        self._end(tx, UUID(entry["subject"]), frozenset(entry["classes"]))
        return True

    def _reaches(self, tx: Tx, point: Entry) -> bool:
        head = self._audit.head_at(tx, point["position"])
        return head is not None and head.hex() == point["head"]

    def _end(self, tx: Tx, subject: UUID, classes: frozenset[str]) -> None:
        for name in sorted(classes):
            for end in self._ends.by_class.get(name, ()):
                end(tx, subject)
        if classes == _WHOLE:
            for end in self._ends.whole:
                end(tx, subject)

    def _remember(self, entries: Sequence[Entry]) -> None:
        if self._ledger is not None:
            self._ledger.append(entries)
