"""HTTP routes for flows: responses list the legal actions with schema and challenge."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Final, Literal, get_args
from uuid import UUID

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    RootModel,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue, SkipJsonSchema

from service.accounts.model import identify
from service.authenticators.factor import AnyFactor
from service.domain.assurance import Acr, current_assurance, parse_acr
from service.domain.caller import Caller
from service.domain.clock import Clock
from service.domain.errors import BadInput, Fault
from service.login.actions import Login
from service.login.decisions import TYPED
from service.login.model import Begin, Flow, FlowKind, FlowOutcome
from service.login.views import ActionView, FlowView, shown, with_results
from service.risk.model import ClientContext
from service.web.call import Call
from service.web.operation import delete, get, post
from service.web.queues import Effort

RISK: Final = "risk:read"
"""The scope with which a flow discloses its risk."""
_MEDIA = 12 * 1024 * 1024
_PATH = "/v1/flows/{flow}"
_DENIED: Final = (
    "403 critical_risk",
    "403 denied_by_rule",
    "403 identifier_moved",
    "403 suspended",
    "403 unmet_authentication_requirements",
    "403 young_authenticator",
)
_IN_FLOW: Final = (
    *_DENIED,
    "409 action_not_available",
    "422 verification_failed",
    "429 too_many_attempts",
    "503 face_unavailable",
)
"""What an action can answer, whether it begins the flow or not."""
_NO_INPUT: Final[JsonSchemaValue] = {"type": "object", "additionalProperties": False}
Text = Annotated[str, Field(max_length=1024)]
Act = Literal[
    "enroll:password",
    "enroll:totp",
    "enroll:recovery_codes",
    "enroll:face",
    "revoke:authenticator",
    "change:identifier",
    "change:behavior",
    "export:data",
    "lift:suspension",
]


def _no_proof(session: object) -> None:
    if session is None:
        return
    raise ValueError("a session id proves nothing; send its access token in access_token")


class Context(BaseModel):
    """The client's description of the person's environment."""

    model_config = ConfigDict(extra="forbid")

    ip: Annotated[str, Field(max_length=64)] | None = None
    user_agent: Text | None = None
    device_id: Annotated[str, Field(max_length=256)] | None = None
    device_token: Annotated[str, Field(max_length=4096)] = ""
    accept_language: Text | None = None


class FirstAction(BaseModel):
    """An action sent with the request that begins the flow."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(max_length=32)]
    input: dict[str, object]


