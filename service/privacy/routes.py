"""HTTP of erasure and export."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from flask import Response

from service.domain.caller import Caller
from service.domain.errors import Forbidden
from service.domain.ids import parse_id
from service.jobs.actions.long import LongJobs
from service.keys.actions.record_signing import RecordKeys
from service.keys.views import ErasureView, RecordKeySet
from service.privacy.actions.erasure import Erasure
from service.privacy.actions.export import Exports
from service.privacy.views import ExportDocument
from service.store.engine import Store, Tx
from service.web.approvals import REQUIRED as APPROVAL
from service.web.approvals import UseApproval
from service.web.call import Call, Reply, accepted
from service.web.codes import DATABASE
from service.web.jobs import JobView
from service.web.operation import delete, get, post

SCOPE: Final = "subjects:export"
ACT: Final = "subjects.export"
GRANTED: Final = "export:data"
_PATH: Final = "/v1/subjects/{subject}"


class UseGrant(Protocol):
    """Uses a grant of the person for an act on its data."""

    def __call__(self, tx: Tx, caller: Caller, *, subject: UUID, act: str, grant: str) -> None:
        """Return if the grant is for the act; raises Forbidden."""


@dataclass(frozen=True, slots=True)
class PrivacyDependencies:
    """Access checks for erasure and export.

    Args:
        served: Raises NotFound unless the caller serves the subject.
        locked: Does the same and locks the subject for a change.
        granted: Uses a grant for an act on a subject; raises Forbidden.
        consume: Uses an approval of the caller for one act and target; returns the actors who
            agreed on it.
    """

    served: Callable[[Tx, Caller, UUID], object]
    locked: Callable[[Tx, Caller, UUID], object]
    granted: UseGrant
    consume: UseApproval


class PrivacyRoutes:
    """HTTP views of erasure and export."""

    def __init__(
        self,
        database: Store,
        *,
        erasure: Erasure,
        exports: Exports,
        jobs: LongJobs,
        records: RecordKeys,
        dependencies: PrivacyDependencies,
    ) -> None:
        self._database = database
        self._erasure = erasure
        self._exports = exports
        self._jobs = jobs
        self._records = records
        self._dependencies = dependencies

    @delete(_PATH, scope="subjects:erase", answer=ErasureView, problems=("409 legal_hold",))
    def erase_subject(self, call: Call) -> ErasureView:
        """Erase a subject; returns the certificate."""
        subject = call.id("subject", "subject")
        with self._database.transaction(read=True) as tx:
            self._dependencies.served(tx, call.by, subject)
        return self._erasure.erase(subject, call.by.actor).to_json()

    @post(
        f"{_PATH}/export",
        scope=SCOPE,
        status=202,
        idempotent=True,
        headers=("Grant", "Approval"),
        answer=JobView,
        problems=(
            *APPROVAL,
            "403 grant_invalid",
            "403 grant_required",
            "429 too_many_exports",
            "429 too_many_jobs",
        ),
    )
    def export_subject(self, call: Call) -> Reply[JobView]:
        """Export all personal data of a subject, as a job.

        A client sends the person's grant, an operator the approval of another.
        """
        subject = call.id("subject", "subject")
        with self._database.transaction() as tx:
            self._dependencies.locked(tx, call.by, subject)
            by = self._require_consent(tx, call, subject)
            job = self._exports.request(
                tx, jobs=self._jobs, subject=subject, actor=call.by.actor, by=by
            )
        return accepted(job, job["id"])

    @get(f"{_PATH}/export/{{export}}", scope=SCOPE, answer=ExportDocument)
    def collect_export(self, call: Call) -> Response:
        """Collect an export within its hour.

        Only the caller who requested it may collect it.
        """
        subject = call.id("subject", "subject")
        number = call.id("export", "export")
        with self._database.transaction() as tx:
            self._dependencies.locked(tx, call.by, subject)
            content = self._exports.collect(tx, subject, number, call.by.actor)
        return Response(content, 200, content_type="application/json")

    @get(
        "/.well-known/lamina-log-keys",
        scope=None,
        limit=600,
        answer=RecordKeySet,
        problems=DATABASE,
    )
    def list_log_keys(self, _call: Call) -> RecordKeySet:
        """List the keys that sign certificates.

        Their public parts verify certificates.
        """
        with self._database.transaction(read=True) as tx:
            return self._records.published(tx)

    def _require_consent(self, tx: Tx, call: Call, subject: UUID) -> str:
        if call.by.operator is None:
            self._dependencies.granted(
                tx, call.by, subject=subject, act=GRANTED, grant=call.header("Grant")
            )
            return call.by.actor
        approval = parse_id(call.header("Approval"))
        if approval is None:
            detail = "This needs another operator's approval, in the header Approval."
            raise Forbidden("approval_required", detail, act=ACT)
        return self._dependencies.consume(
            tx, call.by, number=approval, act=ACT, target=str(subject)
        )
