"""Score, import and reset behavior for a client, outside of flows."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final
from uuid import UUID

from crypto.errors import CryptoError
from service.accounts.actions.accounts import Accounts
from service.accounts.model import Account
from service.authenticators.actions import Authenticators
from service.domain.assurance import Acr
from service.domain.authenticator import FACTOR_OF_TYPE, Status
from service.domain.caller import Caller
from service.domain.errors import BadInput, Conflict, Fault, Forbidden, Throttled, Unavailable
from service.policy.actions.evaluation import Policies
from service.policy.model.engine import highest
from service.risk.fusion import bounded
from service.risk.model import ClientContext
from service.signals.behavior.actions.profiles import Behaviors, Opened, TypingProfileKey
from service.signals.behavior.features import read
from service.signals.behavior.schema import Behavior, device_class
from service.signals.behavior.scoring import LOWEST, SignalScore, assessment
from service.signals.behavior.views import (
    BehaviorScoreView,
    ImportView,
    RefusedSample,
    SignalView,
)
from service.store.engine import Store, Tx
from service.throttling.actions import Limits
from service.throttling.model import AttemptLimit

ACT: Final = "change:behavior"
VALUES: Final = "risk:read"
"""The scope required to see more of a score than its band."""
BY_CLIENT: Final = AttemptLimit(
    name="score:client", most=60, span=timedelta(hours=1), rolling=False
)
OF_SUBJECT: Final = AttemptLimit(
    name="score:subject", most=300, span=timedelta(days=1), rolling=False
)
_PASSWORD: Final = "password"  # noqa: S105 - the name of a type of authenticator


class Measuring:
    """Scores samples of a running session, imports samples, and resets profiles."""

    def __init__(
        self,
        *,
        database: Store,
        accounts: Accounts,
        authenticators: Authenticators,
        policies: Policies,
        behaviors: Behaviors,
        limits: Limits,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._authenticators = authenticators
        self._policies = policies
        self._behaviors = behaviors
        self._limits = limits

    def score(
        self, caller: Caller, subject: UUID, sample: Behavior, user_agent: str
    ) -> BehaviorScoreView:
        """Score a sample; the profile does not change.

        Without consent, a password or a profile the answer is the same: no history. Every request
        counts for the subject and the client, and no result undoes the count, because a client that
        could ask often enough could climb towards the profile. Without the scope `risk:read` the
        answer is only the band.

        Raises:
            NotFound: The subject does not exist for this client.
            BadInput: The sample is too large.
            Throttled: This client, or all clients together, asked too often for this subject.
            Unavailable: A profile cannot be opened here.
        """
        self._behaviors.bounded(sample, "/behavior")
        with self._database.transaction() as tx:
            account = self._accounts.served(tx, caller, subject)
            wait = self._limits.take(tx, BY_CLIENT, f"{subject}|{caller.client}")
            wait = wait or self._limits.take(tx, OF_SUBJECT, str(subject))
            if wait:
                raise Throttled(wait)
        with self._database.transaction() as tx:
            # The lock keeps a withdrawal of consent from falling between a profile and its key.
            self._accounts.hold(tx, subject)
            where = device_class(_client_context(caller, user_agent), sample)
            opened = self._opened(tx, account.id, where)
        self._database.outside()
        found = read(sample)
        parts = self._behaviors.compare(found, opened)
        replayed = opened.replayed(found)
        result = assessment(parts, replay=replayed)
        result = replace(result, llr=bounded(result.llr, LOWEST, result.seen))
        band = self._policies.band(account.segment, [result]).label
        if VALUES not in caller.scopes:
            return {"band": band}
        return {
            "band": band,
            "llr": _coarse(result.llr),
            "samples": max((part.samples for part in parts.values()), default=0),
            "replayed": replayed,
            "signals": {name: _shown(part) for name, part in sorted(parts.items())},
        }

    def take_in(
        self,
        caller: Caller,
        subject: UUID,
        *,
        samples: Sequence[Behavior],
        user_agent: str,
        grant: str,
    ) -> ImportView:
        """Import samples into a profile: the first ones freely, later ones with a grant at AAL2.

        The first import is accepted from the client that registered the subject, until the first
        login and for at most a day: an empty profile may also be one that a new password has just
        cleared.

        Raises:
            NotFound: The subject does not exist for this client.
            BadInput: A sample is too large, or was captured for a flow.
            Conflict: The subject has no password that the samples could be of.
            Forbidden: It is not that first import, and there is no grant at AAL2 for the change.
        """
        self._admissible(samples)
        with self._database.transaction() as tx:
            account = self._accounts.served_locked(tx, caller, subject)
            if not self._behaviors.consented(tx, subject, for_share=True):
                return {"accepted": 0, "total": 0, "refused": []}
            empty = self._behaviors.learned(tx, subject) == 0
            if grant or not empty or account.first_login_at is not None:
                self._authorize(tx, caller, account, grant)
            else:
                self._authenticators.grants.authorize(tx, caller, account, act=ACT, grant=grant)
            password = self._password(tx, subject)
            context = _client_context(caller, user_agent)
            if password is None:
                raise Conflict("no_password", "There is no password that this could be of.")
            typists = [
                TypingProfileKey(subject, password, device_class(context, one)) for one in samples
            ]
            refused = self._teach(tx, typists, samples, first=empty and not grant)
            accepted = len(samples) - len(refused)
            total = self._behaviors.learned(tx, subject)
            self._behaviors.note_import(
                tx,
                subject,
                actor=str(caller.client),
                accepted=accepted,
                total=total,
                granted=bool(grant),
            )
        return {"accepted": accepted, "total": total, "refused": refused}

    def _admissible(self, samples: Sequence[Behavior]) -> None:
        for number, sample in enumerate(samples):
            self._behaviors.bounded(sample, f"/samples/{number}")
            if sample.capture_id is not None:
                detail = "a sample that was captured for a flow is learned by its flow only"
                pointer = f"/samples/{number}/capture_id"
                raise BadInput(Fault(pointer, "not_an_import", detail))

    def _teach(
        self,
        tx: Tx,
        typists: Sequence[TypingProfileKey],
        samples: Sequence[Behavior],
        *,
        first: bool,
    ) -> list[RefusedSample]:
        """Learn the samples in order; return the refused ones by index."""
        refused: list[RefusedSample] = []
        for number, (typist, sample) in enumerate(zip(typists, samples, strict=True)):
            why = self._behaviors.learn(tx, typist, sample, first=first)
            if why is not None:
                refused.append({"index": number, "code": why})
            # Only an import into an empty profile needs no grant, so a first one made meanwhile
            # counts.
            first = first and why is not None
        return refused

    def reset(self, caller: Caller, subject: UUID, grant: str) -> None:
        """Delete a subject's profiles; raises NotFound or Forbidden."""
        with self._database.transaction() as tx:
            account = self._accounts.served_locked(tx, caller, subject)
            self._authenticators.grants.authorize(tx, caller, account, act=ACT, grant=grant)
            self._behaviors.reset(tx, subject, str(caller.client))

    def _authorize(self, tx: Tx, caller: Caller, account: Account, grant: str) -> None:
        types = self._authenticators.enrolled(tx, account.id)
        if highest(FACTOR_OF_TYPE[name] for name in types) < Acr.AAL2:
            detail = "After the first login a profile changes at AAL2 only; enroll a second factor."
            raise Forbidden("aal2_required", detail)
        if not grant:
            # After the first login, the short-lived right of the registering client is not enough.
            detail = f"After the first login this takes a grant for {ACT} from an enrollment flow."
            raise Forbidden("grant_required", detail, act=ACT)
        self._authenticators.grants.authorize(tx, caller, account, act=ACT, grant=grant)

    def _password(self, tx: Tx, subject: UUID) -> UUID | None:
        for item in self._authenticators.listing(tx, subject):
            if item.type == _PASSWORD and item.status is Status.ACTIVE:
                return item.id
        return None

    def _opened(self, tx: Tx, subject: UUID, where: str) -> Opened:
        password = self._password(tx, subject)
        if password is None or not self._behaviors.consented(tx, subject):
            return Opened({}, (), {})
        try:
            return self._behaviors.open(tx, TypingProfileKey(subject, password, where))
        except (CryptoError, ValueError):
            raise Unavailable("profile_unreadable", "The profile does not open here.") from None


def _client_context(caller: Caller, user_agent: str) -> ClientContext:
    return ClientContext(user_agent=user_agent, asserted=caller.asserts_context)


def _shown(part: SignalScore) -> SignalView:
    return {
        "llr": _coarse(part.nats),
        "samples": part.samples,
        "reasons": [
            {"code": item.code, "contribution": _coarse(item.contribution), "detail": item.detail}
            for item in part.reasons
        ],
    }


def _coarse(nats: float) -> float:
    """Round nats to one decimal: finer steps would guide a forger uphill."""
    return round(nats, 1)
