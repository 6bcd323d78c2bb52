"""Random policies, facts and worse facts, for tests and benchmarks of the decision."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from service.domain.assurance import Acr, Evidence, Kind
from service.domain.errors import BadInput
from service.policy.actions.parsing import shipped
from service.policy.model import engine, parser
from service.policy.model.compiler import compile_document
from service.policy.model.conditions import STAGES, VOCABULARY
from service.policy.model.decision import Effect, Facts
from service.policy.model.document import FACTORS, PURPOSES
from service.risk.model import Assessment, Reason

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
WORST = -9.0
ORDER = (Effect.ALLOW, Effect.REQUIRE, Effect.DENY, Effect.SUSPEND)
_ACRS = tuple(acr.urn for acr in Acr if acr)
_OPS = ("eq", "ne", "in", "not_in", "lt", "lte", "gt", "gte", "contains", "contains_any")
_TEXTS = ("web", "app", "EUR", "login", "password", "fault", "new")
_SIGNALS = ("behavior", "login_context", "other")


class Policy:
    """Decides by one document, without a store and without live parameters."""

    def __init__(self, whole):
        self.whole = whole

    @classmethod
    def shipped(cls):
        """Return the policy that ships with the service."""
        return cls(compile_document(shipped()))

    def decide(self, facts):
        """Return the decision on the facts."""
        return engine.decide(self.whole, facts)


def _layers(random, most):
    return [random.sample(FACTORS, random.randint(1, 3)) for _ in range(random.randint(0, most))]


def _rule(random, purpose):
    acrs = (*_ACRS, "highest", *(("none",) if purpose == "transaction" else ()))
    rule = {"acr": random.choice(acrs), "when_enrolled": _layers(random, 2)}
    if random.random() < 0.3:
        rule["ways"] = [_layers(random, 2) for _ in range(random.randint(1, 3))]
    else:
        rule["layers"] = _layers(random, 3)
    if random.random() < 0.2:
        rule["max_age"] = random.randint(0, 600)
    return rule


def _effect(random):
    effect = {"layers": _layers(random, 2), "delay": random.choice([0, 0, 5, 60])}
    if random.random() < 0.3:
        effect["acr"] = random.choice(_ACRS)
    if random.random() < 0.3:
        effect["forbid"] = random.sample(FACTORS, random.randint(1, 3))
    return effect


def _value(random, kind, op):
    one = {
        "number": lambda: random.choice([-3.0, -1, 0, 0.5, 3, 100]),
        "flag": lambda: random.random() < 0.5,
        "band": lambda: random.choice(["low", "elevated", "high", "critical"]),
        "acr": lambda: random.choice(_ACRS),
    }.get(kind, lambda: random.choice(_TEXTS))
    return [one(), one()] if op in {"in", "not_in", "contains_any"} else one()


def condition(random, depth=1):
    """Return a condition, which may be wrong."""
    if depth < 3 and random.random() < 0.4:
        name = random.choice(["all", "any", "not"])
        if name == "not":
            return {"not": condition(random, depth + 1)}
        return {name: [condition(random, depth + 1) for _ in range(random.randint(1, 3))]}
    name = random.choice(list(VOCABULARY))
    op = random.choice(_OPS)
    return {"field": name, "op": op, "value": _value(random, VOCABULARY[name].kind, op)}


def _ruled(random, number):
    stage = random.choice(STAGES)
    then = _effect(random)
    then |= {"deny": random.random() < 0.1, "suspend": random.random() < 0.1}
    if stage == "transaction" and random.random() < 0.5:
        then = {"relief": {"acr": random.choice([*_ACRS, "none"]), "layers": _layers(random, 1)}}
    return {
        "id": f"r{number}",
        "stage": stage,
        "when": condition(random),
        "then": then,
        "audit_only": random.random() < 0.1,
    }


def _bands(random):
    steps = sorted(random.uniform(-8, -0.1) for _ in range(3))
    bands = dict(zip(("critical", "high", "elevated"), steps, strict=True))
    if random.random() < 0.5:
        odds = sorted(random.uniform(0.01, 0.99) for _ in range(3))
        bands["probability"] = dict(zip(("elevated", "high", "critical"), odds, strict=True))
    bands["hard"] = random.choice(["elevated", "high", "critical"])
    return bands


def policy(random):
    """Return a random compiled policy; rules that the compiler refuses are left out."""
    default = {purpose: _rule(random, purpose) for purpose in PURPOSES}
    default["raise"] = {
        "elevated": _effect(random),
        "high": _effect(random),
        "critical": {"suspend": random.random() < 0.3},
    }
    default["fallback"] = random.sample(["totp", "password", "recovery_code"], random.randint(0, 2))
    if random.random() < 0.2:
        default["factors"] = random.sample(FACTORS, random.randint(2, 5))
    value = {
        "format": 1,
        "name": "random",
        "bands": _bands(random),
        "segments": {"default": default},
    }
    rules = []
    for number in range(random.randint(0, 6)):
        default["rules"] = [*rules, _ruled(random, number)]
        try:
            compile_document(parser.read(value))
        except BadInput:
            continue
        rules = default["rules"]
    default["rules"] = rules
    return compile_document(parser.read(value))


def evidence(random, factor):
    """Return evidence of a factor, of some age."""
    kind = Kind.KNOWLEDGE if factor == "password" else Kind.POSSESSION
    strong = factor == "webauthn"
    return Evidence(
        subject=UUID(int=1),
        flow="f",
        factor=factor,
        authenticator=UUID(int=2),
        kind=kind,
        amr=(),
        at=NOW - timedelta(seconds=random.choice([0, 0, 0, 100, 1000])),
        user_verified=strong and random.random() < 0.5,
        phishing_resistant=strong,
    )


def _assessment(random, name):
    codes = random.sample(_TEXTS, random.randint(0, 2))
    return Assessment(
        signal=name,
        llr=random.choice([0.0, random.uniform(WORST, 5)]),
        reasons=tuple(Reason(code, name, 0.0, "") for code in codes),
        hard=random.random() < 0.1,
    )


def facts(random):
    """Return random facts."""
    stage = random.choice(["admission", "admission", *STAGES])
    context = {}
    if stage != "admission":
        for name, word in VOCABULARY.items():
            if word.stages != STAGES and random.random() < 0.6:
                context[name] = _value(random, word.kind, "eq")
        context["probability"] = random.choice([None, random.random()])
    if random.random() < 0.5:
        context["known_device"] = random.random() < 0.5
    return Facts(
        purpose=random.choice(PURPOSES),
        segment="default",
        stage=stage,
        evidence=tuple(
            evidence(random, name)
            for name in random.choices(FACTORS, k=random.choice([0, 1, 2, 2, 3, 4]))
        ),
        enrolled=frozenset(random.sample(FACTORS, random.randint(0, 5))),
        assessments=tuple(_assessment(random, name) for name in _SIGNALS if random.random() < 0.6),
        requested=random.choice([Acr.NONE, Acr.NONE, *Acr]),
        max_age=random.choice([None, None, 60]),
        now=NOW,
        suspended=random.random() < 0.05,
        disclosed=random.random() < 0.8,
        standing=random.choice([0.0, 0.0, random.uniform(-9, 0)]),
        tighten=random.choice([0.0, random.uniform(-2, 2)]),
        context=context,
    )


def worse(random, old):
    """Return the same facts with more evidence of risk; a fault of a signal is its worst."""
    items = [
        replace(
            item,
            llr=random.choice([item.llr, WORST, random.uniform(WORST, item.llr)]),
            hard=item.hard or random.random() < 0.1,
            reasons=(*item.reasons, Reason(random.choice(_TEXTS), item.signal, 0.0, "")),
        )
        for item in old.assessments
    ]
    if random.random() < 0.5:
        items.append(
            Assessment(signal="added", llr=random.uniform(WORST, 0), hard=random.random() < 0.1)
        )
    context = dict(old.context)
    for name, word in VOCABULARY.items():
        if name in context and word.risk and random.random() < 0.5:
            context[name] = _worse_value(random, word, context[name])
    return replace(
        old,
        assessments=tuple(items),
        context=context,
        standing=min(old.standing, random.choice([0.0, random.uniform(-9, 0)])),
        tighten=max(old.tighten, random.choice([-2.0, random.uniform(-2, 2)])),
    )


def _worse_value(random, word, value):
    if word.kind == "flag":
        return word.risk > 0 if random.random() < 0.5 else value
    if value is None or (value <= 1 and word.kind == "number" and random.random() < 0.3):
        return value
    return value + word.risk * random.random() * (min(1 - value, 1) if 0 <= value <= 1 else 1)


def lowered(whole, before, after):
    """Return what the second facts are asked for less of, empty where nothing."""
    old, new = engine.decide(whole, before), engine.decide(whole, after)
    found = []
    if ORDER.index(new.effect) < ORDER.index(old.effect):
        found.append(f"effect {old.effect} -> {new.effect}")
    found += [
        f"{name} {getattr(old, name)} -> {getattr(new, name)}"
        for name in ("required", "band", "delay")
        if getattr(new, name) < getattr(old, name)
    ]
    return found
