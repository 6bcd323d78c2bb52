"""Begin a flow, act in it, cancel it; no transaction is open during a slow check."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from crypto import opaque
from service.accounts.model import Account
from service.authenticators.actions import RECOVERY_ACT
from service.domain.assurance import Evidence
from service.domain.caller import Caller
from service.domain.errors import (
    BadInput,
    Conflict,
    Expired,
    Fault,
    Throttled,
)
from service.domain.ids import DECOY
from service.login import model, store
from service.login.actions.attempts import Attempts, Submitted
from service.login.completing import Completing, no_session
from service.login.decisions import FlowDecisions
from service.login.dependencies import LoginDependencies
from service.login.holding import locked, no_flow
from service.login.model import Begin, Flow, FlowKind, FlowOutcome, FlowRequest, FlowStatus
from service.login.noting import note
from service.login.reading import FlowReading
from service.sessions.actions import SessionValue
from service.store.bearer import token_digest
from service.store.engine import Tx
from service.throttling.model import Lane

_KEPT: Final = timedelta(minutes=5)


class Login:
    """The layered login flow."""

    def __init__(self, dependencies: LoginDependencies) -> None:
        self._dependencies = dependencies
        self._decisions = FlowDecisions(dependencies)
        self._completing = Completing(dependencies, self._decisions)
        self._reading = FlowReading(dependencies, self._decisions)
        self._attempts = Attempts(dependencies, self._decisions, self._completing, self._reading)

    def begin(self, caller: Caller, wanted: Begin) -> FlowOutcome:
        """Begin a flow; an unknown identifier makes no visible difference.

        Raises:
            NotFound: The access token does not prove an active session of this client.
        """
        dependencies = self._dependencies
        now = self._dependencies.clock.now()
        with dependencies.database.transaction() as tx:
            terms, evidence = self._terms(tx, caller, wanted)
            flow = Flow(id=_flow_id(), terms=terms, began_at=now, active_at=now, evidence=evidence)
            flow = self._decisions.decide(tx, flow)
            token = opaque.new_token("lflow_")
            flow = replace(flow, token_digest=_digest(tx, flow.id, token))
            store.add(tx, flow)
            note(self._dependencies.audit, tx, flow, "flow.begun")
            done = self._completing.conclude(tx, flow, first_party=caller.first_party)
            return replace(done, flow_token=token)

    def act(
        self,
        caller: Caller,
        *,
        flow_id: UUID,
        token: str,
        name: str,
        values: Mapping[str, object],
        revision: int | None = None,
    ) -> FlowOutcome:
        """Verify one factor, or go back.

        Raises:
            NotFound: There is no such flow for this client and token.
            Conflict: The flow has changed, or the action is not legal now.
            Expired: The flow has expired.
            Throttled: The account is delayed.
        """
        submitted = self._attempts.submitted(name, values, first_party=caller.first_party)
        outcome = self._act(
            caller,
            flow_id=flow_id,
            token=token,
            name=name,
            submitted=submitted,
            revision=revision,
        )
        return replace(outcome, aside=(*submitted.aside, *outcome.aside))

    def _act(
        self,
        caller: Caller,
        *,
        flow_id: UUID,
        token: str,
        name: str,
        submitted: Submitted,
        revision: int | None,
    ) -> FlowOutcome:
        dependencies = self._dependencies
        with dependencies.database.transaction() as tx:
            flow = self._open(tx, caller, flow_id=flow_id, token=token, revision=revision)
            if name not in flow.actions:
                raise _not_legal(flow)
            if name == model.BACK:
                return self._back(tx, locked(tx, dependencies.accounts, flow), submitted.values)
            factor = dependencies.factors[name]
            # Lock the subject before the counter (ADR 6); for a slow check, after the check.
            if not factor.slow:
                flow = locked(tx, dependencies.accounts, flow)
                self._reading.for_check(tx, flow, factor)
            attempt = self._attempts.reserve(tx, flow, factor, submitted)
            if factor.slow:
                self._reading.for_slow_check(tx, flow, factor)
            material = factor.load(tx, flow.terms.subject)
            if not factor.slow:
                return self._attempts.act(tx, attempt, material)
        outcome = self._attempts.act_slowly(attempt, material)
        # Report these faults whether or not the check matched, as they must not reveal it.
        return replace(outcome, aside=factor.aside(attempt.presented))

    def get(self, caller: Caller, flow_id: UUID, token: str) -> Flow:
        """Return a flow in its current state; raises NotFound."""
        with self._dependencies.database.transaction(read=True) as tx:
            return self._decisions.still(tx, self._find(tx, caller, flow_id, token))

    def cancel(self, caller: Caller, flow_id: UUID, token: str) -> None:
        """Cancel a flow; an ended one stays unchanged. Raises NotFound."""
        with self._dependencies.database.transaction() as tx:
            # The lock waits for a concurrent action in the flow, which is no reason to refuse.
            flow = self._find(tx, caller, flow_id, token, lock=True)
            if flow.status is FlowStatus.PENDING:
                note(
                    self._dependencies.audit,
                    tx,
                    store.save(tx, model.cancel(flow)),
                    "flow.cancelled",
                )

    def drop_ended(self, tx: Tx, now: datetime) -> int:
        """Delete flows that expired five minutes ago; return how many."""
        return store.drop_ended(tx, now - _KEPT)

    def _terms(
        self, tx: Tx, caller: Caller, wanted: Begin
    ) -> tuple[FlowRequest, tuple[Evidence, ...]]:
        session = None
        token = None
        address: tuple[tuple[int, bytes], ...] = ()
        if wanted.kind in {FlowKind.STEP_UP, FlowKind.ENROLLMENT}:
            # Such a flow may complete at once. The subject to lock is known only from the session,
            # which may have ended while this waited for the lock.
            self._dependencies.accounts.hold(tx, self._session(tx, caller, wanted)[0].subject)
            session, token = self._session(tx, caller, wanted)
            account: Account | None = self._dependencies.accounts.get(tx, session.subject)
            counter = f"subject:{session.subject}"
        else:
            unproven = self._decisions.unproven(wanted.kind, caller.segments)
            found = self._dependencies.accounts.find(tx, wanted.identifier, unproven)
            account = found.account
            counter = found.counter
            address = found.digests
            # To this client, a subject of a segment that it does not serve is unknown.
            account = account if account and account.segment in caller.segments else None
        subject = account.id if account else DECOY
        device = self._dependencies.devices.recognize(tx, wanted.device_token, subject)
        deferred, one_bucket = self._dependencies.policies.ways(caller.segments)
        act = RECOVERY_ACT if wanted.kind is FlowKind.RECOVERY else wanted.act
        terms = FlowRequest(
            kind=wanted.kind,
            client=caller.client,
            subject=subject,
            known=account is not None,
            bucket=self._dependencies.throttling.bucket(tx, counter),
            lane=Lane.KNOWN_DEVICE if device and not one_bucket else Lane.STRANGER,
            segment=caller.segments[0],
            segments=caller.segments,
            requested=wanted.requested,
            max_age=wanted.max_age,
            act=act,
            session=session.id if session else None,
            device=(device.id, device.generation) if device else None,
            client_context=replace(wanted.client_context, asserted=caller.asserts_context),
            deferred=deferred,
            token=token,
            address=address,
            lifetime=self._dependencies.lifetime,
            idle=self._dependencies.idle,
        )
        return terms, session.evidence if session else ()

    def _session(self, tx: Tx, caller: Caller, wanted: Begin) -> tuple[SessionValue, UUID]:
        """Return the session that an access token proves, with its subject locked."""
        found = self._dependencies.tokens.session_of(tx, wanted.access_token, caller.client)
        if found is None:
            raise no_session()
        return found

    def _find(
        self, tx: Tx, caller: Caller, flow_id: UUID, token: str, *, lock: bool = False
    ) -> Flow:
        flow = store.find(tx, flow_id, lock=lock)
        if flow is not None:
            proven = opaque.equal(flow.token_digest, _digest(tx, flow_id, token))
            if proven and flow.terms.client == caller.client:
                return model.aged(flow, self._dependencies.clock.now())
        raise no_flow()

    def _open(
        self, tx: Tx, caller: Caller, *, flow_id: UUID, token: str, revision: int | None
    ) -> Flow:
        flow = self._find(tx, caller, flow_id, token)
        if flow.status is FlowStatus.EXPIRED:
            raise Expired("flow_expired", "This flow has expired; begin another.")
        if flow.status is not FlowStatus.PENDING:
            raise Conflict("flow_ended", f"This flow is {flow.status.value}; begin another.")
        if revision is not None and revision != flow.revision:
            raise store.moved()
        if flow.terms.session:
            self._dependencies.accounts.hold(tx, flow.terms.subject)
            self._completing.require_session(tx, flow.terms)
        if wait := model.waits(flow, self._dependencies.clock.now()):
            raise Throttled(wait)
        return flow

    def _back(self, tx: Tx, flow: Flow, values: Mapping[str, object]) -> FlowOutcome:
        if values:
            raise BadInput(Fault("", "extra_forbidden", "back takes no input"))
        flow = store.save(tx, self._decisions.decide(tx, model.back(flow)))
        note(self._dependencies.audit, tx, flow, "flow.back")
        return FlowOutcome(flow=flow)


def _digest(tx: Tx, flow_id: UUID, token: str) -> bytes:
    """Return the token's digest, bound to its flow, so that it is useless in another flow."""
    return token_digest(tx, token, "flow", flow_id.bytes)


def _flow_id() -> UUID:
    return UUID(bytes=opaque.random_bytes(16))


def _not_legal(flow: Flow) -> Conflict:
    legal = ", ".join(flow.actions) or "none"
    return Conflict("action_not_available", f"This action is not legal now; legal: {legal}.")
