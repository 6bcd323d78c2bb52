"""The flow as a value: every transition is a pure function with `now` as an argument."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import ClassVar, Final
from uuid import UUID

from service.domain.assurance import Acr, Evidence
from service.domain.clock import has_come
from service.domain.errors import Fault, LaminaError
from service.policy.model.decision import Decision, Effect
from service.risk.model import UNSAID, Band, ClientContext, Reason

WHOLE: Final = timedelta(minutes=15)
IDLE: Final = timedelta(minutes=5)
ATTEMPTS: Final = 10
BACK: Final = "back"


class FlowKind(StrEnum):
    """What a flow is for."""

    LOGIN = "login"
    STEP_UP = "step_up"
    ENROLLMENT = "enrollment"
    RECOVERY = "recovery"


class FlowStatus(StrEnum):
    """Where a flow stands."""

    PENDING = "pending"
    COMPLETED = "completed"
    DENIED = "denied"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


@dataclass(kw_only=True, frozen=True, slots=True)
class FlowRequest:
    """What a flow was begun with; it never changes.

    Args:
        subject: Who is to be verified; the decoy where the identifier leads to nobody.
        known: Whether `subject` is a real one.
        bucket: The keyed name of the attempt counter, and `lane` its lane.
        act: The change that a completed enrollment or recovery gives a grant for.
        session: The session that a step-up raises, or an enrollment is begun in.
        token: The access token that proved it, by `jti`.
        device: The recognized device and the generation of its token.
        deferred: Whether it is told only at the end whether everything verified, and never what
            did not (RTS (EU) 2018/389, article 4(3)).
        address: Digests of the e-mail address of a login, where the client serves a segment in
            which an unverified one may lead to somebody: it must still do so at the end.
    """

    __pydantic_config__: ClassVar = {"ser_json_bytes": "base64", "val_json_bytes": "base64"}
    """How digests are written in the stored state: they are no UTF-8."""

    kind: FlowKind
    client: UUID
    subject: UUID
    known: bool
    bucket: str
    lane: str
    segment: str
    requested: Acr
    max_age: int | None
    act: str
    session: UUID | None
    device: tuple[UUID, int] | None
    client_context: ClientContext = UNSAID
    deferred: bool = False
    segments: tuple[str, ...] = ()
    """Those that the client serves, of which `segment` is the first."""
    token: UUID | None = None
    address: tuple[tuple[int, bytes], ...] = field(default=(), repr=False)
    lifetime: timedelta = WHOLE
    """After how long the flow ends, whatever is done in it."""
    idle: timedelta = IDLE
    """After how long without an action it ends."""


@dataclass(kw_only=True, frozen=True, slots=True)
class Flow:
    """One layered sign-in; `revision` grows with each save.

    Args:
        tried: Factors of which it is not told yet whether they verified, and whether they did.
        disclosed: Whether a deferred flow has told that everything verified.
        not_before: When the next attempt may come, where risk delays it.
        delayed: How many seconds of delay were asked for so far.
        policy: The version of the policy that decided last.
        held: Whether risk is held against the subject beyond this session.
    """

    __pydantic_config__: ClassVar = {"ser_json_inf_nan": "constants"}
    """A signal that failed may leave such a number; written as null, it could not be read again."""

    id: UUID
    terms: FlowRequest
    began_at: datetime
    active_at: datetime
    status: FlowStatus = FlowStatus.PENDING
    revision: int = 1
    attempts_left: int = ATTEMPTS
    evidence: tuple[Evidence, ...] = ()
    layers: tuple[tuple[str, ...], ...] = ()
    required: Acr = Acr.NONE
    band: Band = Band.LOW
    reasons: tuple[Reason, ...] = ()
    challenges: Mapping[str, Mapping[str, object]] = field(default_factory=dict, repr=False)
    samples: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Behavioral samples by factor, held until the flow reaches its level or ends."""
    readings: Mapping[str, Mapping[str, float]] = field(default_factory=dict, repr=False)
    """Numbers that factors left for signals, held as the samples are."""
    tried: tuple[tuple[str, bool], ...] = ()
    matches: tuple[Mapping[str, object], ...] = field(default=(), repr=False)
    """Of each factor tried, what it is to use up once the flow tells; empty where it failed."""
    disclosed: bool = False
    not_before: datetime | None = None
    delayed: int = 0
    policy: str = ""
    held: bool = False
    token_digest: bytes = field(default=b"", repr=False)
    """The digest of the flow's token, stored beside the sealed state and not in it."""

    @property
    def expires_at(self) -> datetime:
        """Return when the flow ends by itself: unused for a while, or after its lifetime."""
        return min(self.began_at + self.terms.lifetime, self.active_at + self.terms.idle)

    @property
    def own_evidence(self) -> tuple[Evidence, ...]:
        """Return what was verified in this flow, not brought along from a session."""
        return tuple(item for item in self.evidence if item.flow == str(self.id))

    @property
    def actions(self) -> tuple[str, ...]:
        """Return the names of the actions that are legal now."""
        if self.status is not FlowStatus.PENDING or not self.layers:
            return ()
        return (*self.layers[0], BACK) if self.own_evidence or self.tried else self.layers[0]

    @property
    def deferring(self) -> bool:
        """Whether the results of the factors are not disclosed yet."""
        return self.terms.deferred and not self.disclosed

    @property
    def brought(self) -> tuple[Evidence, ...]:
        """Return what a session brought along."""
        return tuple(item for item in self.evidence if item.flow != str(self.id))

    @property
    def disclosed_evidence(self) -> tuple[Evidence, ...]:
        """Return the evidence that answers may depend on."""
        return self.brought if self.deferring else self.evidence

    @property
    def disclosing(self) -> bool:
        """Whether answers may depend on the subject: only after a factor has verified."""
        return bool(self.disclosed_evidence)


