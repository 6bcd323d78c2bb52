"""Compile a policy document: resolve inheritance, compile conditions, check satisfiability."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from service.domain.assurance import Acr, Evidence, Kind, achieved, parse_acr
from service.domain.authenticator import FACTOR_OF_TYPE, HELP_DESK
from service.domain.errors import BadInput, Fault
from service.domain.formats import FaultView
from service.policy.model import parser
from service.policy.model.conditions import Condition, compile_condition
from service.policy.model.document import (
    BIOMETRIC,
    COOLDOWN_HOURS,
    COOLDOWN_SPELLINGS,
    FACTORS,
    FRICTION,
    PSD2_IDLE,
    PURPOSES,
    RECOVERY_HOURS,
    Bands,
    Critical,
    Document,
    LoginEnrollment,
    Raise,
    Requirement,
    Rule,
    RuleEffect,
    Segment,
    SubjectRiskRule,
    Subjects,
    Then,
)
from service.risk.model import Band

Layers = tuple[tuple[str, ...], ...]
_Members = dict[str, Any]
"""The members of a segment, as pydantic dumps them."""
_NOBODY: Final = UUID(int=0)
SOMETIME: Final = datetime(9000, 1, 1, tzinfo=UTC)
"""Time of hypothetical evidence, later than any other, so that it counts as fresh."""
LEAST: Final = Acr.AAL1
"""The minimum level of `highest`, also for a person with nothing enrolled."""
_UNVERIFIED: Final = "unverified_email_sign_in"
_COST: Final = (
    "an address that anybody may have typed signs in: it proves nothing of who reads it, one more "
    "claim to it ends that, and who registers an address and signs in by it learns whether "
    "somebody else has it"
)
_NEEDED: Final = ("login", "step_up", "enrollment", "recovery")


@dataclass(kw_only=True, frozen=True, slots=True)
class CompiledRule:
    """A rule with its condition compiled to a closure; None if it always applies.

    Args:
        match: The condition after a factor was verified: a missing value counts as risk.
        unproven: The condition before that: a missing value makes no rule apply.
    """

    id: str
    purposes: frozenset[str]
    match: Condition | None
    unproven: Condition | None
    then: Then
    audit_only: bool


@dataclass(kw_only=True, frozen=True, slots=True)
class Compiled:
    """A compiled segment.

    Args:
        raised: Effects of each band, including those of the bands below it.
        forbidden: Factors that each band forbids, likewise.
        liveness: Required liveness of a face; empty if the document does not set it.
        session_idle: Idle timeout of sessions in seconds; None if only the level determines it.
        cooldown_hours: Cool-down of new authenticators in hours.
        recovery_hours: Delay of a recovery by the help desk in hours.
        keep_sessions: Whether a person's other sessions survive a change of authenticators.
        unverified_email: Whether an unverified e-mail address may sign in.
        offers: Types of authenticator for which a completed login issues a grant.
    """

    name: str
    deferred: bool
    one_bucket: bool
    factors: frozenset[str]
    fallback: tuple[str, ...]
    friction: Mapping[str, float]
    bands: Bands
    subject_risk: SubjectRiskRule
    purposes: Mapping[str, Requirement]
    raised: Mapping[Band, tuple[RuleEffect, ...]]
    critical: Critical
    rules: Mapping[str, tuple[CompiledRule, ...]]
    liveness: str = ""
    session_idle: int | None = None
    cooldown_hours: int = COOLDOWN_HOURS
    recovery_hours: int = RECOVERY_HOURS
    keep_sessions: bool = False
    unverified_email: bool = False
    offers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Whole:
    """A compiled document and its version."""

    version: str
    document: Document
    segments: Mapping[str, Compiled]

    def segment(self, name: str) -> Compiled:
        """Return a segment; the default segment if the document does not name it."""
        return self.segments.get(name) or self.segments["default"]


def compile_document(document: Document) -> Whole:
    """Compile a document.

    Raises:
        BadInput: Inheritance is circular, a segment is incomplete, or a condition is invalid.
    """
    segments = {
        name: _compile(document, name, _resolved(document, name)) for name in document.segments
    }
    return Whole(parser.version_of(document), document, segments)


def supposed(factor: str) -> Evidence:
    """Return the hypothetical evidence of a factor, for planning."""
    return _SUPPOSED[factor]


def require_satisfiable(whole: Whole, registered: frozenset[str]) -> None:
    """Check that a policy can be satisfied, even without biometrics.

    Args:
        whole: The policy.
        registered: The factors that this deployment can verify.

    Raises:
        BadInput: Names the purpose, band or rule, and what is unreachable.
    """
    for name, segment in whole.segments.items():
        for purpose, rule in segment.purposes.items():
            _require(
                segment,
                rule=rule,
                at=f"/segments/{name}/{purpose}",
                effects=(),
                registered=registered,
            )
            for band in (Band.ELEVATED, Band.HIGH):
                at = f"/segments/{name}/raise/{band.label}"
                _require(
                    segment, rule=rule, at=at, effects=segment.raised[band], registered=registered
                )
        for compiled in (item for rules in segment.rules.values() for item in rules):
            at = f"/segments/{name}/rules/{compiled.id}"
            for purpose in sorted(compiled.purposes):
                found = segment.purposes[purpose]
                _require(
                    segment, rule=found, at=at, effects=(compiled.then,), registered=registered
                )


def warnings(whole: Whole) -> list[FaultView]:
    """Return warnings about rules that may not act as expected, with their pointers."""
    found: list[FaultView] = []
    for name, segment in whole.document.segments.items():
        offers = segment.login_enrollment.offer if segment.login_enrollment else ()
        for number, kind in enumerate(offers):
            if FACTOR_OF_TYPE[kind] not in whole.segment(name).factors:
                pointer = f"/segments/{name}/login_enrollment/offer/{number}"
                detail = f"{kind} is never offered: the segment does not accept it"
                found.append({"pointer": pointer, "code": "never_offered", "detail": detail})
        if segment.subjects and segment.subjects.unverified_email_sign_in:
            pointer = f"/segments/{name}/subjects/unverified_email_sign_in"
            found.append({"pointer": pointer, "code": _UNVERIFIED, "detail": _COST})
        for number, rule in enumerate(segment.rules):
            if rule.stage == "admission" and (rule.then.deny or rule.then.suspend):
                act = "suspends" if rule.then.suspend else "denies"
                detail = f"{act} only after a factor has verified in the flow"
                pointer = f"/segments/{name}/rules/{number}/then"
                found.append({"pointer": pointer, "code": "acts_after_proof", "detail": detail})
    return found


def _require(
    segment: Compiled,
    *,
    rule: Requirement,
    at: str,
    effects: Iterable[RuleEffect],
    registered: frozenset[str],
) -> None:
    effects = tuple(effects)
    usable = registered & segment.factors - {name for item in effects for name in item.forbid}
    added = [layer for item in effects for layer in item.layers]
    added += [layer for layer in rule.when_enrolled if layer[0] in registered]
    acr = max([_level(rule.acr), *(parse_acr(item.acr) for item in effects if item.acr)])
    for kind, left in (("factor", usable), ("non-biometric factor", usable - BIOMETRIC)):
        if achieved(map(supposed, left), SOMETIME).acr < acr:
            raise _wrong(at, "unsatisfiable", f"no {kind} that is left here reaches {acr.urn}")
        if not any(
            all(_open(segment, layer, left, registered) for layer in (*way, *added))
            for way in rule.alternatives
        ):
            raise _wrong(at, "unsatisfiable", f"a layer here has no {kind} that is left")


def _open(
    segment: Compiled, layer: tuple[str, ...], left: frozenset[str], registered: frozenset[str]
) -> bool:
    """Return whether a layer is reachable; fallbacks apply only to all-biometric layers."""
    if left & set(layer):
        return True
    own = registered & segment.factors & set(layer)
    return bool(own) and own <= BIOMETRIC and bool(left & set(segment.fallback))


def _level(name: str) -> Acr:
    if name == "highest":
        return LEAST
    return Acr.NONE if name == "none" else parse_acr(name)


def _resolved(document: Document, name: str) -> Segment:
    """Return a segment merged with its ancestors; raises BadInput that shows a cycle."""
    chain = [name]
    while (parent := document.segments[chain[-1]].extends) is not None:
        at = f"/segments/{chain[-1]}/extends"
        if parent not in document.segments:
            raise _wrong(at, "unknown_segment", "is no segment of this policy")
        if parent in chain:
            circle = " -> ".join([*chain, parent])
            raise _wrong(at, "inheritance_cycle", f"goes in a circle: {circle}")
        chain.append(parent)
    merged: _Members = {}
    for link in reversed(chain):
        declared = document.segments[link].model_dump(by_alias=True, exclude_unset=True)
        merged = _merged(merged, declared)
    found = Segment.model_validate(merged)
    lacking = [purpose for purpose in _NEEDED if getattr(found, purpose) is None]
    if lacking:
        raise _wrong(f"/segments/{name}/{lacking[0]}", "missing", "is not said and not inherited")
    return found


def _merged(parent: _Members, child: _Members) -> _Members:
    """Merge a child segment over its parent: purposes are replaced whole, rules by id.

    `raise`, `subjects` and `login_enrollment` are merged member by member. A cool-down replaces
    the parent's under either of its names.
    """
    merged = {**parent, **child}
    if not child.keys().isdisjoint(COOLDOWN_SPELLINGS):
        merged = {
            name: value
            for name, value in merged.items()
            if name in child or name not in COOLDOWN_SPELLINGS
        }
    for name in ("raise", "subjects", "login_enrollment"):
        if name in parent and name in child:
            merged[name] = {**parent[name], **child[name]}
    own = child.get("rules", ())
    replaced = {rule["id"] for rule in own}
    kept = [rule for rule in parent.get("rules", ()) if rule["id"] not in replaced]
    merged["rules"] = (*kept, *own)
    return merged


def _compile(document: Document, name: str, segment: Segment) -> Compiled:
    psd2 = segment.regime == "psd2"
    raised = segment.raised or Raise()
    pointers = _pointers(document, name)
    rules: dict[str, list[CompiledRule]] = {}
    for rule in segment.rules:
        rules.setdefault(rule.stage, []).append(_rule(rule, pointers[rule.id]))
    purposes = {
        purpose: getattr(segment, purpose) or Requirement(acr="none") for purpose in PURPOSES
    }
    _require_transaction_only(purposes, name)
    return Compiled(
        name=name,
        deferred=(segment.disclosure or ("deferred" if psd2 else "stepwise")) == "deferred",
        one_bucket=(segment.attempts or ("one_bucket" if psd2 else "lanes")) == "one_bucket",
        factors=frozenset(segment.factors or FACTORS),
        fallback=segment.fallback or (),
        friction=FRICTION | dict(segment.friction or {}),
        bands=segment.bands or document.bands,
        subject_risk=segment.subject_risk or SubjectRiskRule(),
        purposes=purposes,
        raised={
            Band.LOW: (),
            Band.ELEVATED: (raised.elevated,),
            Band.HIGH: (raised.elevated, raised.high),
            Band.CRITICAL: (raised.elevated, raised.high),
        },
        critical=raised.critical,
        rules={stage: tuple(found) for stage, found in rules.items()},
        liveness=segment.face.liveness if segment.face else "",
        session_idle=segment.session_idle or (PSD2_IDLE if psd2 else None),
        cooldown_hours=COOLDOWN_HOURS if segment.cooldown is None else segment.cooldown,
        recovery_hours=segment.recovery_hours or RECOVERY_HOURS,
        keep_sessions=bool(segment.keep_sessions_on_change),
        unverified_email=(segment.subjects or Subjects()).unverified_email_sign_in,
        offers=frozenset((segment.login_enrollment or LoginEnrollment()).offer),
    )


def _rule(rule: Rule, pointer: str) -> CompiledRule:
    match = unproven = None
    if rule.when is not None:
        relief = rule.then.relief is not None
        at = f"{pointer}/when"
        match = compile_condition(rule.when, at, rule.stage, relief=relief)
        unproven = compile_condition(rule.when, at, rule.stage, relief=relief, unproven=True)
    purposes = frozenset(rule.purposes or PURPOSES)
    return CompiledRule(
        id=rule.id,
        purposes=purposes,
        match=match,
        unproven=unproven,
        then=rule.then,
        audit_only=rule.audit_only,
    )


def _pointers(document: Document, name: str) -> dict[str, str]:
    """Return the pointer of each own or inherited rule; raises BadInput for duplicate ids."""
    found: dict[str, str] = {}
    link: str | None = name
    while link is not None:
        own: dict[str, str] = {}
        for number, rule in enumerate(document.segments[link].rules):
            pointer = f"/segments/{link}/rules/{number}"
            if rule.id in own:
                raise _wrong(f"{pointer}/id", "duplicate_rule", "another rule here has this id")
            own[rule.id] = pointer
        found = own | found
        link = document.segments[link].extends
    return found


def _require_transaction_only(purposes: Mapping[str, Requirement], name: str) -> None:
    for purpose, rule in purposes.items():
        if rule.acr == "none" and purpose != "transaction":
            at = f"/segments/{name}/{purpose}/acr"
            raise _wrong(at, "acr_none", "only a transaction may ask for nothing by itself")


def _evidence(factor: str) -> Evidence:
    kind = Kind.KNOWLEDGE if factor == "password" else Kind.POSSESSION
    strong = factor == "webauthn"
    return Evidence(
        subject=_NOBODY,
        flow="",
        factor=factor,
        authenticator=_NOBODY,
        kind=kind,
        amr=(),
        at=SOMETIME,
        user_verified=strong,
        phishing_resistant=strong,
    )


def _wrong(pointer: str, code: str, detail: str) -> BadInput:
    return BadInput(Fault(pointer, code, detail), code="bad_policy")


_SUPPOSED: Final = {factor: _evidence(factor) for factor in (*FACTORS, HELP_DESK)}
