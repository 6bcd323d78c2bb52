"""Facts and decisions as JSON, for storing, replaying and comparing decisions."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypedDict
from uuid import UUID

from service.domain.assurance import Acr, Evidence, EvidenceJson
from service.policy.model.decision import Decision, Effect, Facts
from service.risk.fusion import Availability
from service.risk.model import Assessment, Reason

FORMAT: Final = 1
SAME: Final = "same"
"""The comparison of two decisions that ask for the same."""
LEAST_PEOPLE: Final = 20
"""Minimum number of people behind a count shown without the right to read their risk."""
_CELLS: Final = {
    "step_up": "step_ups",
    "denied": "denials",
    "eased": "eased",
    "other": "other",
    SAME: "same",
}
_COLUMNS: Final = (
    "decisions",
    *(f"{side}_{effect.value}" for side in ("old", "new") for effect in Effect),
    *_CELLS.values(),
)
ReasonJson = list[str | float]
"""Code, signal, contribution and detail of a reason."""
AssessmentJson = tuple[str, float, list[ReasonJson], bool, bool, str]


class FactsJson(TypedDict):
    """The facts of a decision as JSON values, in the form in which they are stored."""

    v: int
    purpose: str
    segment: str
    stage: str
    evidence: list[EvidenceJson]
    enrolled: list[str]
    assessments: list[AssessmentJson]
    requested: int
    max_age: int | None
    now: str
    suspended: bool
    disclosed: bool
    proven: bool
    standing: float
    tighten: float
    context: dict[str, object]


class DecisionJson(TypedDict):
    """A decision as JSON values, in the form in which it is stored."""

    effect: str
    required: int
    layers: list[list[str]]
    band: str
    reasons: list[ReasonJson]
    policy: str
    obligations: list[str]
    delay: int
    hold: float


class StoredDecision(TypedDict):
    """The sealed content of a stored decision."""

    facts: FactsJson
    outcome: DecisionJson


_ORDER: Final = (Effect.ALLOW, Effect.REQUIRE, Effect.DENY, Effect.SUSPEND)


def facts_to_json(facts: Facts) -> FactsJson:
    """Return the facts as JSON values, for sealing."""
    return {
        "v": FORMAT,
        "purpose": facts.purpose,
        "segment": facts.segment,
        "stage": facts.stage,
        "evidence": [item.to_json() for item in facts.evidence],
        "enrolled": sorted(facts.enrolled),
        "assessments": [
            (
                item.signal,
                item.llr,
                _reasons(item.reasons),
                item.enough_history,
                item.hard,
                item.seen.value,
            )
            for item in facts.assessments
        ],
        "requested": int(facts.requested),
        "max_age": facts.max_age,
        "now": facts.now.isoformat(),
        "suspended": facts.suspended,
        "disclosed": facts.disclosed,
        "proven": facts.proven,
        "standing": facts.standing,
        "tighten": facts.tighten,
        "context": dict(facts.context),
    }


def facts_from_json(value: FactsJson) -> Facts:
    """Build the facts from the output of `facts_to_json`."""
    return Facts(
        purpose=value["purpose"],
        segment=value["segment"],
        stage=value["stage"],
        evidence=tuple(Evidence.from_json(item) for item in value["evidence"]),
        enrolled=frozenset(value["enrolled"]),
        assessments=tuple(
            Assessment(
                signal=signal,
                llr=llr,
                reasons=tuple(map(_reason, reasons)),
                enough_history=enough,
                hard=hard,
                seen=Availability(seen),
            )
            for signal, llr, reasons, enough, hard, seen in value["assessments"]
        ),
        requested=Acr(value["requested"]),
        max_age=value["max_age"],
        now=datetime.fromisoformat(value["now"]),
        suspended=value["suspended"],
        disclosed=value["disclosed"],
        proven=value.get("proven", True),
        standing=value["standing"],
        tighten=value["tighten"],
        context=value["context"],
    )


def decision_to_json(decision: Decision) -> DecisionJson:
    """Return a decision as JSON values; equal values mean equal decisions."""
    return {
        "effect": decision.effect.value,
        "required": int(decision.required),
        "layers": [list(layer) for layer in decision.layers],
        "band": decision.band.label,
        "reasons": _reasons(decision.reasons),
        "policy": decision.policy_version,
        "obligations": list(decision.obligations),
        "delay": decision.delay,
        "hold": decision.hold,
    }


def change(old: DecisionJson, new: DecisionJson) -> str:
    """Return how the decision of another policy on the same facts differs.

    One of `same`, `step_up` (requires more instead of allowing), `denied`, `eased` (requires less),
    or `other` (the same effect in another way).
    """
    before, after = (_ORDER.index(Effect(item["effect"])) for item in (old, new))
    if after > before:
        return "step_up" if _ORDER[after] is Effect.REQUIRE else "denied"
    if after < before:
        return "eased"
    return SAME if _demand(old) == _demand(new) else "other"


@dataclass(slots=True)
class Row:
    """Comparison counts of one segment, with the people behind each count."""

    decisions: int = 0
    cells: Counter[str] = field(default_factory=Counter)
    people: dict[str, set[UUID]] = field(default_factory=dict)

    def add(self, subject: UUID, old: DecisionJson, new: DecisionJson) -> None:
        """Count one decision about a subject."""
        self.decisions += 1
        names = (f"old_{old['effect']}", f"new_{new['effect']}", _CELLS[change(old, new)])
        for name in ("decisions", *names):
            self.cells[name] += 1
            self.people.setdefault(name, set()).add(subject)

    def cell(self, name: str, least: int) -> int | None:
        """Return a count; None if it is of some but fewer than `least` people."""
        behind = len(self.people.get(name, ()))
        if 0 < behind < least:
            return None
        # One person more or less must not be visible by comparing two reports.
        return self.cells[name] // least * least if least > 1 else self.cells[name]


class Table:
    """The result of a backtest: old against new decisions by segment."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.unopened = 0

    def add(self, segment: str, subject: UUID, old: DecisionJson, new: DecisionJson) -> None:
        """Count one decision about a subject."""
        self.rows.setdefault(segment, Row()).add(subject, old, new)

    @property
    def decisions(self) -> int:
        """Return the number of decisions compared."""
        return sum(row.decisions for row in self.rows.values())

    def listing(self, least: int = 1) -> list[dict[str, str | int | None]]:
        """Return one row per segment.

        Args:
            least: Minimum number of people behind a count; below it the count is None, and the
                others are rounded down to a multiple of it, so that no individual risk can be
                inferred.
        """
        return [
            {"segment": name, **{cell: row.cell(cell, least) for cell in _COLUMNS}}
            for name, row in sorted(self.rows.items())
        ]


def _demand(made: DecisionJson) -> tuple[int, list[list[str]], str, int]:
    return made["required"], made["layers"], made["band"], made["delay"]


def _reasons(reasons: Iterable[Reason]) -> list[ReasonJson]:
    return [[item.code, item.signal, item.contribution, item.detail] for item in reasons]


def _reason(stored: ReasonJson) -> Reason:
    code, signal, contribution, detail = stored
    return Reason(str(code), str(signal), float(contribution), str(detail))
