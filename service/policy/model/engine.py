"""The pure decision function, `join(base, raise(signals))`, for logins and transactions.

Every step of `raise` can only add: bands include the effects of the bands below them, layers and
classes are joined, allowed factors are narrowed. So more evidence of risk never requires less.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from service.domain.assurance import Acr, Evidence, achieved, parse_acr, recent
from service.domain.authenticator import HELP_DESK
from service.policy.model.bands import Risk, held_risk, policy_reasons, risk_of
from service.policy.model.compiler import (
    LEAST,
    SOMETIME,
    Compiled,
    CompiledRule,
    Layers,
    Whole,
    supposed,
)
from service.policy.model.conditions import UNPROVEN, View
from service.policy.model.decision import Decision, Effect, Facts
from service.policy.model.document import (
    BIOMETRIC,
    Relief,
    RuleEffect,
    Then,
)
from service.risk.model import Band, Reason


@dataclass(kw_only=True, slots=True)
class _Asked:
    """The accumulated requirement, before evidence is considered."""

    acr: Acr
    ways: tuple[Layers, ...]
    extra: list[tuple[str, ...]]
    allowed: set[str]
    max_age: int | None
    delay: int = 0
    ends: Effect | None = None
    reasons: list[Reason] = field(default_factory=list)

    def join(self, effect: RuleEffect) -> None:
        """Add an effect's layers, level and delay, and remove the factors it forbids."""
        self.extra += [layer for layer in effect.layers if layer not in self.extra]
        self.allowed.difference_update(effect.forbid)
        self.delay = max(self.delay, effect.delay)
        if effect.acr:
            self.acr = max(self.acr, parse_acr(effect.acr))

    def join_reachable(self, effect: RuleEffect, usable: frozenset[str]) -> None:
        """Join the part of an effect that the subject can satisfy, for risk held against it.

        Otherwise anyone who fails badly in a person's name would lock that person out.
        """
        self.extra += [
            layer for layer in effect.layers if layer not in self.extra and usable & set(layer)
        ]
        self.delay = max(self.delay, effect.delay)
        if effect.acr and highest(usable) >= parse_acr(effect.acr):
            self.acr = max(self.acr, parse_acr(effect.acr))

    def end(self, then: Then) -> None:
        """End the flow if a rule says so; suspension takes precedence over denial."""
        if then.suspend:
            self.ends = Effect.SUSPEND
        elif then.deny and self.ends is None:
            self.ends = Effect.DENY

    def relieve(self, relief: Relief) -> None:
        """Reduce the base to what an exemption keeps; it never adds."""
        self.acr = min(self.acr, _base(relief.acr, frozenset()))
        kept = set(relief.layers)
        self.ways = tuple(tuple(layer for layer in way if layer in kept) for way in self.ways)


def highest(factors: Iterable[str]) -> Acr:
    """Return the highest level that the factors reach together."""
    return achieved(map(supposed, factors), SOMETIME).acr


def unmet(layers: Layers, evidence: Sequence[Evidence]) -> Layers:
    """Return the layers without evidence; each piece of evidence serves only one layer.

    As many layers as possible are served (bipartite matching by augmenting paths), earlier ones
    first, so an additional layer never makes another one met.
    """
    served: dict[int, int] = {}
    return tuple(
        layer
        for number, layer in enumerate(layers)
        if not _serve(number, layers=layers, evidence=evidence, served=served, tried=set())
    )


def decide(whole: Whole, facts: Facts) -> Decision:
    """Return the layers still required, or that the flow is allowed or denied."""
    segment = whole.segment(facts.segment)
    if not facts.disclosed:
        facts = _unproven(facts)
    risk = risk_of(segment, facts)
    asked = _asked(segment, facts, risk)
    reasons = [reason for item in facts.assessments for reason in item.reasons]
    reasons += [*policy_reasons(risk, facts), *asked.reasons]
    decision = Decision(
        effect=Effect.REQUIRE,
        required=asked.acr,
        layers=(),
        band=risk.band,
        reasons=tuple(reasons),
        policy_version=whole.version,
        obligations=(),
        delay=asked.delay,
        hold=held_risk(segment, risk, facts.tighten),
    )
    if facts.suspended:
        return _ended(decision, "suspended", "Signing in is suspended.")
    if risk.band is Band.CRITICAL:
        ends = Effect.SUSPEND if segment.critical.suspend else asked.ends or Effect.DENY
        decision = _ended(decision, "critical_risk", "The risk is critical.")
        return replace(decision, effect=_irreversible(ends, facts))
    if asked.ends is not None:
        decision = _ended(decision, "denied_by_rule", "A rule of the policy ends this.")
        return replace(decision, effect=_irreversible(asked.ends, facts))
    return _offered(_measure(decision, asked, segment, facts), facts)


