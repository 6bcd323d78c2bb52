"""The bytes that are stored of a flow: a version, then JSON of its members, squeezed."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NotRequired, TypedDict
from uuid import UUID

import orjson
from pydantic import TypeAdapter

from service.domain.assurance import Acr, Evidence, EvidenceJson
from service.domain.squeezing import expand, squeeze
from service.login.model import Flow, FlowKind, FlowRequest, FlowStatus
from service.login.wording import WORDING
from service.risk.model import Band, ClientContext, Reason

_VERSION: Final = b"2"
_PLAIN: Final = b"1"
"""The version before: the same JSON, not squeezed."""
_MOST: Final = 1 << 22
_OPENING: Final = b"{"
_FLOW: Final = TypeAdapter(Flow)
_BESIDE: Final = {"token_digest"}
"""A column of the table, which is no part of the sealed state."""


class FormerContext(TypedDict, total=False):
    """The members of a client context."""

    ip: str
    user_agent: str
    device_id: str
    accept_language: str
    asserted: bool


class FormerFlow(TypedDict):
    """The members of the form without a version."""

    kind: str
    client: str
    subject: str
    known: bool
    bucket: str
    lane: str
    segment: str
    requested: int
    max_age: int | None
    act: str
    session: str | None
    device: tuple[str, int] | None
    surroundings: FormerContext
    deferred: bool
    segments: NotRequired[list[str]]
    token: NotRequired[str | None]
    began_at: str
    active_at: str
    status: str
    attempts_left: int
    evidence: list[EvidenceJson]
    layers: list[list[str]]
    required: int
    band: int
    reasons: list[tuple[str, str, float, str]]
    challenges: Mapping[str, Mapping[str, object]]
    samples: Mapping[str, str]
    readings: NotRequired[Mapping[str, Mapping[str, float]]]
    tried: list[tuple[str, bool]]
    matches: NotRequired[list[Mapping[str, object]]]
    told: bool
    not_before: str | None
    delayed: int
    policy: str
    held: bool


def pack(flow: Flow) -> bytes:
    """Return the state of a flow, to be sealed."""
    return _VERSION + squeeze(_FLOW.dump_json(flow, exclude=_BESIDE), WORDING)


def unpack(flow_id: UUID, revision: int, state: bytes) -> Flow:
    """Return the flow of a state.

    Args:
        flow_id: Whose state it is.
        revision: Which of its revisions; both bind the sealed state, and only the former form
            does not hold them.
        state: What `pack` returned, in this version of the program or in one before.

    Raises:
        ValueError: It is of no form that is known; the text repeats nothing of it.
    """
    if state.startswith(_OPENING):
        return _former(flow_id, revision, orjson.loads(state))
    try:
        if state.startswith(_VERSION):
            return _FLOW.validate_json(expand(state[1:], WORDING, _MOST))
        if state.startswith(_PLAIN):
            return _FLOW.validate_json(state[1:])
    except ValueError:
        # The text of a ValidationError would show what was read: samples, addresses, challenges.
        pass
    raise ValueError("the state of a flow has a form that this program does not know")


def _former(flow_id: UUID, revision: int, value: FormerFlow) -> Flow:
    """Return a flow of the form without a version.

    A flow lives 15 minutes: the version after this one need not read it.
    """
    device = value["device"]
    not_before = value["not_before"]
    terms = FlowRequest(
        kind=FlowKind(value["kind"]),
        client=UUID(value["client"]),
        subject=UUID(value["subject"]),
        known=value["known"],
        bucket=value["bucket"],
        lane=value["lane"],
        segment=value["segment"],
        requested=Acr(value["requested"]),
        max_age=value["max_age"],
        act=value["act"],
        session=UUID(value["session"]) if value["session"] else None,
        device=(UUID(device[0]), device[1]) if device else None,
        client_context=ClientContext(**value["surroundings"]),
        deferred=value["deferred"],
        segments=tuple(value.get("segments", (value["segment"],))),
        token=UUID(value["token"]) if value.get("token") else None,
    )
    return Flow(
        id=flow_id,
        terms=terms,
        began_at=datetime.fromisoformat(value["began_at"]),
        active_at=datetime.fromisoformat(value["active_at"]),
        status=FlowStatus(value["status"]),
        revision=revision,
        attempts_left=value["attempts_left"],
        evidence=tuple(Evidence.from_json(item) for item in value["evidence"]),
        layers=tuple(tuple(layer) for layer in value["layers"]),
        required=Acr(value["required"]),
        band=Band(value["band"]),
        reasons=tuple(Reason(*item) for item in value["reasons"]),
        challenges=value["challenges"],
        samples=value["samples"],
        readings=value.get("readings", {}),
        tried=tuple((factor, verified) for factor, verified in value["tried"]),
        matches=tuple(value.get("matches", ())),
        disclosed=value["told"],
        not_before=datetime.fromisoformat(not_before) if not_before else None,
        delayed=value["delayed"],
        policy=value["policy"],
        held=value["held"],
    )
