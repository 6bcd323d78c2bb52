"""HTTP routes of the key lifecycle; long-running jobs answer 202 and run in the background."""

from collections.abc import Callable
from functools import partial
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from crypto.errors import KeyFileError
from crypto.recovery import recipient_id
from service.domain import figures
from service.domain.errors import BadInput, Fault
from service.jobs.actions.long import no_job
from service.key_admin.actions import KeyAdmin
from service.key_admin.views import KeyExportView, KeyStepView, KeysView
from service.keys.views import DestructionView
from service.store.engine import Store, Tx
from service.web import approvals
from service.web.approvals import UseApproval
from service.web.call import Call, Reply, accepted
from service.web.jobs import JobView
from service.web.operation import get, post

Step = Callable[[Tx, str, str | None, str], list[str]]
Name = Annotated[str, Field(min_length=1, max_length=32)]
_SCOPE = "keys:admin"
_TIMED = ("409 clocks_disagree", "409 key_not_settled")
"""How a step is refused that must not follow too soon."""


class KeySelection(BaseModel):
    """The keys to operate on: a tier, and optionally one class."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    tier: Name = "kek"
    key_class: Name | None = Field(default=None, alias="class")


class Job(BaseModel):
    """The scope of a long-running job."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    tier: Name | None = None
    key_class: Name | None = Field(default=None, alias="class")


class Destroy(BaseModel):
    """A retired KEK to destroy, with the approval of another operator."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    key_class: Name = Field(alias="class")
    version: Annotated[int, Field(ge=1, le=2**31)]
    grace_days: Annotated[int, Field(ge=1, le=365)] = figures.GRACE_DAYS
    approval: UUID


class Export(BaseModel):
    """The public line of a recipient, with the approval of another operator."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    recipient: Annotated[str, Field(min_length=1, max_length=4096)]
    days: Annotated[int, Field(ge=1, le=3650)] = figures.EXPORT_DAYS
    approval: UUID


_queued = partial(
    post,
    scope=_SCOPE,
    body=Job,
    status=202,
    idempotent=True,
    answer=JobView,
    problems=("429 too_many_jobs",),
)
"""Declares that a view queues a job."""


