"""HTTP routes of policies, the threshold shift, and risk held against subjects."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from service.domain import figures
from service.domain.errors import BadInput, Fault
from service.policy.actions.documents import PLACES, Lives, loosening
from service.policy.actions.subject_risk import SubjectRisks
from service.policy.model import document, parser
from service.policy.views import (
    PolicySchema,
    PolicySummary,
    PolicyView,
    RiskParameters,
    ValidatedPolicy,
)
from service.store.engine import Store, Tx
from service.web import approvals
from service.web.approvals import UseApproval
from service.web.call import Call, Reply, accepted
from service.web.jobs import JobView
from service.web.operation import delete, get, patch, post
from service.web.paging import Page

Queue = Callable[[Tx, str, Mapping[str, object], str], JobView]
Hold = Callable[[Tx, UUID], bool]
_ONE = "/v1/policies/{version}"
ACT = "policy.activate"
BACKTEST = "policy.backtest"
"""Kind of the job that compares a document with stored decisions."""
_MOST = 10_000
_ONE_DOCUMENT = ("404 policy_not_found",)


class Draft(BaseModel):
    """A policy document as JSON."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    document: dict[str, object]


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
        consume: Uses an approval of the caller for an operation, target and parameters; returns
            the responsible actor.
        hold: Locks a subject for a change; returns whether it exists.
    """

    def __init__(
        self,
        *,
        database: Store,
        lives: Lives,
        queue: Queue,
        standing: SubjectRisks,
        consume: UseApproval,
        hold: Hold,
    ) -> None:
        self._database = database
        self._lives = lives
        self._queue = queue
        self._standing = standing
        self._consume = consume
        self._hold = hold

    @get("/v1/policies", scope="policy:read", paged=True, answer=Page[PolicySummary])
    def list_policies(self, call: Call) -> Page[PolicySummary]:
        """List the policy documents, newest first."""
        with self._database.transaction(read=True) as tx:
            return self._lives.page(tx, call.page)

    @get(_ONE, scope="policy:read", answer=PolicyView, problems=(*_ONE_DOCUMENT,))
    def get_policy(self, call: Call) -> PolicyView:
        """Show a policy document, and how it did as a shadow."""
        with self._database.transaction(read=True) as tx:
            return self._lives.show(tx, call.path["version"])

    @get("/v1/policy-schema", scope="policy:read", answer=PolicySchema)
    def get_policy_schema(self, _call: Call) -> PolicySchema:
        """The JSON Schema of a policy document."""
        return document.schema()

    @post(
        "/v1/policies",
        scope="policy:write",
        body=Draft,
        status=201,
        idempotent=True,
        answer=PolicyView,
        problems=("409 too_many_drafts", "422 bad_policy"),
    )
    def draft_policy(self, call: Call) -> PolicyView:
        """Draft a policy document."""
        wanted = call.read(Draft)
        try:
            read = parser.read(wanted.document)
            with self._database.transaction() as tx:
                return self._lives.draft(tx, read, call.by.actor)
        except BadInput as error:
            raise BadInput(*(_below(fault) for fault in error.faults), code=error.code) from None

    @delete(
        _ONE,
        scope="policy:write",
        status=204,
        problems=(*_ONE_DOCUMENT, "409 policy_in_use", "409 policy_moved"),
    )
    def delete_policy(self, call: Call) -> None:
        """Delete a policy document that was never active."""
        with self._database.transaction() as tx:
            self._lives.delete(tx, call.path["version"], call.by.actor)

    @post(
        f"{_ONE}/validate",
        scope="policy:write",
        idempotent=True,
        answer=ValidatedPolicy,
        problems=(*_ONE_DOCUMENT, "409 policy_changed", "422 bad_policy"),
    )
    def validate_policy(self, call: Call) -> ValidatedPolicy:
        """Check that a policy can be satisfied here."""
        with self._database.transaction() as tx:
            return self._lives.validate(tx, call.path["version"], call.by.actor)

    @post(
        f"{_ONE}/backtest",
        scope="policy:write",
        body=Backtesting,
        status=202,
        idempotent=True,
        answer=JobView,
        problems=(*_ONE_DOCUMENT, "429 too_many_jobs"),
    )
    def backtest_policy(self, call: Call) -> Reply[JobView]:
        """Compare a policy with stored decisions, as a job.

        The report of the job holds the comparison.
        """
        wanted = call.read(Backtesting)
        since = wanted.since.isoformat() if wanted.since else None
        with self._database.transaction() as tx:
            params = {
                "version": self._lives.full(tx, call.path["version"]),
                "since": since,
                "limit": wanted.limit,
            }
            job = self._queue(tx, BACKTEST, params, call.by.actor)
        return accepted(job, job["id"])

    @post(
        f"{_ONE}/shadow",
        scope="policy:write",
        body=Shadowing,
        idempotent=True,
        answer=PolicyView,
        problems=(
            *_ONE_DOCUMENT,
            "409 policy_active",
            "409 policy_moved",
            "409 policy_not_validated",
        ),
    )
    def shadow_policy(self, call: Call) -> PolicyView:
        """Evaluate a policy in shadow of the active one.

        With `enabled` false, it is no longer evaluated.
        """
        wanted = call.read(Shadowing)
        with self._database.transaction() as tx:
            version = call.path["version"]
            actor = call.by.actor
            return self._lives.shadow(tx, version, actor, on=wanted.enabled)

    @post(
        f"{_ONE}/activate",
        scope="policy:write",
        body=Approved,
        idempotent=True,
        answer=PolicyView,
        problems=(
            *_ONE_DOCUMENT,
            *approvals.PROBLEMS,
            "409 policy_active",
            "409 policy_changed",
            "409 policy_moved",
            "409 policy_not_validated",
            "422 bad_policy",
        ),
    )
    def activate_policy(self, call: Call) -> PolicyView:
        """Activate a policy, with another operator's approval."""
        wanted = call.read(Approved)
        with self._database.transaction() as tx:
            # An approval names the full hash: another document could match a prefix.
            version = self._lives.full(tx, call.path["version"])
            actor = self._consume(tx, call.by, number=wanted.approval, act=ACT, target=version)
            return self._lives.activate(tx, version, actor)

    @post(
        f"{_ONE}/rollback",
        scope="policy:write",
        body=Approved,
        idempotent=True,
        answer=PolicyView,
        problems=(
            *_ONE_DOCUMENT,
            *approvals.PROBLEMS,
            "409 policy_changed",
            "409 policy_first",
            "409 policy_moved",
            "409 policy_not_active",
            "422 bad_policy",
        ),
    )
    def rollback_policy(self, call: Call) -> PolicyView:
        """Reactivate the previous policy, with another operator's approval.

        The document that was active before this one becomes active.
        """
        wanted = call.read(Approved)
        with self._database.transaction() as tx:
            version = self._lives.full(tx, call.path["version"])
            actor = self._consume(
                tx, call.by, number=wanted.approval, act=ACT, target=f"rollback {version}"
            )
            return self._lives.rollback(tx, version, actor)

    @get(
        "/v1/risk-parameters",
        scope="policy:read",
        answer=RiskParameters,
        problems=("404 policy_not_found",),
    )
    def get_risk_parameters(self, _call: Call) -> RiskParameters:
        """Show the live risk parameters."""
        with self._database.transaction(read=True) as tx:
            return self._lives.parameters(tx)

    @patch(
        "/v1/risk-parameters",
        scope="policy:write",
        body=Parameters,
        answer=RiskParameters,
        problems=(
            *approvals.PROBLEMS,
            "403 approval_required",
            "404 policy_not_found",
            "409 policy_moved",
        ),
    )
    def set_risk_parameters(self, call: Call) -> RiskParameters:
        """Set the live risk parameters.

        A shift of the thresholds to the looser side takes an approval.
        """
        wanted = call.read(Parameters)
        life = timedelta(seconds=wanted.expires_in)
        with self._database.transaction() as tx:
            actor = call.by.actor
            approved = wanted.approval is not None
            if wanted.approval is not None:
                params = {"ramp": wanted.ramp, "expires_in": wanted.expires_in}
                target = loosening(wanted.tighten)
                actor = self._consume(
                    tx, call.by, number=wanted.approval, act=ACT, target=target, params=params
                )
            return self._lives.tighten(
                tx,
                target=wanted.tighten,
                ramp=wanted.ramp,
                life=life,
                actor=actor,
                approved=approved,
            )

    @delete(
        "/v1/subjects/{subject}/risk",
        scope="policy:write",
        status=204,
        problems=("404 risk_not_found",),
    )
    def clear_subject_risk(self, call: Call) -> None:
        """Clear the risk held against a subject."""
        subject = call.id("subject", "subject")
        with self._database.transaction() as tx:
            self._hold(tx, subject)
            self._standing.clear(tx, subject, call.by.actor)


def _below(fault: Fault) -> Fault:
    return Fault(f"/document{fault.pointer}", fault.code, fault.detail)