class NewFlow(BaseModel):
    """A flow to begin."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["login", "step_up", "enrollment", "recovery"]
    identifier: Annotated[str, Field(min_length=1, max_length=254)] | None = None
    session: Annotated[SkipJsonSchema[None], BeforeValidator(_no_proof)] = None
    access_token: Annotated[str, Field(max_length=16384)] | None = None
    act: Act | None = None
    acr_values: Text | None = None
    max_age: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    context: Context = Context()
    action: FirstAction | None = None

    @model_validator(mode="after")
    def _whole(self) -> "NewFlow":
        named = self.kind in {"login", "recovery"}
        if named != (self.identifier is not None):
            raise ValueError("identifier must be given for login and recovery only")
        if named != (self.access_token is None):
            raise ValueError("access_token must be given for step_up and enrollment only")
        if (self.kind == "enrollment") != (self.act is not None):
            acts = ", ".join(get_args(Act))
            raise ValueError(f"act must be given for enrollment only; one of: {acts}")
        return self


class ActionInput(RootModel[dict[str, object]]):
    """The input of an action; its schema is in the flow."""


class FlowRoutes:
    """The operations on flows.

    Args:
        pace: Counts a client's flow for a person; raises an error if there are too many.
        named: Returns the session that an access token of a client names.
    """

    def __init__(
        self,
        login: Login,
        *,
        factors: Mapping[str, AnyFactor],
        clock: Clock,
        pace: Callable[[UUID, str], None],
        named: Callable[[str, UUID], str | None],
    ) -> None:
        self._pace = pace
        self._named = named
        self._login = login
        self._clock = clock
        self._schemas = {name: _schema(factor) for name, factor in factors.items()}

    @post(
        "/v1/flows",
        scope="flows:write",
        effort=Effort.START,
        body=NewFlow,
        status=201,
        idempotent=True,
        secret=True,
        max_body=_MEDIA,
        also=(RISK,),
        answer=FlowView,
        members={"flow": FlowView},
        problems=("404 session_not_found", "429 too_many_flows", *_IN_FLOW),
    )
    def begin_flow(self, call: Call) -> FlowView:
        """Begin a flow.

        An included action is handled as if it were sent next.
        """
        wanted = call.read(NewFlow)
        self._pace(call.by.client, self._counted(call.by.client, wanted))
        outcome = self._login.begin(call.by, _begin(wanted))
        if wanted.action is not None and outcome.refusal is None:
            token = outcome.flow_token
            flow = outcome.flow
            try:
                outcome = self._login.act(
                    call.by,
                    flow_id=flow.id,
                    token=token,
                    name=wanted.action.name,
                    values=wanted.action.input,
                )
            except BadInput as error:
                raise BadInput(*(_below(fault) for fault in error.faults)) from None
            outcome = replace(outcome, aside=tuple(map(_below, outcome.aside)))
            return self._answer(call.by, outcome, token)
        return self._answer(call.by, outcome)

    @post(
        f"{_PATH}/actions/{{name}}",
        scope="flows:write",
        effort=Effort.STEP,
        body=ActionInput,
        idempotent=True,
        secret=True,
        max_body=_MEDIA,
        headers=("Flow-Token", "If-Match"),
        frames=True,
        also=(RISK,),
        answer=FlowView,
        members={"flow": FlowView},
        problems=(
            "409 flow_ended",
            "409 flow_moved",
            "410 flow_expired",
            "404 session_not_found",
            *_IN_FLOW,
        ),
    )
    def act_in_flow(self, call: Call) -> FlowView:
        """Act in a flow.

        A factor that does not verify is 422, with the flow in its new state.
        """
        flow_id = call.id("flow", "flow")
        revision = _revision(call.header("If-Match"))
        outcome = self._login.act(
            call.by,
            flow_id=flow_id,
            token=call.header("Flow-Token"),
            name=call.path["name"],
            values=call.read(ActionInput).root,
            revision=revision,
        )
        return self._answer(call.by, outcome)

    @get(_PATH, scope="flows:write", headers=("Flow-Token",), also=(RISK,), answer=FlowView)
    def get_flow(self, call: Call) -> FlowView:
        """Show a flow."""
        flow = self._login.get(call.by, call.id("flow", "flow"), call.header("Flow-Token"))
        return self._view(call.by, flow)

    @delete(_PATH, scope="flows:write", status=204, headers=("Flow-Token",))
    def cancel_flow(self, call: Call) -> None:
        """Cancel a flow."""
        self._login.cancel(call.by, call.id("flow", "flow"), call.header("Flow-Token"))

    def _counted(self, client: UUID, wanted: NewFlow) -> str:
        """Return the key for counting flows of the same person or session.

        For an identifier it is the normal form; for an access token the session, which outlives it.
        """
        if wanted.identifier is not None:
            return ":".join(identify(wanted.identifier) or ("", wanted.identifier))
        token = str(wanted.access_token)
        return self._named(token, client) or token

    def _answer(self, caller: Caller, outcome: FlowOutcome, token: str = "") -> FlowView:
        flow = self._view(caller, outcome.flow)
        view = with_results(flow, outcome, token, first_party=caller.first_party)
        if outcome.refusal is not None:
            outcome.refusal.extra["flow"] = view
            raise outcome.refusal
        return view

    def _view(self, caller: Caller, flow: Flow) -> FlowView:
        disclosed = flow.disclosed_evidence
        active = {item.authenticator for item in disclosed}
        level = current_assurance(disclosed, self._clock.now(), active, flow.terms.max_age).level
        actions = {name: self._action(flow, name) for name in flow.actions}
        return shown(flow, level, actions, with_risk=RISK in caller.scopes)

    def _action(self, flow: Flow, name: str) -> ActionView:
        return {
            "href": f"/v1/flows/{flow.id}/actions/{name}",
            "method": "POST",
            "schema": self._schemas.get(name, _NO_INPUT),
            "options": dict(flow.challenges.get(name, {})),
        }


def _schema(factor: AnyFactor) -> JsonSchemaValue:
    schema = factor.schema()
    if factor.name in TYPED:
        members = schema.get("properties", {}) | {"behavior": {"type": "object"}}
        return schema | {"properties": members}
    return schema


def _begin(wanted: NewFlow) -> Begin:
    requested = Acr.NONE
    if wanted.acr_values:
        try:
            requested = parse_acr(wanted.acr_values)
        except ValueError as error:
            raise BadInput(Fault("/acr_values", "unknown_acr", str(error))) from None
    context = wanted.context
    client_context = ClientContext(
        ip=context.ip or "",
        user_agent=context.user_agent or "",
        device_id=context.device_id or "",
        accept_language=context.accept_language or "",
    )
    return Begin(
        kind=FlowKind(wanted.kind),
        identifier=wanted.identifier or "",
        access_token=wanted.access_token or "",
        act=wanted.act or "",
        requested=requested,
        max_age=wanted.max_age,
        device_token=context.device_token,
        client_context=client_context,
    )


def _below(fault: Fault) -> Fault:
    return Fault(f"/action/input{fault.pointer}", fault.code, fault.detail)


def _revision(header: str) -> int | None:
    if not header:
        return None
    text = header.removeprefix("W/").strip('"')
    if not text.isascii() or not text.isdigit() or len(text) > 9:  # noqa: PLR2004 - more than any flow has
        raise BadInput(Fault("", "bad_if_match", "If-Match must be the revision of the flow"))
    return int(text)
