"""HTTP of operators and approvals."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from service.domain.errors import Forbidden, NotFound
from service.domain.ids import parse_id
from service.operators.actions import Operators, require
from service.operators.model import ACTS
from service.store.engine import Store, Tx
from service.web.api import Api, Call, Operation

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

    def bootstrap(self, call: Call) -> Mapping[str, Any]:
        """Make one of the first operators."""
        wanted: Bootstrap = call.body
        with self._database.transaction() as tx:
            subject = self._subject_of(tx, wanted.access_token, call.by.client)
            if subject is None:
                detail = "Sign in at the level of an operator first."
                raise Forbidden("insufficient_user_authentication", detail)
            return {
                "subject": str(subject),
                "roles": self._operators.begin(tx, subject, wanted.token),
            }

    def listing(self, call: Call) -> Mapping[str, Any]:
        """List the operators."""
        with self._database.transaction(read=True) as tx:
            return self._operators.page(tx, call.page) | {"short": self._operators.short(tx)}

    def request(self, call: Call) -> Mapping[str, Any]:
        """Request an act that needs a second operator."""
        new: NewApproval = call.body
        with self._database.transaction() as tx:
            return self._operators.request(
                tx, call.by, act=new.act, target=new.target, params=new.params, reason=new.reason
            )

    def may_request(self, call: Call) -> None:
        """Check that the caller may request an act; an unknown act is refused by the view."""
        if call.body.act in ACTS:
            require(call.by, ACTS[call.body.act])

    def may_decide(self, call: Call) -> None:
        """Check that the caller may decide an approval."""
        with self._database.transaction(read=True) as tx:
            self._operators.require(tx, call.by, _number(call))

    def waiting(self, call: Call) -> Mapping[str, Any]:
        """List the approvals of the last day."""
        _operator(call)
        with self._database.transaction(read=True) as tx:
            return self._operators.waiting(tx, call.page)

    def show(self, call: Call) -> Mapping[str, Any]:
        """Show one approval."""
        _operator(call)
        with self._database.transaction(read=True) as tx:
            return self._operators.show(tx, _number(call))

    def approve(self, call: Call) -> Mapping[str, Any]:
        """Approve the request of another operator."""
        with self._database.transaction() as tx:
            return self._operators.decide(tx, call.by, _number(call), approve=True)

    def reject(self, call: Call) -> Mapping[str, Any]:
        """Reject the request of another operator."""
        with self._database.transaction() as tx:
            return self._operators.decide(tx, call.by, _number(call), approve=False)


def routes(api: Api, operators: OperatorRoutes) -> None:
    """Register the operations of operators and approvals."""
    one = "/v1/approvals/{approval}"
    api.add(
        Operation(
            "POST",
            "/v1/operators/bootstrap",
            "Make one of the first operators",
            "flows:write",
            Bootstrap,
        ),
        operators.bootstrap,
    )
    api.add(
        Operation("GET", "/v1/operators", "List the operators", "operators:admin", paged=True),
        operators.listing,
    )
    api.add(
        Operation(
            "POST",
            "/v1/approvals",
            "Request an act that needs a second operator",
            "",
            NewApproval,
            201,
            idempotent=True,
        ),
        operators.request,
        operators.may_request,
    )
    api.add(
        Operation("GET", "/v1/approvals", "List the approvals of the last day", "", paged=True),
        operators.waiting,
    )
    api.add(Operation("GET", one, "Show an approval", ""), operators.show)
    for verb, view in (("approve", operators.approve), ("reject", operators.reject)):
        summary = f"{verb.capitalize()} the request of another operator"
        operation = Operation("POST", f"{one}/{verb}", summary, "", idempotent=True)
        api.add(operation, view, operators.may_decide)


def _operator(call: Call) -> None:
    if call.by.operator is None:
        raise Forbidden("operators_only", "Only a signed-in operator may see this.")


def _number(call: Call) -> UUID:
    number = parse_id(call.path["approval"])
    if number is None:
        raise NotFound("approval_not_found", "There is no such approval.")
    return number
