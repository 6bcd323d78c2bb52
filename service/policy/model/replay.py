"""Facts and decisions as JSON, so that what was decided can be decided again, and compared."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from biometrics.fusion import Seen
from service.domain.assurance import Acr, Evidence
from service.domain.decision import Decision, Effect, Facts
from service.domain.risk import Assessment, Reason

FORMAT: Final = 1
_ORDER: Final = (Effect.ALLOW, Effect.REQUIRE, Effect.DENY, Effect.SUSPEND)


def facts_to_json(facts: Facts) -> dict[str, Any]:
    """Return the facts as JSON values, to be sealed."""
    return {
        "v": FORMAT,
        "purpose": facts.purpose, "segment": facts.segment, "stage": facts.stage,
        "evidence": [item.to_json() for item in facts.evidence],
        "enrolled": sorted(facts.enrolled),
        "assessments": [
            [item.signal, item.llr, _reasons(item.reasons), item.enough_history, item.hard,
             item.seen.value]
            for item in facts.assessments
        ],
        "requested": int(facts.requested), "max_age": facts.max_age, "now": facts.now.isoformat(),
        "suspended": facts.suspended, "disclosed": facts.disclosed, "standing": facts.standing,
        "tighten": facts.tighten, "context": dict(facts.context),
    }  # fmt: skip


def facts_from_json(value: Mapping[str, Any]) -> Facts:
    """Return the facts that `facts_to_json` wrote."""
    return Facts(
        purpose=value["purpose"], segment=value["segment"], stage=value["stage"],
        evidence=tuple(Evidence.from_json(item) for item in value["evidence"]),
        enrolled=frozenset(value["enrolled"]),
        assessments=tuple(
            Assessment(signal, llr, tuple(Reason(*reason) for reason in reasons), enough, hard,
                       Seen(seen))
            for signal, llr, reasons, enough, hard, seen in value["assessments"]
        ),
        requested=Acr(value["requested"]), max_age=value["max_age"],
        now=datetime.fromisoformat(value["now"]), suspended=value["suspended"],
        disclosed=value["disclosed"], standing=value["standing"], tighten=value["tighten"],
        context=value["context"],
    )  # fmt: skip


def decision_to_json(decision: Decision) -> dict[str, Any]:
    """Return a decision as JSON values; two decisions are the same where these are equal."""
    return {
        "effect": decision.effect.value, "required": int(decision.required),
        "layers": [list(layer) for layer in decision.layers], "band": decision.band.label,
        "reasons": _reasons(decision.reasons), "policy": decision.policy_version,
        "obligations": list(decision.obligations), "delay": decision.delay,
        "hold": decision.hold,
    }  # fmt: skip


def change(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Return how another policy's decision on the same facts differs.

    One of `same`, `step_up` (asks where it was enough), `denied`, `eased` (asks for less), or
    `other` (the same effect by another way).
    """
    before, after = (_ORDER.index(Effect(item["effect"])) for item in (old, new))
    if after > before:
        return "step_up" if _ORDER[after] is Effect.REQUIRE else "denied"
    if after < before:
        return "eased"
    members = ("required", "layers", "band", "delay")
    return "same" if all(old[name] == new[name] for name in members) else "other"


@dataclass(slots=True)
class Row:
    """Old against new in one segment."""

    decisions: int = 0
    old: Counter[str] = field(default_factory=Counter)
    new: Counter[str] = field(default_factory=Counter)
    changes: Counter[str] = field(default_factory=Counter)

    def add(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        """Count one decision."""
        self.decisions += 1
        self.old[old["effect"]] += 1
        self.new[new["effect"]] += 1
        self.changes[change(old, new)] += 1


class Table:
    """What a backtest shows: old against new by segment."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.unopened = 0

    def add(self, segment: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        """Count one decision."""
        self.rows.setdefault(segment, Row()).add(old, new)

    def listing(self) -> list[dict[str, Any]]:
        """Return a line per segment."""
        return [
            {
                "segment": name, "decisions": row.decisions,
                **_counted("old", row.old, ("allow", "require", "deny", "suspend")),
                **_counted("new", row.new, ("allow", "require", "deny", "suspend")),
                "step_ups": row.changes["step_up"], "denials": row.changes["denied"],
                "eased": row.changes["eased"], "other": row.changes["other"],
                "same": row.changes["same"],
            }
            for name, row in sorted(self.rows.items())
        ]  # fmt: skip


def _counted(prefix: str, counts: Counter[str], names: Iterable[str]) -> dict[str, int]:
    return {f"{prefix}_{name}": counts[name] for name in names}


def _reasons(reasons: Iterable[Reason]) -> list[list[Any]]:
    return [[item.code, item.signal, item.contribution, item.detail] for item in reasons]
