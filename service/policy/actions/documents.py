"""Lifecycle of policy documents (draft, validated, shadow, active, retired); threshold shifts."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

import orjson

from service.audit.actions.audit_log import AuditLog
from service.domain.bounds import USUAL, Bounds
from service.domain.clock import Clock, rfc3339
from service.domain.errors import BadInput, Conflict, Fault, Forbidden
from service.domain.figures import LOOSENING
from service.policy import store
from service.policy.actions import repository
from service.policy.model import replay
from service.policy.model.compiler import (
    Whole,
    compile_document,
    require_satisfiable,
    warnings,
)
from service.policy.model.document import TIGHTEN, Document
from service.policy.model.threshold_shift import (
    LONGEST_AUTOMATIC,
    LONGEST_LIFE,
    LONGEST_RAMP,
    ThresholdShift,
    never_looser,
    value_at,
)
from service.policy.store import PolicyDocument, PolicyStateContent
from service.policy.views import (
    PolicySummary,
    PolicyView,
    RiskParameters,
    ShadowCount,
    Status,
    ThresholdShiftView,
    ValidatedPolicy,
)
from service.store.engine import Tx
from service.store.turns import take_turn
from service.web.paging import Page, PageRequest

_KEPT: Final = 20
PLACES: Final = 2
"""Decimal places of a threshold shift over HTTP, so that an approval names the exact value."""


class Lives:
    """Manages the lifecycle of policy documents.

    Args:
        registered: The factors that this deployment can verify.
    """

    def __init__(
        self, registered: frozenset[str], audit: AuditLog, clock: Clock, bounds: Bounds = USUAL
    ) -> None:
        self._bounds = bounds
        self._registered = registered
        self._audit = audit
        self._clock = clock

    def listing(self, tx: Tx) -> list[PolicySummary]:
        """Return all documents with their status, newest first."""
        _, content = repository.state(tx)
        return [_view(row, content) for row in store.documents(tx)]

    def page(self, tx: Tx, page: PageRequest) -> Page[PolicySummary]:
        """Return a page of documents with their status, newest first."""
        _, content = repository.state(tx)
        rows = store.documents(tx, page.after, page.fetched)
        return page.answer(rows, lambda row: row.id, lambda row: _view(row, content))

    def show(self, tx: Tx, version: str) -> PolicyView:
        """Return a document, its status, and its results as a shadow; raises NotFound."""
        row = repository.row(tx, version)
        counts: list[ShadowCount] = [
            {
                "segment": item.segment,
                "change": item.shadow_change,
                # A count of few people would reveal one person's risk.
                "decisions": item.decisions if item.people >= replay.LEAST_PEOPLE else None,
            }
            for item in store.shadow_counts(tx, row.version)
        ]
        _, content = repository.state(tx)
        return {**_view(row, content), "document": orjson.loads(row.body), "shadow": counts}

    def draft(self, tx: Tx, document: Document, actor: str) -> PolicyView:
        """Store a draft; drafting an identical document again has no effect.

        Raises:
            BadInput: The document cannot be compiled: inheritance or a condition is invalid.
        """
        whole = compile_document(document)
        if store.document(tx, whole.version) is None:
            self._require_room(tx)
            repository.add(
                tx, document=document, version=whole.version, actor=actor, now=self._clock.now()
            )
            self._note(tx, "policy.drafted", whole.version, actor)
        return self.show(tx, whole.version)

    def delete(self, tx: Tx, version: str, actor: str) -> None:
        """Delete a document that is not active and never was.

        Raises:
            NotFound: The document does not exist.
            Conflict: It is or was active, or the policy changed meanwhile.
        """
        row = repository.row(tx, version)
        (revision, content) = repository.state(tx)
        if _status(row, content) not in {"draft", "validated"}:
            raise Conflict("policy_in_use", "Only a document that was never active can be deleted.")
        # A new revision with the same content makes a concurrent activation of the document fail.
        self._replace(tx, revision, content)
        store.drop_document(tx, row.id)
        self._note(tx, "policy.deleted", row.version, actor)

    def validate(self, tx: Tx, version: str, actor: str) -> ValidatedPolicy:
        """Check that the factors of this deployment can satisfy a document.

        The result has `warnings` about rules that may not act as their author expects.

        Raises:
            BadInput: Names the purpose, band or rule that no one could satisfy.
        """
        row = repository.row(tx, version)
        whole = repository.whole(tx, row.version)
        require_satisfiable(whole, self._registered)
        if row.validated_at is None:
            row.validated_at = self._clock.now()
            self._note(tx, "policy.validated", row.version, actor)
            tx.flush()
        return {**self.show(tx, row.version), "warnings": warnings(whole)}

    def shadow(self, tx: Tx, version: str, actor: str, *, on: bool = True) -> PolicyView:
        """Start or stop evaluating a validated document in shadow of the active one."""
        row = self._validated(tx, version)
        revision, content = repository.state(tx)
        if on and content["active"] == row.version:
            raise Conflict("policy_active", "The active policy is no shadow of itself.")
        shadow = row.version if on else None
        if content["shadow"] != shadow:
            self._replace(tx, revision, {**content, "shadow": shadow})
            self._note(tx, f"policy.shadow_{'begun' if on else 'ended'}", row.version, actor)
        return self.show(tx, row.version)

    def activate(self, tx: Tx, version: str, actor: str) -> PolicyView:
        """Activate a validated document; every process applies it within five seconds.

        Raises:
            Conflict: It is not validated, or is already active.
        """
        row = self._validated(tx, version)
        require_satisfiable(repository.whole(tx, row.version), self._registered)
        revision, content = repository.state(tx)
        if content["active"] == row.version:
            raise Conflict("policy_active", "This policy is already active.")
        history = [*content["history"], content["active"]][-_KEPT:]
        shadow = None if content["shadow"] == row.version else content["shadow"]
        self._replace(
            tx,
            revision,
            {**content, "active": row.version, "history": history, "shadow": shadow},
        )
        self._audit.append(
            tx,
            "policy.activated",
            actor=actor,
            policy=row.version,
            replaced=content["active"],
        )
        # A restored backup may lack it, and an older document would become active again.
        self._audit.remember(
            tx, "policy.document", policy=row.version, document=orjson.loads(row.body)
        )
        return self.show(tx, row.version)

    def rollback(self, tx: Tx, version: str, actor: str) -> PolicyView:
        """Deactivate the active document and reactivate the previous one.

        Raises:
            Conflict: The version is not active, or there is no previous one.
        """
        row = repository.row(tx, version)
        revision, content = repository.state(tx)
        if content["active"] != row.version:
            raise Conflict("policy_not_active", "This policy is not active.")
        if not content["history"]:
            raise Conflict("policy_first", "No policy was active before this one.")
        former = repository.whole(tx, content["history"][-1])
        require_satisfiable(former, self._registered)
        history = content["history"][:-1]
        self._replace(
            tx,
            revision,
            {**content, "active": former.version, "history": history, "shadow": None},
        )
        self._audit.append(
            tx,
            "policy.rolled_back",
            actor=actor,
            policy=row.version,
            restored=former.version,
        )
        return self.show(tx, former.version)

    def restore(self, tx: Tx, document: Mapping[str, object], actor: str) -> None:
        """Restore a document that was active, as validated, if it is missing."""
        version = self.draft(tx, Document.model_validate(document), actor)["version"]
        self.validate(tx, version, actor)

    def parameters(self, tx: Tx) -> RiskParameters:
        """Return the threshold shift: its current value and its course."""
        _, content = repository.state(tx)
        course = repository.course(content)
        shown: ThresholdShiftView = {
            "value": round(value_at(course, self._clock.now()), 4),
            "target": 0.0,
        }
        if course:
            shown = {
                "value": shown["value"],
                "target": course.target,
                "since": rfc3339(course.since),
                "ramp": course.ramp,
                "expires_at": rfc3339(course.expires_at),
                "actor": course.actor,
                "automatic": course.automatic,
            }
        return {"tighten": shown}

    def tighten(  # noqa: PLR0913 - the course has this many members
        self,
        tx: Tx,
        *,
        target: float,
        ramp: int,
        life: timedelta,
        actor: str,
        approved: bool = False,
        automatic: bool = False,
    ) -> RiskParameters:
        """Set the threshold shift, which moves every risk threshold of every segment.

        Args:
            tx: A transaction.
            target: Nats from -2 to 2; above 0 is stricter.
            ramp: Seconds in which the target is reached.
            life: Time until it moves back to 0.
            actor: The actor who sets it.
            approved: Whether a second person approved it.
            automatic: Whether a program sets it; then it may only tighten, for at most a day.

        Raises:
            BadInput: A value is out of bounds.
            Forbidden: It is looser at some time than the last approved shift, or than an active
                automatic one, and no second person approved it.
        """
        _bounded(target, ramp, life, LONGEST_AUTOMATIC if automatic else LONGEST_LIFE)
        now = self._clock.now()
        revision, content = repository.state(tx)
        old = repository.course(content)
        new = ThresholdShift(
            origin=value_at(old, now),
            target=target,
            since=now,
            ramp=ramp,
            expires_at=now + life,
            actor=actor,
            automatic=automatic,
        )
        if not never_looser(self._floor(content, automatic=automatic), new, now) and (
            automatic or not approved
        ):
            detail = "This is looser than what was agreed on: another operator must approve it."
            raise Forbidden(
                "approval_required",
                detail,
                act="policy.activate",
                target=loosening(target),
                params={"ramp": str(ramp), "expires_in": str(int(life.total_seconds()))},
            )
        changed: PolicyStateContent = {**content, "tighten": new.to_json()}
        if approved:
            changed["agreed"] = new.to_json()
        self._replace(tx, revision, changed)
        self._audit.append(
            tx,
            "policy.tightened",
            actor=actor,
            target=target,
            ramp=ramp,
            expires_at=rfc3339(new.expires_at),
            automatic=automatic,
        )
        return self.parameters(tx)

    def full(self, tx: Tx, version: str) -> str:
        """Return the full version for an unambiguous prefix; raises NotFound."""
        return repository.row(tx, version).version

    def whole(self, tx: Tx, version: str) -> Whole:
        """Return a stored document compiled; raises NotFound."""
        return repository.whole(tx, repository.row(tx, version).version)

    def _require_room(self, tx: Tx) -> None:
        take_turn(tx, "drafts")
        _, content = repository.state(tx)
        used = {content["active"], content["shadow"], *content["history"]} - {None}
        if store.count_documents(tx) - len(used) >= self._bounds.max_drafts:
            detail = f"there are {self._bounds.max_drafts} drafts; delete one that is not needed"
            raise Conflict("too_many_drafts", detail)

    @staticmethod
    def _floor(content: PolicyStateContent, *, automatic: bool) -> ThresholdShift | None:
        """Return the shift below which one person may not go alone.

        What one person tightened, one person may undo, down to the last shift that two agreed on.
        An automatic shift lasts until two people end it, and loosens nothing itself.
        """
        standing = repository.course(content)
        if automatic or (standing is not None and standing.automatic):
            return standing
        return repository.course(content, "agreed")

    def _replace(self, tx: Tx, revision: int, content: PolicyStateContent) -> None:
        if not store.replace_state(tx, revision, content, self._clock.now()):
            raise Conflict("policy_moved", "Another request changed the policy; look again.")

    def _validated(self, tx: Tx, version: str) -> PolicyDocument:
        row = repository.row(tx, version)
        if row.validated_at is None:
            raise Conflict("policy_not_validated", "Validate this policy first.")
        return row

    def _note(self, tx: Tx, kind: str, version: str, actor: str) -> None:
        self._audit.append(tx, kind, actor=actor, policy=version)


def loosening(target: float) -> str:
    """Return the target that an approval of a loosening shift must name, with `PLACES` decimals."""
    return f"{LOOSENING}{target + 0.0:+.{PLACES}f}"


def _bounded(target: float, ramp: int, life: timedelta, longest: timedelta) -> None:
    if not -TIGHTEN <= target <= TIGHTEN:
        detail = f"must be from {-TIGHTEN:g} to {TIGHTEN:g}"
        raise BadInput(Fault("/tighten", "out_of_bounds", detail))
    if not 1 <= ramp <= LONGEST_RAMP:
        raise BadInput(Fault("/ramp", "out_of_bounds", f"must be from 1 to {LONGEST_RAMP}"))
    if not timedelta(0) < life <= longest:
        seconds = int(longest.total_seconds())
        raise BadInput(Fault("/expires_in", "out_of_bounds", f"must be from 1 to {seconds}"))


def _view(row: PolicyDocument, content: PolicyStateContent) -> PolicySummary:
    return {
        "version": row.version,
        "name": row.name,
        "status": _status(row, content),
        "created_at": rfc3339(row.created_at),
        "created_by": row.created_by,
        "validated_at": rfc3339(row.validated_at) if row.validated_at else None,
    }


def _status(row: PolicyDocument, content: PolicyStateContent) -> Status:
    if row.version in {content["active"], content["shadow"]}:
        return "active" if row.version == content["active"] else "shadow"
    if row.version in content["history"]:
        return "retired"
    return "validated" if row.validated_at else "draft"
