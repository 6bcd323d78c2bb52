"""Structured conditions over a closed vocabulary, validated once and compiled to closures."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from service.domain.assurance import parse_acr
from service.domain.errors import BadInput, Fault
from service.risk.model import Band

DEEPEST: Final = 4
WIDEST: Final = 32
LONGEST_LIST: Final = 1000
LONGEST_TEXT: Final = 256
STAGES: Final = ("admission", "approval", "transaction", "after")
SIGNALS: Final = ("behavior", "login_context", "face_passive")
View = Mapping[str, object]
"""The fields of the vocabulary that have a value, by name."""
Condition = Callable[[View], bool]
_PAYMENT: Final = ("approval", "transaction", "after")


@dataclass(frozen=True, slots=True)
class PolicyField:
    """A field of the vocabulary.

    Args:
        kind: text, number, flag, set, band or acr.
        risk: +1 if a greater value means more risk, -1 if a smaller one, 0 if neither.
        stages: The stages in which the field has a value.
    """

    kind: str
    risk: int = 0
    stages: tuple[str, ...] = STAGES


VOCABULARY: Final[Mapping[str, PolicyField]] = {
    "purpose": PolicyField("text"),
    "client": PolicyField("text"),
    "known_device": PolicyField("flag"),
    "hour": PolicyField("number"),
    "weekday": PolicyField("number"),
    "requested": PolicyField("acr"),
    "enrolled": PolicyField("set"),
    "shown": PolicyField("set"),
    "band": PolicyField("band", 1),
    "subject_band": PolicyField("band", 1),
    "llr": PolicyField("number", -1),
    "hard": PolicyField("flag", 1),
    "reasons": PolicyField("set", 1),
    **{f"signal.{name}": PolicyField("number", -1) for name in SIGNALS},
    "amount": PolicyField("number", 0, _PAYMENT),
    "currency": PolicyField("text", 0, _PAYMENT),
    "payee": PolicyField("text", 0, _PAYMENT),
    "kind": PolicyField("text", 0, _PAYMENT),
    "channel": PolicyField("text", 0, _PAYMENT),
    "new_payee": PolicyField("flag", 1, _PAYMENT),
    "amount_ratio": PolicyField("number", 1, _PAYMENT),
    "count_24h": PolicyField("number", 1, _PAYMENT),
    "sum_24h": PolicyField("number", 1, _PAYMENT),
    "count_since_sca": PolicyField("number", 1, _PAYMENT),
    "sum_since_sca": PolicyField("number", 1, _PAYMENT),
    "probability": PolicyField("number", 1, _PAYMENT),
    "malware": PolicyField("flag", 1, _PAYMENT),
    "integrity": PolicyField("flag", -1, _PAYMENT),
}
"""All fields that a condition may use."""

UNPROVEN: Final = frozenset({"purpose", "client", "requested", "hour", "weekday"})
"""Fields that have a value before any factor was verified."""
_ORDER: Final = {"lt": operator.lt, "lte": operator.le, "gt": operator.gt, "gte": operator.ge}
_OPS: Final = {
    "text": ("eq", "ne", "in", "not_in"),
    "number": ("eq", "ne", "in", "not_in", *_ORDER),
    "flag": ("eq",),
    "set": ("contains", "contains_any"),
    "band": tuple(_ORDER),
    "acr": ("eq", *_ORDER),
}
OPS: Final = tuple(dict.fromkeys(op for ops in _OPS.values() for op in ops))
_BANDS: Final = {band.label: band for band in Band}

SCHEMA: Final[dict[str, object]] = {
    "description": "A leaf {field, op, value}, or one of all, any, not; at most 4 deep.",
    "oneOf": [
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["field", "op", "value"],
            "properties": {
                "field": {"enum": list(VOCABULARY)},
                "op": {"enum": list(OPS)},
                "value": {},
            },
        },
        *(
            {
                "type": "object",
                "additionalProperties": False,
                "required": [name],
                "properties": {
                    name: {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": WIDEST,
                        "items": {"type": "object"},
                    }
                },
            }
            for name in ("all", "any")
        ),
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["not"],
            "properties": {"not": {"type": "object"}},
        },
    ],
}
"""JSON Schema of a condition; `compile_condition` checks what a schema cannot express."""


@dataclass(kw_only=True, frozen=True, slots=True)
class _Place:
    """The position of a condition in the document, and its context.

    Args:
        sign: +1 if the branch may only become true with more risk, -1 under a `not`; reversed if
            the rule relieves.
        missing: The result for a field without a value, so that the rule fails closed.
    """

    pointer: str
    stage: str
    sign: int
    missing: bool
    depth: int = 1

    def below(self, name: str, *, turned: bool = False) -> "_Place":
        """Return the place of a member."""
        flip = -1 if turned else 1
        return _Place(
            pointer=f"{self.pointer}/{name}",
            stage=self.stage,
            sign=self.sign * flip,
            missing=self.missing ^ turned,
            depth=self.depth + 1,
        )


def compile_condition(
    value: object, pointer: str, stage: str, *, relief: bool = False, unproven: bool = False
) -> Condition:
    """Compile a condition to a closure over a view of fields.

    A field that depends on risk may only be used so that more risk requires more: a raising rule
    may only become true with it, a relieving one only false.

    Args:
        value: The condition as JSON.
        pointer: Its JSON pointer in the document.
        stage: The stage of its rule.
        relief: Whether the rule relieves.
        unproven: Whether a field without a value makes no rule apply. By default it makes a raising
            rule apply, which must not happen before anything is known of the person.

    Raises:
        BadInput: A field, operation, value or limit is invalid; the fault has the pointer.
    """
    missing = not relief and not unproven
    return _compile(
        value, _Place(pointer=pointer, stage=stage, sign=-1 if relief else 1, missing=missing)
    )


def _compile(value: object, place: _Place) -> Condition:
    if place.depth > DEEPEST:
        raise _wrong(place.pointer, "too_deep", f"conditions nest at most {DEEPEST} deep")
    if not isinstance(value, Mapping):
        raise _wrong(place.pointer, "condition_type", "must be an object")
    names = set(value)
    if names == {"not"}:
        inner = _compile(value["not"], place.below("not", turned=True))
        return lambda view: not inner(view)
    if names in ({"all"}, {"any"}):
        return _group(names.pop(), value, place)
    if names == {"field", "op", "value"}:
        return _leaf(value, place)
    unknown = sorted(names - {"all", "any", "not", "field", "op", "value"})
    at = f"{place.pointer}/{unknown[0]}" if unknown else place.pointer
    raise _wrong(at, "condition_form", "must be {field, op, value}, or one of all, any, not")


def _group(name: str, value: Mapping[str, object], place: _Place) -> Condition:
    parts = value[name]
    if not isinstance(parts, list | tuple) or not 1 <= len(parts) <= WIDEST:
        raise _wrong(f"{place.pointer}/{name}", "condition_list", f"must list 1 to {WIDEST}")
    inner = place.below(name)
    compiled = tuple(
        _compile(
            part,
            _Place(
                pointer=f"{inner.pointer}/{n}",
                stage=inner.stage,
                sign=inner.sign,
                missing=inner.missing,
                depth=inner.depth,
            ),
        )
        for n, part in enumerate(parts)
    )
    return _each(compiled, until=name == "any")


def _each(parts: tuple[Condition, ...], *, until: bool) -> Condition:
    """Return the closure of `any` or `all`, as a loop, which costs half as much as a generator."""

    def group(view: View) -> bool:
        for part in parts:
            if part(view) is until:
                return until
        return not until

    return group


def _leaf(value: Mapping[str, object], place: _Place) -> Condition:
    name = value["field"]
    op = value["op"]
    if not isinstance(name, str) or (field := VOCABULARY.get(name)) is None:
        raise _wrong(f"{place.pointer}/field", "unknown_field", "is no field of the vocabulary")
    if place.stage not in field.stages:
        detail = f"{name} is not known at the stage {place.stage}"
        raise _wrong(f"{place.pointer}/field", "field_not_here", detail)
    if not isinstance(op, str) or op not in _OPS[field.kind]:
        detail = f"{name} takes one of {', '.join(_OPS[field.kind])}"
        raise _wrong(f"{place.pointer}/op", "unknown_operation", detail)
    operand = _operand(field.kind, op, value["value"], f"{place.pointer}/value")
    if field.risk and field.risk * _direction(op, operand) != place.sign:
        detail = f"{name} used so would ask for less as risk grows"
        raise _wrong(place.pointer, "not_monotone", detail)
    return _closure(name, op, operand, missing=place.missing)


def _direction(op: str, operand: object) -> int:
    """Return +1 if a greater value makes the leaf true, -1 if a smaller one does, else 0."""
    if op == "eq" and isinstance(operand, bool):
        return 1 if operand else -1
    return {"lt": -1, "lte": -1, "gt": 1, "gte": 1, "contains": 1, "contains_any": 1}.get(op, 0)


def _operand(kind: str, op: str, value: object, pointer: str) -> object:
    if op not in {"in", "not_in", "contains_any"}:
        return _scalar("text" if kind == "set" else kind, value, pointer)
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= LONGEST_LIST:
        raise _wrong(pointer, "value_type", f"must list 1 to {LONGEST_LIST} values")
    inner = "text" if kind == "set" else kind
    return frozenset(_scalar(inner, item, f"{pointer}/{n}") for n, item in enumerate(value))


def _scalar(kind: str, value: object, pointer: str) -> object:
    if kind == "flag" and isinstance(value, bool):
        return value
    if kind == "number" and isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if kind == "band" and isinstance(value, str) and value in _BANDS:
        return _BANDS[value]
    if kind == "text" and isinstance(value, str) and 0 < len(value) <= LONGEST_TEXT:
        return value
    if kind == "acr" and isinstance(value, str):
        try:
            return parse_acr(value)
        except ValueError:
            pass
    raise _wrong(pointer, "value_type", f"must be a {kind}")


def _closure(name: str, op: str, operand: object, *, missing: bool) -> Condition:
    compare = _COMPARE[op]

    def leaf(view: View) -> bool:
        value = view.get(name)
        return missing if value is None else bool(compare(value, operand))

    return leaf


_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    **_ORDER,
    "eq": operator.eq,
    "ne": operator.ne,
    "in": lambda value, among: value in among,
    "not_in": lambda value, among: value not in among,
    "contains": lambda values, one: one in values,
    "contains_any": lambda values, some: not some.isdisjoint(values),
}


def _wrong(pointer: str, code: str, detail: str) -> BadInput:
    return BadInput(Fault(pointer, code, detail), code="bad_policy")