@dataclass(kw_only=True, frozen=True, slots=True)
class Begin:
    """What a flow is begun with, as the caller said it."""

    kind: FlowKind
    identifier: str = field(default="", repr=False)
    access_token: str = field(default="", repr=False)
    act: str = ""
    requested: Acr = Acr.NONE
    max_age: int | None = None
    device_token: str = field(default="", repr=False)
    client_context: ClientContext = UNSAID


@dataclass(kw_only=True, frozen=True, slots=True)
class FlowOutcome:
    """A flow after a verb, what is shown this once, and the refusal to answer with."""

    flow: Flow
    flow_token: str = field(default="", repr=False)
    completion_code: str = field(default="", repr=False)
    device_token: str = field(default="", repr=False)
    grant: str = field(default="", repr=False)
    enrollable: tuple[str, ...] | None = None
    grants: Mapping[str, str] = field(default_factory=dict, repr=False)
    """By act, what a login lets the person enroll."""
    notices: tuple[Fault, ...] = ()
    """What refused nothing but should be known."""
    refusal: LaminaError | None = None
    aside: tuple[Fault, ...] = ()
    """What of the input was set aside: a malformed typing sample, what is behind a picture."""


def aged(flow: Flow, now: datetime) -> Flow:
    """Return the flow as it is now: a pending one may have expired."""
    over = now >= flow.expires_at or not has_come(flow.began_at, now)
    pending = flow.status is FlowStatus.PENDING
    return replace(flow, status=FlowStatus.EXPIRED) if pending and over else flow


def reserve(flow: Flow) -> Flow:
    """Count an attempt before it is checked; a deferred round counts once."""
    if flow.deferring and flow.tried:
        return flow
    return replace(flow, attempts_left=flow.attempts_left - 1)


def release(flow: Flow) -> Flow:
    """Take back an attempt that could not be checked."""
    if flow.deferring and flow.tried:
        return flow
    return replace(flow, attempts_left=flow.attempts_left + 1)


def fail(flow: Flow, now: datetime) -> Flow:
    """Keep the attempt that was reserved; the last one ends the flow."""
    status = flow.status if flow.attempts_left > 0 else FlowStatus.DENIED
    return replace(flow, status=status, active_at=now)


def accept(flow: Flow, evidence: Evidence, now: datetime) -> Flow:
    """Add evidence and restore the attempt; the decision says which level it proves."""
    _require_own(flow, evidence)
    return replace(release(flow), evidence=(*flow.evidence, evidence), active_at=now)


