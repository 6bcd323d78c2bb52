"""HTTP of operators and approvals."""

from collections.abc import Callable
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from service.domain.errors import Forbidden, NotFound
from service.domain.ids import parse_id
from service.operators.actions import Operators, require
from service.operators.model import ACTS
from service.operators.views import ApprovalView, FirstOperator, OperatorPage
from service.store.engine import Store, Tx
from service.web.call import Call
from service.web.operation import get, post
from service.web.paging import Page

_ONE = "/v1/approvals/{approval}"
_DECISION = (
    "403 insufficient_scope",
    "403 same_operator",
    "409 approval_decided",
    "409 approval_void",
    "410 approval_expired",
)
"""How a decision is refused, whatever the act."""
_RECOVERY = (
    "403 own_recovery",
    "409 above_former_level",
    "409 factor_not_accepted",
    "409 no_recovery_address",
    "409 recovery_pending",
    "409 subject_suspended",
    "409 too_many_totp",
    "409 young_recovery_address",
    "503 delivery_not_configured",
)
"""How a recovery of a subject is refused, when it is requested and when it is approved."""
SubjectOf = Callable[[Tx, str, UUID], UUID | None]
Text = Annotated[str, Field(min_length=1, max_length=128)]


class Bootstrap(BaseModel):
    """The bootstrap token from the host, and the access token of the future operator."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    token: Text
    access_token: Annotated[str, Field(min_length=1, max_length=16384)]


class NewApproval(BaseModel):
    """A request for an act that needs two operators."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    act: Text
    target: Text
    params: dict[str, Annotated[str, Field(max_length=1024)]] = Field(
        default_factory=dict, max_length=8
    )
    reason: Annotated[str, Field(min_length=1, max_length=256)]


class OperatorRoutes:
    """HTTP views of operators and approvals.

    Args:
        subject_of: Returns the subject of an access token, if signed in at operator level.
    """

    def __init__(self, database: Store, operators: Operators, subject_of: SubjectOf) -> None:
        self._database = database
        self._operators = operators
        self._subject_of = subject_of

    @post(
        "/v1/operators/bootstrap",
        scope="flows:write",
        body=Bootstrap,
        answer=FirstOperator,
        problems=("403 bootstrap_refused", "404 subject_not_found", "409 already_operator"),
    )
    def bootstrap_operator(self, call: Call) -> FirstOperator:
        """Make one of the first operators."""
        wanted = call.read(Bootstrap)
        with self._database.transaction() as tx:
            subject = self._subject_of(tx, wanted.access_token, call.by.client)
            if subject is None:
                detail = "Sign in at the level of an operator first."
                raise Forbidden("insufficient_user_authentication", detail)
            return {
                "subject": str(subject),
                "roles": self._operators.break_glass.begin(tx, subject, wanted.token),
            }

    @get("/v1/operators", scope="operators:admin", paged=True, answer=OperatorPage)
    def list_operators(self, call: Call) -> OperatorPage:
        """List the operators."""
        with self._database.transaction(read=True) as tx:
            return self._operators.roles.page(tx, call.page)

    def may_request(self, call: Call) -> None:
        """Check that the caller may request an act; an unknown act is refused by the view."""
        act = call.read(NewApproval).act
        if act in ACTS:
            require(call.by, ACTS[act])

    def may_decide(self, call: Call) -> None:
        """Check that the caller may decide an approval."""
        with self._database.transaction(read=True) as tx:
            self._operators.require(tx, call.by, _number(call))

    @post(
        "/v1/approvals",
        body=NewApproval,
        status=201,
        idempotent=True,
        may=may_request,
        answer=ApprovalView,
        problems=(
            *_RECOVERY,
            "403 insufficient_scope",
            "429 too_many_approvals",
        ),
    )
    def request_approval(self, call: Call) -> ApprovalView:
        """Request an act that needs a second operator."""
        new = call.read(NewApproval)
        with self._database.transaction() as tx:
            return self._operators.request(
                tx, call.by, act=new.act, target=new.target, params=new.params, reason=new.reason
            )

    @get("/v1/approvals", paged=True, answer=Page[ApprovalView], problems=("403 operators_only",))
    def list_approvals(self, call: Call) -> Page[ApprovalView]:
        """List the approvals of the last day."""
        _operator(call)
        with self._database.transaction(read=True) as tx:
            return self._operators.waiting(tx, call.page)

    @get(_ONE, answer=ApprovalView, problems=("403 operators_only",))
    def get_approval(self, call: Call) -> ApprovalView:
        """Show an approval."""
        _operator(call)
        with self._database.transaction(read=True) as tx:
            return self._operators.show(tx, _number(call))

    @post(
        f"{_ONE}/approve",
        idempotent=True,
        may=may_decide,
        answer=ApprovalView,
        problems=(
            *_DECISION,
            *_RECOVERY,
            "404 client_not_found",
            "404 role_not_found",
            "404 subject_not_found",
            "409 recovery_address_changed",
            "409 recovery_stopped",
        ),
    )
    def give_approval(self, call: Call) -> ApprovalView:
        """Approve the request of another operator."""
        with self._database.transaction() as tx:
            return self._operators.decide(tx, call.by, _number(call), approve=True)

    @post(
        f"{_ONE}/reject",
        idempotent=True,
        may=may_decide,
        answer=ApprovalView,
        problems=_DECISION,
    )
    def reject_approval(self, call: Call) -> ApprovalView:
        """Reject the request of another operator."""
        with self._database.transaction() as tx:
            return self._operators.decide(tx, call.by, _number(call), approve=False)


def _operator(call: Call) -> None:
    if call.by.operator is None:
        raise Forbidden("operators_only", "Only a signed-in operator may see this.")


def _number(call: Call) -> UUID:
    number = parse_id(call.path["approval"])
    if number is None:
        raise NotFound("approval_not_found", "There is no such approval.")
    return number
