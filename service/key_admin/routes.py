"""HTTP routes of the key lifecycle; long-running jobs answer 202 and run in the background."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any
from uuid import UUID

import orjson
from flask import Response
from pydantic import BaseModel, ConfigDict, Field

from crypto.errors import KeyFileError
from crypto.recovery import recipient_id
from service.domain import figures
from service.domain.caller import Caller
from service.domain.errors import BadInput, Fault
from service.jobs.actions.long import no_job
from service.key_admin.actions import KeyAdmin
from service.store.engine import Store, Tx
from service.web.api import Api, Call, Operation

Consume = Callable[[Tx, Caller, UUID, str, str, Mapping[str, object]], str]
Name = Annotated[str, Field(min_length=1, max_length=32)]
_SCOPE = "keys:admin"
_STEPS = {
    "generate": "Generate pending keys of a tier",
    "promote": "Promote pending keys, once every instance holds them",
    "retire": "Retire replaced keys that are no longer referenced",
}
_JOBS = {
    "rewrap": "Rewrap KEKs under the newest root, or data keys under the newest KEK",
    "reencrypt": "Re-encrypt every field under new data keys",
    "reindex": "Write the digests of the newest blind-index key",
    "verify": "Open every sealed value and sign a report",
}


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


class KeyRoutes:
    """The operations on keys.

    Args:
        consume: Consumes an approval of the caller for an operation, target and parameters; returns
            the responsible actor.
    """

    def __init__(self, database: Store, key_admin: KeyAdmin, consume: Consume) -> None:
        self._database = database
        self._key_admin = key_admin
        self._consume = consume

    def overview(self, _call: Call) -> Mapping[str, Any]:
        """Show keys, instances, and unfinished steps."""
        with self._database.transaction(read=True) as tx:
            findings = self._key_admin.findings(tx)
            return self._key_admin.overview(tx) | {"findings": findings}

    def step(self, verb: str) -> Callable[[Call], Mapping[str, Any]]:
        """Return the view of a lifecycle step."""
        act = {
            "generate": self._key_admin.generate,
            "promote": self._key_admin.promote,
            "retire": self._key_admin.retire,
        }[verb]

        def view(call: Call) -> Mapping[str, Any]:
            wanted: KeySelection = call.body
            with self._database.transaction() as tx:
                return {"keys": act(tx, wanted.tier, wanted.key_class, call.by.actor)}

        return view

    def job(self, kind: str) -> Callable[[Call], Response]:
        """Return the view that queues a kind of long-running job."""

        def view(call: Call) -> Response:
            wanted: Job = call.body
            params = self._key_admin.params(kind, wanted.tier, wanted.key_class)
            with self._database.transaction() as tx:
                number = self._key_admin.jobs.plan(tx, kind, params, call.by.actor)
                tx.flush()
                found = self._key_admin.jobs.view(tx, number)
            response = Response(orjson.dumps(found), 202, content_type="application/json")
            response.headers["Location"] = f"/v1/jobs/{number}"
            return response

        return view

    def show_job(self, call: Call) -> Mapping[str, Any]:
        """Show the progress of a job to its requester and to key administrators."""
        with self._database.transaction(read=True) as tx:
            found = self._key_admin.jobs.view(tx, call.id("job", "job"))
        if found["actor"] != call.by.actor and _SCOPE not in call.by.scopes:
            raise no_job()
        return found

    def destroy(self, call: Call) -> Mapping[str, Any]:
        """Schedule a retired KEK for destruction."""
        wanted: Destroy = call.body
        with self._database.transaction() as tx:
            target = f"kek {wanted.key_class} {wanted.version}"
            params = {"grace_days": wanted.grace_days}
            actor = self._consume(tx, call.by, wanted.approval, "keys.destroy", target, params)
            return self._key_admin.destroy(
                tx,
                key_class=wanted.key_class,
                version=wanted.version,
                days=wanted.grace_days,
                actor=actor,
            )

    def export(self, call: Call) -> Mapping[str, Any]:
        """Export every KEK, sealed for a recipient that another operator has approved."""
        wanted: Export = call.body
        try:
            target = f"recipient {recipient_id(wanted.recipient)}"
        except KeyFileError as error:
            raise BadInput(Fault("/recipient", "bad_recipient", str(error))) from None
        with self._database.transaction() as tx:
            params = {"days": wanted.days}
            actor = self._consume(tx, call.by, wanted.approval, "keys.export", target, params)
            return {"export": self._key_admin.export(tx, wanted.recipient, wanted.days, actor)}


def routes(api: Api, keys: KeyRoutes) -> None:
    """Register the operations."""
    title = "Show keys, instances that hold them, and what is half done"
    api.add(Operation("GET", "/v1/keys", title, _SCOPE), keys.overview)
    for verb, summary in _STEPS.items():
        operation = Operation(
            "POST", f"/v1/keys/{verb}", summary, _SCOPE, KeySelection, idempotent=True
        )
        api.add(operation, keys.step(verb))
    for kind, summary in _JOBS.items():
        operation = Operation(
            "POST", f"/v1/keys/{kind}", summary, _SCOPE, Job, 202, idempotent=True
        )
        api.add(operation, keys.job(kind))
    summary = "Schedule a retired KEK for destruction, with another operator's approval"
    path = "/v1/keys/destroy"
    api.add(Operation("POST", path, summary, _SCOPE, Destroy, idempotent=True), keys.destroy)
    summary = "Export every KEK, sealed for a recipient, with another operator's approval"
    api.add(Operation("POST", "/v1/keys/export", summary, _SCOPE, Export), keys.export)
    api.add(Operation("GET", "/v1/jobs/{job}", "Show a long job", ""), keys.show_job)
