"""HTTP routes of policies, the threshold shift, and risk held against subjects."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

import orjson
from flask import Response
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from service.domain import figures
from service.domain.caller import Caller
from service.domain.errors import BadInput, Fault
from service.policy.actions.documents import PLACES, Lives, loosening
from service.policy.actions.subject_risk import SubjectRisks
from service.policy.model import document, parser
from service.store.engine import Store, Tx
from service.web.api import Api, Call, Operation

Consume = Callable[[Tx, Caller, UUID, str, str, Mapping[str, object]], str]
Queue = Callable[[Tx, str, Mapping[str, Any], str], Mapping[str, Any]]
Hold = Callable[[Tx, UUID], bool]
ACT = "policy.activate"
BACKTEST = "policy.backtest"
"""Kind of the job that compares a document with stored decisions."""
_MOST = 10_000


class Draft(BaseModel):
    """A policy document as JSON."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    document: dict[str, Any]


class Shadowing(BaseModel):
    """Whether the document is evaluated in shadow of the active one."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    enabled: bool = True


class Backtesting(BaseModel):
    """The range of a backtest: oldest decision and maximum number, newest first."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    since: AwareDatetime | None = None
    limit: Annotated[int, Field(ge=1, le=_MOST)] = _MOST


class Approved(BaseModel):
    """The approval of another operator."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    approval: UUID


def _exact(target: float) -> float:
    if round(target, PLACES) != target:
        raise ValueError(f"must have at most {PLACES} decimal places")
    return target


class Parameters(BaseModel):
    """A new threshold shift; a looser one needs an approval."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    tighten: Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False), AfterValidator(_exact)]
    ramp: Annotated[int, Field(ge=1, le=86_400)] = figures.RAMP
    expires_in: Annotated[int, Field(ge=1, le=2_592_000)] = figures.TIGHTEN_LIFE
    approval: UUID | None = None


class PolicyRoutes:
    """The operations on policies.

    Args:
        queue: Queues a job of a kind with parameters for an actor; returns its view.
        consume: Consumes an approval of the caller for an operation, target and parameters; returns
            the responsible actor.
        hold: Locks a subject for a change; returns whether it exists.
    """

    def __init__(
        self,
        database: Store,
        lives: Lives,
        queue: Queue,
        standing: SubjectRisks,
        consume: Consume,
        hold: Hold,
    ) -> None:
        self._database = database
        self._lives = lives
        self._queue = queue
        self._standing = standing
        self._consume = consume
        self._hold = hold

    def listing(self, call: Call) -> Mapping[str, Any]:
        """List the documents, newest first, by pages."""
        with self._database.transaction(read=True) as tx:
            return self._lives.page(tx, call.page)

    def show(self, call: Call) -> Mapping[str, Any]:
        """Show a document."""
        with self._database.transaction(read=True) as tx:
            return self._lives.show(tx, call.path["version"])

    def schema(self, _call: Call) -> Mapping[str, Any]:
        """Return the JSON Schema of a document."""
        return document.schema()

    def draft(self, call: Call) -> Mapping[str, Any]:
        """Store a draft."""
        wanted: Draft = call.body
        try:
            read = parser.read(wanted.document)
            with self._database.transaction() as tx:
                return self._lives.draft(tx, read, call.by.actor)
        except BadInput as error:
            raise BadInput(*(_below(fault) for fault in error.faults), code=error.code) from None

    def delete(self, call: Call) -> None:
        """Delete a document that was never active."""
        with self._database.transaction() as tx:
            self._lives.delete(tx, call.path["version"], call.by.actor)

    def validate(self, call: Call) -> Mapping[str, Any]:
        """Check that a document can be satisfied in this deployment."""
        with self._database.transaction() as tx:
            return self._lives.validate(tx, call.path["version"], call.by.actor)

    def backtest(self, call: Call) -> Response:
        """Queue a comparison of a document with stored decisions."""
        wanted: Backtesting = call.body
        since = wanted.since.isoformat() if wanted.since else None
        with self._database.transaction() as tx:
            params = {
                "version": self._lives.full(tx, call.path["version"]),
                "since": since,
                "limit": wanted.limit,
            }
            job = self._queue(tx, BACKTEST, params, call.by.actor)
        response = Response(orjson.dumps(job), 202, content_type="application/json")
        response.headers["Location"] = f"/v1/jobs/{job['id']}"
        return response

    def shadow(self, call: Call) -> Mapping[str, Any]:
        """Evaluate a document in shadow of the active one, or stop doing so."""
        wanted: Shadowing = call.body
        with self._database.transaction() as tx:
            version, actor = call.path["version"], call.by.actor
            return self._lives.shadow(tx, version, actor, on=wanted.enabled)

    def activate(self, call: Call) -> Mapping[str, Any]:
        """Activate a document, with the approval of a second operator."""
        wanted: Approved = call.body
        with self._database.transaction() as tx:
            # An approval names the full hash: another document could match a prefix.
            version = self._lives.full(tx, call.path["version"])
            actor = self._consume(tx, call.by, wanted.approval, ACT, version, {})
            return self._lives.activate(tx, version, actor)

    def rollback(self, call: Call) -> Mapping[str, Any]:
        """Deactivate a document, with the approval of a second operator."""
        wanted: Approved = call.body
        with self._database.transaction() as tx:
            version = self._lives.full(tx, call.path["version"])
            actor = self._consume(tx, call.by, wanted.approval, ACT, f"rollback {version}", {})
            return self._lives.rollback(tx, version, actor)

    def parameters(self, _call: Call) -> Mapping[str, Any]:
        """Show the threshold shift."""
        with self._database.transaction(read=True) as tx:
            return self._lives.parameters(tx)

    def tighten(self, call: Call) -> Mapping[str, Any]:
        """Set the threshold shift."""
        wanted: Parameters = call.body
        life = timedelta(seconds=wanted.expires_in)
        with self._database.transaction() as tx:
            actor, approved = call.by.actor, wanted.approval is not None
            if wanted.approval is not None:
                params = {"ramp": wanted.ramp, "expires_in": wanted.expires_in}
                target = loosening(wanted.tighten)
                actor = self._consume(tx, call.by, wanted.approval, ACT, target, params)
            return self._lives.tighten(
                tx,
                target=wanted.tighten,
                ramp=wanted.ramp,
                life=life,
                actor=actor,
                approved=approved,
            )

    def clear(self, call: Call) -> None:
        """Clear the risk held against a subject."""
        subject = call.id("subject", "subject")
        with self._database.transaction() as tx:
            self._hold(tx, subject)
            self._standing.clear(tx, subject, call.by.actor)


