"""Flows as the routes show them."""

from typing import Annotated, NotRequired, cast

from pydantic import Field
from typing_extensions import TypedDict

from service.domain.assurance import Achieved
from service.domain.clock import rfc3339
from service.domain.fault_views import views
from service.domain.formats import FaultView, Id, JsonObject, Timestamp
from service.login.model import Flow, FlowKind, FlowOutcome, FlowStatus


class RequiredView(TypedDict):
    """The level that a flow requires."""

    acr: Annotated[str, Field(description="Empty for no level.", examples=["urn:lamina:acr:aal2"])]
    max_age: NotRequired[
        Annotated[int, Field(description="The greatest age of its evidence in seconds.")]
    ]


class AchievedView(TypedDict):
    """The level that the disclosed evidence of a flow has now."""

    acr: Annotated[
        str | None, Field(description="Null for no level.", examples=["urn:lamina:acr:aal1"])
    ]
    aal: Annotated[int, Field(description="0 for no level.", examples=[1])]
    amr: Annotated[list[str], Field(description="The methods (RFC 8176).", examples=[["pwd"]])]
    auth_time: Annotated[
        Timestamp | None, Field(description="When the person last proved something that counts.")
    ]


class AssuranceView(TypedDict):
    """The required and the achieved level of a flow."""

    required: RequiredView
    achieved: AchievedView


class ActionView(TypedDict):
    """An action that is legal now."""

    href: Annotated[str, Field(description="The path to send its input to.")]
    method: Annotated[str, Field(examples=["POST"])]
    schema: Annotated[JsonObject, Field(description="The JSON Schema of its input.")]
    options: Annotated[
        JsonObject, Field(description="The challenge that its input answers; empty for none.")
    ]


class ReasonView(TypedDict):
    """One contribution to the risk of a flow."""

    code: Annotated[str, Field(examples=["new_device"])]
    signal: Annotated[str, Field(examples=["login_context"])]
    contribution: Annotated[
        float, Field(description="In nats; what is below 0 speaks for an impostor.")
    ]
    detail: Annotated[str, Field(description="A text for people.")]


class FlowRiskView(TypedDict):
    """The risk of a flow, for callers with the scope `risk:read`."""

    band: Annotated[str, Field(description="`low`, `elevated`, `high` or `critical`.")]
    policy_version: Annotated[str, Field(description="The policy that decided last.")]
    reasons: list[ReasonView]


class FlowView(TypedDict):
    """A flow and the actions that are legal now."""

    id: Id
    kind: FlowKind
    status: FlowStatus
    revision: Annotated[int, Field(description="Grows with every action; for `If-Match`.")]
    expires_at: Timestamp
    attempts_left: int
    assurance: AssuranceView
    actions: Annotated[dict[str, ActionView], Field(description="The legal actions, by name.")]
    risk: NotRequired[FlowRiskView]
    flow_token: NotRequired[
        Annotated[
            str,
            Field(description="Shown once, when the flow begins; it proves the flow."),
        ]
    ]
    completion_code: NotRequired[
        Annotated[str, Field(description="For a first-party client: exchange it for tokens.")]
    ]
    device_token: NotRequired[
        Annotated[str, Field(description="Recognizes the device in later flows.")]
    ]
    grant: NotRequired[
        Annotated[str, Field(description="Of a completed enrollment or recovery: for one act.")]
    ]
    enrollable: NotRequired[
        Annotated[list[str], Field(description="The types that the person may enroll now.")]
    ]
    grants: NotRequired[
        Annotated[dict[str, str], Field(description="Grants of a completed login, by act.")]
    ]
    notices: NotRequired[
        Annotated[
            list[FaultView], Field(description="Facts that refuse nothing but should be known.")
        ]
    ]
    set_aside: NotRequired[
        Annotated[list[FaultView], Field(description="The parts of the input that were ignored.")]
    ]


def shown(
    flow: Flow, level: Achieved, actions: dict[str, ActionView], *, with_risk: bool
) -> FlowView:
    """Return a flow in its current state.

    Args:
        flow: The flow.
        level: The level of its disclosed evidence.
        actions: The legal actions.
        with_risk: Whether the caller may see the risk.
    """
    required: RequiredView = {"acr": flow.required.urn}
    if flow.terms.max_age is not None:
        required["max_age"] = flow.terms.max_age
    view: FlowView = {
        "id": str(flow.id),
        "kind": flow.terms.kind,
        "status": flow.status,
        "revision": flow.revision,
        "expires_at": rfc3339(flow.expires_at),
        "attempts_left": flow.attempts_left,
        "assurance": {
            "required": required,
            "achieved": {
                "acr": level.acr.urn or None,
                "aal": level.acr.aal,
                "amr": list(level.amr),
                "auth_time": rfc3339(level.auth_time) if level.auth_time else None,
            },
        },
        "actions": actions,
    }
    if flow.disclosing and with_risk:
        view["risk"] = {
            "band": flow.band.label,
            "policy_version": flow.policy,
            "reasons": [
                {
                    "code": item.code,
                    "signal": item.signal,
                    "contribution": item.contribution,
                    "detail": item.detail,
                }
                for item in flow.reasons
            ],
        }
    return view


def with_results(
    view: FlowView, outcome: FlowOutcome, token: str, *, first_party: bool
) -> FlowView:
    """Return a flow with the results of an action in it.

    Args:
        view: The flow.
        outcome: The results.
        token: The token of a flow that the same request began; empty for none.
        first_party: Whether the client may complete logins.
    """
    results = {
        "flow_token": outcome.flow_token or token,
        "completion_code": outcome.completion_code if first_party else "",
        "device_token": outcome.device_token,
        "grant": outcome.grant,
    }
    # All four are optional strings of the view.
    found = cast("FlowView", {**view, **{name: text for name, text in results.items() if text}})
    if outcome.enrollable is not None and first_party:
        found["enrollable"] = list(outcome.enrollable)
        if outcome.grants:
            found["grants"] = dict(outcome.grants)
        if outcome.notices:
            found["notices"] = views(outcome.notices)
    if outcome.aside:
        found["set_aside"] = views(outcome.aside)
    return found