class KeyRoutes:
    """The operations on keys.

    Args:
        consume: Uses an approval of the caller for an operation, target and parameters; returns
            the responsible actor.
    """

    def __init__(self, database: Store, key_admin: KeyAdmin, consume: UseApproval) -> None:
        self._database = database
        self._key_admin = key_admin
        self._consume = consume

    @get(
        "/v1/keys",
        scope=_SCOPE,
        answer=KeysView,
    )
    def get_keys(self, _call: Call) -> KeysView:
        """Show keys, instances that hold them, and what is half done."""
        with self._database.transaction(read=True) as tx:
            findings = self._key_admin.findings(tx)
            return {**self._key_admin.overview(tx), "findings": findings}

    @post(
        "/v1/keys/generate",
        scope=_SCOPE,
        body=KeySelection,
        idempotent=True,
        answer=KeyStepView,
        problems=("409 key_pending", "409 rotation_running"),
    )
    def generate_keys(self, call: Call) -> KeyStepView:
        """Generate pending keys of a tier."""
        return self._step(call, self._key_admin.generate)

    @post(
        "/v1/keys/promote",
        scope=_SCOPE,
        body=KeySelection,
        idempotent=True,
        answer=KeyStepView,
        problems=(
            *_TIMED,
            "404 key_not_found",
            "404 no_pending_key",
            "404 no_rotation",
            "409 key_not_everywhere",
            "409 no_pending_key",
            "409 not_reindexed",
        ),
    )
    def promote_keys(self, call: Call) -> KeyStepView:
        """Promote pending keys, once every instance holds them."""
        return self._step(call, self._key_admin.promote)

    @post(
        "/v1/keys/retire",
        scope=_SCOPE,
        body=KeySelection,
        idempotent=True,
        answer=KeyStepView,
        problems=(*_TIMED, "409 key_in_use"),
    )
    def retire_keys(self, call: Call) -> KeyStepView:
        """Retire replaced keys that are no longer referenced."""
        return self._step(call, self._key_admin.retire)

    @_queued("/v1/keys/rewrap")
    def rewrap_keys(self, call: Call) -> Reply[JobView]:
        """Rewrap KEKs under the newest root, or data keys under the newest KEK."""
        return self._job(call, "rewrap")

    @_queued("/v1/keys/reencrypt")
    def reencrypt_fields(self, call: Call) -> Reply[JobView]:
        """Re-encrypt every field under new data keys."""
        return self._job(call, "reencrypt")

    @_queued("/v1/keys/reindex")
    def reindex_digests(self, call: Call) -> Reply[JobView]:
        """Write the digests of the newest blind-index key."""
        return self._job(call, "reindex")

    @_queued("/v1/keys/verify")
    def verify_sealed_values(self, call: Call) -> Reply[JobView]:
        """Open every sealed value and sign a report."""
        return self._job(call, "verify")

    @post(
        "/v1/keys/destroy",
        scope=_SCOPE,
        body=Destroy,
        idempotent=True,
        answer=DestructionView,
        problems=(*_TIMED, *approvals.PROBLEMS, "404 key_not_found", "409 key_in_use"),
    )
    def destroy_key(self, call: Call) -> DestructionView:
        """Schedule a retired KEK for destruction, with another operator's approval."""
        wanted = call.read(Destroy)
        with self._database.transaction() as tx:
            target = f"kek {wanted.key_class} {wanted.version}"
            params = {"grace_days": wanted.grace_days}
            actor = self._consume(
                tx,
                call.by,
                number=wanted.approval,
                act="keys.destroy",
                target=target,
                params=params,
            )
            return self._key_admin.destroy(
                tx,
                key_class=wanted.key_class,
                version=wanted.version,
                days=wanted.grace_days,
                actor=actor,
            )

    @post(
        "/v1/keys/export",
        scope=_SCOPE,
        body=Export,
        answer=KeyExportView,
        problems=approvals.PROBLEMS,
    )
    def export_keys(self, call: Call) -> KeyExportView:
        """Export every KEK, sealed for a recipient, with another operator's approval."""
        wanted = call.read(Export)
        try:
            target = f"recipient {recipient_id(wanted.recipient)}"
        except KeyFileError as error:
            raise BadInput(Fault("/recipient", "bad_recipient", str(error))) from None
        with self._database.transaction() as tx:
            params = {"days": wanted.days}
            actor = self._consume(
                tx,
                call.by,
                number=wanted.approval,
                act="keys.export",
                target=target,
                params=params,
            )
            return {"export": self._key_admin.export(tx, wanted.recipient, wanted.days, actor)}

    @get("/v1/jobs/{job}", answer=JobView)
    def get_job(self, call: Call) -> JobView:
        """Show a long job.

        Its requester and key administrators see it.
        """
        with self._database.transaction(read=True) as tx:
            found = self._key_admin.jobs.view(tx, call.id("job", "job"))
        if found["actor"] != call.by.actor and _SCOPE not in call.by.scopes:
            raise no_job()
        return found

    def _step(self, call: Call, act: Step) -> KeyStepView:
        wanted = call.read(KeySelection)
        with self._database.transaction() as tx:
            return {"keys": act(tx, wanted.tier, wanted.key_class, call.by.actor)}

    def _job(self, call: Call, kind: str) -> Reply[JobView]:
        wanted = call.read(Job)
        params = self._key_admin.params(kind, wanted.tier, wanted.key_class)
        with self._database.transaction() as tx:
            number = self._key_admin.jobs.plan(tx, kind, params, call.by.actor)
            tx.flush()
            found = self._key_admin.jobs.view(tx, number)
        return accepted(found, number)
