"""Risk held against a subject across sessions, and its clearing."""

from typing import Final
from uuid import UUID

from service.audit.actions.audit_log import AuditLog
from service.domain.clock import Clock
from service.domain.errors import NotFound
from service.domain.ids import new_id
from service.policy import store
from service.policy.model.decision import Decision
from service.policy.store import HeldRisk
from service.store.ahead import PlannedRead
from service.store.engine import Tx
from service.store.erasing import erases

_LISTED: Final = 16


class SubjectRisks:
    """The stored risk of subjects."""

    def __init__(self, audit: AuditLog, clock: Clock) -> None:
        self._audit = audit
        self._clock = clock

    def of(self, tx: Tx, subject: UUID) -> float:
        """Return the nats held against a subject, 0 or below."""
        found = store.risk(tx, subject)
        return min(0.0, float(found["llr"])) if found else 0.0

    def ahead(self, subject: UUID) -> PlannedRead:
        """Return what `of` reads."""
        return store.risk_ahead(subject)

    def hold(self, tx: Tx, subject: UUID, decision: Decision, held: float) -> None:
        """Store the risk of a decision if it is worse than the stored one."""
        if decision.hold >= held:
            return
        now = self._clock.now()
        content: HeldRisk = {
            "llr": decision.hold,
            "codes": _codes(decision),
            "policy": decision.policy_version,
        }
        store.hold_risk(tx, number=new_id(now), subject=subject, content=content, now=now)
        self._audit.append(
            tx, "risk.held", subject=subject, band=decision.band.label, codes=content["codes"]
        )

    @erases("factor", tables=("subject_risk",))
    def delete_for(self, tx: Tx, subject: UUID) -> bool:
        """Delete the risk of a subject that is erased."""
        return store.drop_risk(tx, subject)

    def clear(self, tx: Tx, subject: UUID, by: str) -> None:
        """Clear the risk of a subject; raises NotFound if there is none."""
        if not store.drop_risk(tx, subject):
            raise NotFound("risk_not_found", "Nothing is held against this subject.")
        self._audit.append(tx, "risk.cleared", subject=subject, actor=by)


def _codes(decision: Decision) -> list[str]:
    return list(dict.fromkeys(item.code for item in decision.reasons))[:_LISTED]