def _unproven(facts: Facts) -> Facts:
    """Return the facts usable before a factor was verified: client and time, not the person."""
    known = {name: value for name, value in facts.context.items() if name in UNPROVEN}
    return replace(
        facts, assessments=(), standing=0.0, suspended=False, proven=False, context=known
    )


def _irreversible(effect: Effect, facts: Facts) -> Effect:
    """Return the effect; without a verified factor, suspension becomes denial of the flow."""
    return Effect.DENY if effect is Effect.SUSPEND and not facts.proven else effect


def _asked(segment: Compiled, facts: Facts, risk: Risk) -> _Asked:
    rule = segment.purposes[facts.purpose]
    usable = facts.enrolled & segment.factors
    extra: list[tuple[str, ...]] = [
        layer for layer in rule.when_enrolled if facts.disclosed and layer[0] in facts.enrolled
    ]
    ages = [age for age in (rule.max_age, facts.max_age) if age is not None]
    asked = _Asked(
        acr=_base(rule.acr, usable),
        ways=rule.alternatives,
        extra=extra,
        allowed=set(segment.factors),
        max_age=min(ages, default=None),
    )
    rules = segment.rules.get(facts.stage, ())
    # Relief reduces the base; raises are joined afterwards, so that nothing lowers them.
    effects = _apply(rules, asked, facts, _view(facts, risk)) if rules else []
    certain = segment.raised[risk.session]
    for effect in (*certain, *effects):
        asked.join(effect)
    for effect in segment.raised[risk.band][len(certain) :]:
        asked.join_reachable(effect, usable)
    asked.acr = max(asked.acr, facts.requested)
    return asked


def _base(name: str, usable: frozenset[str]) -> Acr:
    if name == "highest":
        return max(LEAST, highest(usable))
    return Acr.NONE if name == "none" else parse_acr(name)


def _apply(
    rules: Sequence[CompiledRule], asked: _Asked, facts: Facts, view: View
) -> list[RuleEffect]:
    """Apply reliefs and endings of the rules; return the effects to join."""
    effects: list[RuleEffect] = []
    for rule in rules:
        if facts.purpose not in rule.purposes or not _holds(rule, view, facts):
            continue
        code = "rule_audit" if rule.audit_only else "rule"
        asked.reasons.append(Reason(code, "policy", 0.0, rule.id))
        if rule.audit_only:
            continue
        if rule.then.relief is not None:
            asked.relieve(rule.then.relief)
        else:
            effects.append(rule.then)
            # Ending a flow reveals the person's state, so it waits until a factor was verified.
            if facts.disclosed:
                asked.end(rule.then)
    return effects


def _holds(rule: CompiledRule, view: View, facts: Facts) -> bool:
    match = rule.match if facts.disclosed else rule.unproven
    if match is None:
        return True
    try:
        return match(view)
    except TypeError:
        # A value that cannot be compared makes a raising rule apply and a relief not.
        return rule.then.relief is None


def _view(facts: Facts, risk: Risk) -> View:
    always = {
        "purpose": facts.purpose,
        "requested": facts.requested,
        "hour": facts.now.hour,
        "weekday": facts.now.weekday(),
    }
    if not facts.disclosed:
        return {**facts.context, **always}
    reasons = {reason.code for item in facts.assessments for reason in item.reasons}
    return {
        **facts.context,
        **{f"signal.{item.signal}": item.llr for item in facts.assessments},
        **always,
        "enrolled": facts.enrolled,
        "shown": {item.factor for item in facts.evidence},
        "band": risk.band,
        "subject_band": risk.subject,
        "llr": risk.fused.total,
        "hard": risk.fused.hard,
        "reasons": reasons,
    }


def _offered(decision: Decision, facts: Facts) -> Decision:
    """Let a recovery begin with the help desk's code too, whoever it is about."""
    if facts.purpose != "recovery" or facts.evidence or HELP_DESK not in facts.enrolled:
        return decision
    first, *rest = decision.layers or ((),)
    return replace(decision, effect=Effect.REQUIRE, layers=((*first, HELP_DESK), *rest))


