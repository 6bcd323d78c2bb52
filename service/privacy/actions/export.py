"""Export all personal data of a subject (GDPR articles 15 and 20), as a long job."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import orjson

from service.audit.actions.audit_log import AuditLog
from service.domain.bounds import USUAL, Bounds, room_in
from service.domain.clock import Clock, rfc3339
from service.domain.errors import NotFound, TooMany
from service.domain.ids import new_id
from service.jobs.actions.long import LongJobs
from service.jobs.actions.work import JobStep, Work
from service.keys.actions.crypto_shredding import SUBJECT_CLASSES
from service.privacy import store
from service.privacy.store import SubjectExport
from service.privacy.views import ExportDocument
from service.store.engine import Store, Tx
from service.store.erasing import erases
from service.store.personal_data import TableExport, Whose, held, unlinked
from service.web.jobs import JobView

FORMAT: Final = 1
LIFE: Final = timedelta(hours=1)
"""How long a finished export can be collected."""
WAITS: Final = timedelta(hours=24)
"""How long a queued export may wait to be made."""
KIND: Final = "export"


@dataclass(frozen=True, slots=True)
class ExportDependencies:
    """What an export needs from other features.

    Args:
        present: Locks the subject for a change; raises NotFound if unknown.
        bucket: Returns the keyed digest under which a subject's attempts are counted.
        notify: Sends a notice to the subject's addresses.
    """

    present: Callable[[Tx, UUID], object]
    bucket: Callable[[Tx, UUID], str]
    notify: Callable[[Tx, UUID, str], None]


class Exports:
    """Exports of personal data."""

    def __init__(
        self,
        *,
        database: Store,
        dependencies: ExportDependencies,
        audit: AuditLog,
        clock: Clock,
        issuer: str,
        bounds: Bounds = USUAL,
    ) -> None:
        self._bounds = bounds
        self._database = database
        self._dependencies = dependencies
        self._audit = audit
        self._clock = clock
        self._issuer = issuer

    def request(self, tx: Tx, *, jobs: LongJobs, subject: UUID, actor: str, by: str) -> JobView:
        """Queue an export and notify the subject; return the job.

        Args:
            tx: A transaction.
            jobs: The long jobs.
            subject: The subject.
            actor: Who may collect it.
            by: Who requested it: the same, or two operators.
        """
        now = self._clock.now()
        most = self._bounds.max_exports
        waiting = store.waiting(tx, subject, now)
        if len(waiting) >= most:
            detail = f"{most} exports of this subject are queued or not collected."
            raise TooMany("too_many_exports", detail, room_in(waiting, most, now))
        row = SubjectExport(
            id=new_id(now), subject_id=subject, actor=actor, created_at=now, expires_at=now + WAITS
        )
        tx.add(row)
        number = jobs.plan(tx, KIND, {"export": str(row.id)}, actor)
        self._audit.append(
            tx, "subject.export_requested", subject=subject, actor=by, export=str(row.id)
        )
        self._dependencies.notify(tx, subject, "subject.export_requested")
        tx.flush()
        return jobs.view(tx, number)

    def work(self, params: Mapping[str, object]) -> Work:
        """Return the work of one export: a transaction per table, then one to store the result."""
        number = UUID(str(params["export"]))
        sections = list[TableExport]()

        def steps() -> Iterator[JobStep]:
            with self._database.transaction(read=True) as tx:
                subject = self._row(tx, number).subject_id
            sections.clear()
            for section in self._sections(subject):
                sections.append(section)
                lost = section["unreadable"]
                bad = ({"name": section["name"], "unreadable": lost},) if lost else ()
                yield JobStep(1, bad)

        def finish() -> Mapping[str, object]:
            with self._database.transaction() as tx:
                self._dependencies.present(tx, self._row(tx, number).subject_id)
                row = self._row(tx, number, lock=True)
                row.content = orjson.dumps(self._document(row.subject_id, sections))
                row.expires_at = self._clock.now() + LIFE
                self._audit.append(
                    tx,
                    "subject.exported",
                    subject=row.subject_id,
                    actor=row.actor,
                    export=str(number),
                )
                path = f"/v1/subjects/{row.subject_id}/export/{number}"
                return {"result": path, "expires_at": rfc3339(row.expires_at)}

        return Work(lambda: len(held()), steps, finish)

    def collect(self, tx: Tx, subject: UUID, number: UUID, actor: str) -> bytes:
        """Return a finished export to the actor who requested it.

        Raises:
            NotFound: The subject has no such export for this actor, or it is expired or not ready.
        """
        row = self._row(tx, number)
        content = row.content
        if row.subject_id != subject or row.actor != actor or content is None:
            raise _none()
        self._audit.append(
            tx, "subject.export_collected", subject=subject, actor=actor, export=str(number)
        )
        return content

    def whole(self, subject: UUID, actor: str) -> ExportDocument:
        """Return an export at once without storing it, for the command on the host."""
        with self._database.transaction() as tx:
            self._dependencies.present(tx, subject)
            self._audit.append(tx, "subject.exported", subject=subject, actor=actor)
        return self._document(subject, list(self._sections(subject)))

    # An export contains data of every class.
    @erases(*SUBJECT_CLASSES, tables=("subject_export",))
    def delete_for(self, tx: Tx, subject: UUID) -> None:
        """Delete the exports of a subject of which any data is erased."""
        store.delete_for(tx, subject)

    def drop_expired(self, tx: Tx, now: datetime) -> int:
        """Delete expired exports; return how many."""
        return store.drop_expired(tx, now)

    def _sections(self, subject: UUID) -> Iterator[TableExport]:
        with self._database.transaction(read=True) as tx:
            whose = Whose(subject, self._dependencies.bucket(tx, subject))
        for table in held():
            with self._database.transaction(read=True) as tx:
                section = table.section(tx, whose)
            yield section

    def _document(self, subject: UUID, sections: list[TableExport]) -> ExportDocument:
        return {
            "format": FORMAT,
            "subject": str(subject),
            "issuer": self._issuer,
            "made_at": rfc3339(self._clock.now()),
            "sections": sections,
            "not_found_by_subject": list(unlinked()),
        }

    def _row(self, tx: Tx, number: UUID, *, lock: bool = False) -> SubjectExport:
        row = store.get(tx, number, lock=lock)
        if row is None or row.expires_at <= self._clock.now():
            raise _none()
        return row


def _none() -> NotFound:
    return NotFound("export_not_found", "No such export can be collected.")
