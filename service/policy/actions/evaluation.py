"""Evaluation by the active policy of this process, which is reloaded every few seconds."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from crypto.errors import CryptoError, KeyUnavailable
from service.domain.assurance import Acr
from service.domain.clock import Clock
from service.domain.errors import LaminaError, SetupError, Unavailable
from service.domain.ids import new_id
from service.policy import store
from service.policy.actions import repository
from service.policy.actions.parsing import shipped
from service.policy.model import bands as bands_of
from service.policy.model import engine, packing, parser, replay
from service.policy.model.compiler import Whole
from service.policy.model.decision import Decision, Effect, Facts
from service.policy.model.threshold_shift import ThresholdShift, value_at
from service.policy.store import NewDecision, PolicyStateContent
from service.risk.model import Assessment, Band
from service.store.engine import Store, Tx
from service.store.erasing import erases
from service.store.sealed import sealer_of
from service.store.turns import take_start
from service.telemetry import logs

_PURPOSE: Final = "decision-digest"
_DIGEST: Final = 16
"""Bytes of a keyed digest: nobody without the key can try which facts it is of."""


@dataclass(frozen=True, slots=True)
class _Live:
    """The policy state of this process, replaced as a whole on reload."""

    revision: int
    active: Whole
    shadow: Whole | None
    tighten: ThresholdShift | None


@dataclass(frozen=True, slots=True)
class Judged:
    """A decision with its facts, and the difference to the shadow's decision."""

    facts: Facts = field(repr=False)
    decision: Decision
    shadow: str | None = None
    shadow_change: str | None = None