def routes(api: Api, policies: PolicyRoutes) -> None:
    """Register the operations."""
    one, read, write = "/v1/policies/{version}", "policy:read", "policy:write"
    table = (
        (
            Operation(
                "GET", "/v1/policies", "List the policy documents, newest first", read, paged=True
            ),
            policies.listing,
        ),
        (
            Operation("GET", "/v1/policy-schema", "The JSON Schema of a policy document", read),
            policies.schema,
        ),
        (
            Operation("GET", one, "Show a policy document, and how it did as a shadow", read),
            policies.show,
        ),
        (
            Operation(
                "POST",
                "/v1/policies",
                "Draft a policy document",
                write,
                Draft,
                201,
                idempotent=True,
            ),
            policies.draft,
        ),
        (
            Operation(
                "DELETE", one, "Delete a policy document that was never active", write, status=204
            ),
            policies.delete,
        ),
        (
            Operation(
                "POST",
                f"{one}/validate",
                "Check that a policy can be satisfied here",
                write,
                idempotent=True,
            ),
            policies.validate,
        ),
        (
            Operation(
                "POST",
                f"{one}/backtest",
                "Compare a policy with stored decisions, as a job",
                write,
                Backtesting,
                202,
                idempotent=True,
            ),
            policies.backtest,
        ),
        (
            Operation(
                "POST",
                f"{one}/shadow",
                "Evaluate a policy in shadow of the active one",
                write,
                Shadowing,
                idempotent=True,
            ),
            policies.shadow,
        ),
        (
            Operation(
                "POST",
                f"{one}/activate",
                "Activate a policy, with another operator's approval",
                write,
                Approved,
                idempotent=True,
            ),
            policies.activate,
        ),
        (
            Operation(
                "POST",
                f"{one}/rollback",
                "Reactivate the previous policy, with another operator's approval",
                write,
                Approved,
                idempotent=True,
            ),
            policies.rollback,
        ),
        (
            Operation("GET", "/v1/risk-parameters", "Show the live risk parameters", read),
            policies.parameters,
        ),
        (
            Operation(
                "PATCH", "/v1/risk-parameters", "Set the live risk parameters", write, Parameters
            ),
            policies.tighten,
        ),
        (
            Operation(
                "DELETE",
                "/v1/subjects/{subject}/risk",
                "Clear the risk held against a subject",
                write,
                status=204,
            ),
            policies.clear,
        ),
    )
    for operation, view in table:
        api.add(operation, view)


def _below(fault: Fault) -> Fault:
    return Fault(f"/document{fault.pointer}", fault.code, fault.detail)