def defer(
    flow: Flow,
    *,
    factor: str,
    evidence: Evidence | None,
    match: Mapping[str, object],
    now: datetime,
) -> Flow:
    """Record a tried factor and its match, if it verified; neither is disclosed.

    Args:
        flow: The flow.
        factor: Which was tried.
        evidence: What it left; None where it failed.
        match: What it is to use up once the flow tells; empty where it failed.
        now: When.
    """
    kept = flow.evidence
    if evidence is not None:
        _require_own(flow, evidence)
        kept = (*kept, evidence)
    tried = (*flow.tried, (factor, evidence is not None))
    matches = (*flow.matches, match)
    return replace(flow, evidence=kept, tried=tried, matches=matches, active_at=now)


def spoil(flow: Flow) -> Flow:
    """Let a round fail in which something was used up meanwhile by another."""
    return replace(flow, tried=tuple((factor, False) for factor, _ in flow.tried))


def undisclosed(flow: Flow) -> Flow:
    """Return the flow without the factors that are not disclosed yet."""
    return replace(flow, evidence=flow.brought, samples={}, readings={})


def verdict(flow: Flow) -> Flow:
    """Disclose whether all tried factors verified: the flow continues, or starts over."""
    if all(verified for _, verified in flow.tried):
        given_back = 1 if flow.tried else 0
        left = flow.attempts_left + given_back
        return replace(flow, attempts_left=left, tried=(), matches=(), disclosed=True)
    status = flow.status if flow.attempts_left > 0 else FlowStatus.DENIED
    return replace(undisclosed(flow), status=status, tried=(), matches=())


def apply(flow: Flow, decision: Decision) -> Flow:
    """Take over a decision: go on, end well, or end."""
    status = {
        Effect.REQUIRE: FlowStatus.PENDING,
        Effect.ALLOW: FlowStatus.COMPLETED,
        Effect.DENY: FlowStatus.DENIED,
        Effect.SUSPEND: FlowStatus.DENIED,
    }[decision.effect]
    if status is FlowStatus.COMPLETED and not flow.evidence:
        raise ValueError("a flow completes on evidence only")
    wait = flow.not_before
    delayed = flow.delayed
    if decision.delay > delayed:
        wait = flow.active_at + timedelta(seconds=decision.delay - delayed)
        delayed = decision.delay
    return replace(
        flow,
        status=status,
        layers=decision.layers,
        required=decision.required,
        band=decision.band,
        reasons=decision.reasons,
        policy=decision.policy_version,
        not_before=wait,
        delayed=delayed,
    )


def waits(flow: Flow, now: datetime) -> int:
    """Return the seconds until the next attempt may come, 0 for none."""
    left = (flow.not_before - now).total_seconds() if flow.not_before else 0.0
    return math.ceil(max(left, 0.0))


def back(flow: Flow) -> Flow:
    """Remove the last verified factor of this flow; a used code stays used."""
    if flow.deferring and flow.tried:
        *tried, (_, verified) = flow.tried
        kept = flow.evidence[:-1] if verified else flow.evidence
        return replace(flow, evidence=kept, tried=tuple(tried), matches=flow.matches[:-1])
    if not flow.own_evidence:
        return flow
    last = flow.own_evidence[-1]
    return replace(flow, evidence=tuple(item for item in flow.evidence if item is not last))


def cancel(flow: Flow) -> Flow:
    """End a pending flow at the caller's wish; one that has ended stays as it is."""
    pending = flow.status is FlowStatus.PENDING
    return replace(flow, status=FlowStatus.CANCELLED) if pending else flow


def stored(flow: Flow) -> Flow:
    """Return what is stored of a flow: one that has ended holds nothing of a person any more."""
    ended = flow.status is not FlowStatus.PENDING
    return replace(flow, samples={}, readings={}, matches=()) if ended else flow


def _require_own(flow: Flow, evidence: Evidence) -> None:
    if evidence.subject != flow.terms.subject or not flow.terms.known:
        raise ValueError("evidence about somebody else")