class Policies:
    """Evaluates the active policy, and a shadow policy without effect beside it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._now: _Live | None = None

    @property
    def version(self) -> str:
        """Return the active version in this process."""
        return self._live.active.version

    @property
    def signal_budget_ms(self) -> float:
        """Return the time budget of a signal in milliseconds."""
        return self._live.active.document.signal_budget_ms

    def judge(self, facts: Facts) -> Judged:
        """Decide by the active policy; the shadow's decision is recorded but has no effect."""
        live = self._live
        facts = replace(facts, tighten=value_at(live.tighten, facts.now))
        decision = engine.decide(live.active, facts)
        if live.shadow is None:
            return Judged(facts, decision)
        return Judged(facts, decision, live.shadow.version, _shadowed(live.shadow, facts, decision))

    def ways(self, segments: Sequence[str]) -> tuple[bool, bool]:
        """Return whether disclosure is deferred and whether attempts share one bucket.

        This depends on the client alone: the strictest of the segments that it serves applies.
        """
        found = [self._live.active.segment(name) for name in segments]
        return any(item.deferred for item in found), any(item.one_bucket for item in found)

    def liveness(self, segment: str) -> str:
        """Return the required liveness of a face; empty if the policy does not set it."""
        return self._live.active.segment(segment).liveness

    def accepts(self, segment: str) -> frozenset[str]:
        """Return the factors that a segment accepts."""
        return self._live.active.segment(segment).factors

    def admits_unverified(self, segment: str) -> bool:
        """Tell whether an unverified e-mail address may sign in to a segment.

        If this process cannot read a policy, none may.
        """
        return self._now is not None and self._live.active.segment(segment).unverified_email

    def offers(self, segment: str) -> frozenset[str]:
        """Return the types that a login lets a person enroll who has none of them."""
        return self._live.active.segment(segment).offers

    def reachable(self, segment: str, enrolled: frozenset[str]) -> Acr:
        """Return the highest level that enrolled factors reach in a segment."""
        return engine.highest(enrolled & self._live.active.segment(segment).factors)

    def session_idle(self, segment: str) -> timedelta | None:
        """Return the idle timeout of sessions; None if only the level determines it."""
        seconds = self._live.active.segment(segment).session_idle
        return None if seconds is None else timedelta(seconds=seconds)

    def keeps_sessions(self, segment: str) -> bool:
        """Return whether other sessions survive when a signed-in person changes authenticators."""
        return self._live.active.segment(segment).keep_sessions

    def cooldown(self, segment: str) -> timedelta:
        """Return the cool-down in which new authenticators do not suffice for some actions."""
        return timedelta(hours=self._live.active.segment(segment).cooldown_hours)

    def recovery_wait(self, segment: str) -> timedelta:
        """Return how long a recovery by the help desk waits before its code is sent."""
        return timedelta(hours=self._live.active.segment(segment).recovery_hours)

    def clears(self, segment: str, level: Acr, enrolled: frozenset[str]) -> bool:
        """Return whether a completed flow clears the risk held against a subject."""
        if self._live.active.segment(segment).subject_risk.clears == "phr":
            return level is Acr.AAL2_PHR
        return level >= max(Acr.AAL2, engine.highest(enrolled))

    def band(self, segment: str, assessments: Sequence[Assessment]) -> Band:
        """Return the risk band of signals outside a flow, by the current thresholds."""
        tighten = value_at(self._live.tighten, self._clock.now())
        bands = self._live.active.segment(segment).bands
        return bands_of.band(bands, bands_of.total(assessments), tighten)

    def record(self, tx: Tx, subject: UUID, judged: Judged) -> str:
        """Store a decision about a subject with its facts, unless it only asks for more factors.

        One of which a policy in shadow would decide otherwise is stored as well.

        Returns:
            A keyed digest of a decision that is not stored, for the log; empty for one that is.
        """
        facts = judged.facts
        decision = judged.decision
        content = packing.content_of(facts, decision)
        alike = judged.shadow_change in {None, replay.SAME}
        if decision.effect is Effect.REQUIRE and decision.hold >= facts.standing and alike:
            key = sealer_of(tx).purpose_key(tx, _PURPOSE)
            return hmac.digest(key, content, "sha256")[:_DIGEST].hex()
        values: NewDecision = {
            "id": new_id(facts.now),
            "subject_id": subject,
            "at": facts.now,
            "policy": decision.policy_version,
            "segment": facts.segment,
            "purpose": facts.purpose,
            "effect": decision.effect.value,
            "shadow": judged.shadow,
            "shadow_change": judged.shadow_change,
        }
        store.add_decision(tx, values, packing.pack(content))
        return ""

    @erases("biometric", "behavior", "factor", tables=("policy_decision",))
    def delete_for(self, tx: Tx, subject: UUID) -> int:
        """Delete all decisions about a subject; their facts hold results of signals and faces."""
        return store.forget_decisions(tx, subject)

    def drop_old(self, tx: Tx, now: datetime) -> int:
        """Delete decisions past the retention of the active policy; return how many."""
        kept = timedelta(days=self._live.active.document.retention_days)
        return store.drop_decisions(tx, now - kept)

    def take_up(self, database: Store, *, sealing: bool) -> None:
        """Load the active policy at process start, and create the first one if necessary.

        Args:
            database: The database.
            sealing: Whether this process holds the keys to write the first policy.

        Raises:
            SetupError: The stored policy cannot be decrypted.
        """
        with database.transaction(read=True) as tx:
            known = self.known(tx)
        if not known and sealing:
            with database.transaction() as tx:
                take_start(tx)
                self.ensure(tx)
        try:
            with database.transaction(read=True) as tx:
                self.refresh(tx)
        except SetupError:
            database.engine.dispose()
            raise

    def ensure(self, tx: Tx) -> None:
        """Store the default policy; in a new database also activate it, later ones stay drafts."""
        document = shipped()
        version = parser.version_of(document)
        if store.document(tx, version) is None:
            repository.add(
                tx,
                document=document,
                version=version,
                actor=repository.SHIPPED,
                now=self._clock.now(),
            )
        if store.revision(tx) is None:
            content: PolicyStateContent = {
                "active": version,
                "history": [],
                "shadow": None,
                "tighten": None,
            }
            store.first_state(tx, content, self._clock.now())

    def known(self, tx: Tx) -> bool:
        """Return whether `ensure` has nothing to do."""
        there = store.document(tx, parser.version_of(shipped())) is not None
        return there and store.revision(tx) is not None

    def refresh(self, tx: Tx) -> None:
        """Reload the active policy; if it cannot be read, keep the last good one.

        Raises:
            SetupError: There is no last good one, because this process has just started.
        """
        try:
            self._now = self._read(tx)
        except KeyUnavailable:
            # A process without this key class makes no decisions but may do other work.
            self._now = None
        except (CryptoError, LaminaError) as error:
            logs.get().error("policy_refused", error=type(error).__name__)
            if self._now is None:
                detail = "the stored policy does not open or is not whole; restore the database"
                raise SetupError("bad_policy", detail) from None

    def _read(self, tx: Tx) -> _Live:
        revision, content = repository.state(tx)
        known = self._now
        if known is not None and known.revision == revision:
            return known
        wholes = {} if known is None else {known.active.version: known.active}
        active = wholes.get(content["active"]) or repository.whole(tx, content["active"])
        shadow = repository.whole(tx, content["shadow"]) if content["shadow"] else None
        return _Live(revision, active, shadow, repository.course(content))

    @property
    def _live(self) -> _Live:
        if self._now is None:
            raise Unavailable("policy_unavailable", "No policy can be read here.")
        return self._now


def _shadowed(shadow: Whole, facts: Facts, decision: Decision) -> str:
    try:
        other = replay.decision_to_json(engine.decide(shadow, facts))
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError):
        return "fault"
    return replay.change(replay.decision_to_json(decision), other)