def _measure(decision: Decision, asked: _Asked, segment: Compiled, facts: Facts) -> Decision:
    if facts.purpose == "recovery" and any(item.factor == HELP_DESK for item in facts.evidence):
        # Two operators have looked at the person, who has nothing else to show.
        return replace(decision, effect=Effect.ALLOW)
    young = recent(facts.evidence, asked.acr, facts.now, asked.max_age)
    fresh = [item for item in young if item.factor in asked.allowed]
    usable = facts.enrolled & asked.allowed
    level = achieved(fresh, facts.now).acr
    if achieved([*fresh, *map(supposed, usable)], facts.now).acr < asked.acr:
        return _unreachable(decision)
    own = facts.enrolled & segment.factors
    plans = []
    for way in asked.ways:
        layers = (*way, *(layer for layer in asked.extra if layer not in way))
        missing = unmet(_with_fallback(layers, segment, own), fresh)
        if not missing and level < asked.acr:
            missing = (
                _lifting(
                    fresh, usable=usable, wanted=asked.acr, now=facts.now, friction=segment.friction
                ),
            )
        if not missing:
            return replace(decision, effect=Effect.ALLOW)
        # Factors not enrolled cannot be presented; a layer without any makes this way impossible.
        ways = tuple(_ordered(layer, usable, segment.friction) for layer in missing)
        if all(ways):
            plans.append(ways)
    return replace(decision, layers=_easiest(plans, segment)) if plans else _unreachable(decision)


def _easiest(plans: Sequence[Layers], segment: Compiled) -> Layers:
    """Return the way of least friction, its first layer widened by those of the other ways."""
    cost = segment.friction
    by_cost = sorted(plans, key=lambda plan: sum(cost[layer[0]] for layer in plan))
    first = dict.fromkeys(name for plan in by_cost for name in plan[0])
    return (tuple(first), *by_cost[0][1:])


def _with_fallback(layers: Layers, segment: Compiled, enrolled: frozenset[str]) -> Layers:
    """Extend each layer that is only biometric for this subject by the fallback factors.

    Enrollment decides, not what risk left of it: forbidding factors opens no other way.
    """
    return tuple(
        (*layer, *segment.fallback)
        if (own := enrolled & set(layer)) and own <= BIOMETRIC
        else layer
        for layer in layers
    )


def _ordered(
    layer: tuple[str, ...], usable: frozenset[str], friction: Mapping[str, float]
) -> tuple[str, ...]:
    return tuple(sorted((name for name in layer if name in usable), key=friction.__getitem__))


def _lifting(
    fresh: Sequence[Evidence],
    *,
    usable: frozenset[str],
    wanted: Acr,
    now: datetime,
    friction: Mapping[str, float],
) -> tuple[str, ...]:
    """Return the factors that raise the level, by the total friction of reaching the wanted one."""
    level = achieved(fresh, now).acr

    def cost(name: str) -> float:
        with_it = [*fresh, supposed(name)]
        if achieved(with_it, now).acr >= wanted:
            return friction[name]
        rest = (
            friction[other]
            for other in usable
            if achieved([*with_it, supposed(other)], now).acr >= wanted
        )
        return friction[name] + min(rest, default=100.0)

    lifting = [name for name in usable if achieved([*fresh, supposed(name)], now).acr > level]
    return tuple(sorted(lifting, key=lambda name: (cost(name), friction[name], name)))


def _serve(
    number: int,
    *,
    layers: Layers,
    evidence: Sequence[Evidence],
    served: dict[int, int],
    tried: set[int],
) -> bool:
    for place, item in enumerate(evidence):
        if place in tried or item.factor not in layers[number]:
            continue
        tried.add(place)
        if place not in served or _serve(
            served[place], layers=layers, evidence=evidence, served=served, tried=tried
        ):
            served[place] = number
            return True
    return False


def _unreachable(decision: Decision) -> Decision:
    detail = "The required level cannot be reached with what is enrolled."
    return _ended(decision, "unmet_authentication_requirements", detail)


def _ended(decision: Decision, code: str, detail: str) -> Decision:
    reason = Reason(code, "policy", 0.0, detail)
    return replace(decision, effect=Effect.DENY, reasons=(*decision.reasons, reason))
