"""HTTP of erasure and export."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import orjson
from flask import Response

from service.domain.caller import Caller
from service.domain.errors import Forbidden
from service.domain.ids import parse_id
from service.jobs.actions.long import LongJobs
from service.keys.actions.record_signing import RecordKeys
from service.privacy.actions.erasure import Erasure
from service.privacy.actions.export import Exports
from service.store.engine import Store, Tx
from service.web.api import Api, Call, Operation

SCOPE: Final = "subjects:export"
ACT: Final = "subjects.export"
GRANTED: Final = "export:data"
_PATH: Final = "/v1/subjects/{subject}"


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
    granted: Callable[[Tx, Caller, UUID, str, str], None]
    consume: Callable[[Tx, Caller, UUID, str, str], str]


class PrivacyRoutes:
    """HTTP views of erasure and export."""

    def __init__(
        self,
        database: Store,
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

    def erase(self, call: Call) -> Mapping[str, Any]:
        """Erase a subject; return the certificate."""
        subject = call.id("subject", "subject")
        with self._database.transaction(read=True) as tx:
            self._dependencies.served(tx, call.by, subject)
        return self._erasure.erase(subject, call.by.actor).to_json()

    def export(self, call: Call) -> Response:
        """Queue an export: of the person with a grant, or of an operator with an approval."""
        subject = call.id("subject", "subject")
        with self._database.transaction() as tx:
            self._dependencies.locked(tx, call.by, subject)
            by = self._stands(tx, call, subject)
            job = self._exports.request(
                tx, jobs=self._jobs, subject=subject, actor=call.by.actor, by=by
            )
        response = Response(orjson.dumps(job), 202, content_type="application/json")
        response.headers["Location"] = f"/v1/jobs/{job['id']}"
        return response

    def collect(self, call: Call) -> Response:
        """Return an export to the caller who requested it."""
        subject, number = call.id("subject", "subject"), call.id("export", "export")
        with self._database.transaction() as tx:
            self._dependencies.locked(tx, call.by, subject)
            content = self._exports.collect(tx, subject, number, call.by.actor)
        return Response(content, 200, content_type="application/json")

    def keys(self, _call: Call) -> Mapping[str, Any]:
        """Publish the public keys that verify certificates."""
        with self._database.transaction(read=True) as tx:
            return self._records.published(tx)

    def _stands(self, tx: Tx, call: Call, subject: UUID) -> str:
        if call.by.operator is None:
            self._dependencies.granted(tx, call.by, subject, GRANTED, call.header("Grant"))
            return call.by.actor
        approval = parse_id(call.header("Approval"))
        if approval is None:
            detail = "This needs another operator's approval, in the header Approval."
            raise Forbidden("approval_required", detail, act=ACT)
        return self._dependencies.consume(tx, call.by, approval, ACT, str(subject))


def routes(api: Api, privacy: PrivacyRoutes) -> None:
    """Register the operations of erasure and export."""
    log_keys = "/.well-known/lamina-log-keys"
    table = (
        (
            Operation(
                "DELETE", _PATH, "Erase a subject; returns the certificate", "subjects:erase"
            ),
            privacy.erase,
        ),
        (
            Operation(
                "POST",
                f"{_PATH}/export",
                "Export all personal data of a subject, as a job",
                SCOPE,
                status=202,
                idempotent=True,
                headers=("Grant", "Approval"),
            ),
            privacy.export,
        ),
        (
            Operation(
                "GET", f"{_PATH}/export/{{export}}", "Collect an export within its hour", SCOPE
            ),
            privacy.collect,
        ),
        (
            Operation(
                "GET", log_keys, "List the keys that sign certificates", None, limit="600/minute"
            ),
            privacy.keys,
        ),
    )
    for operation, view in table:
        api.add(operation, view)
