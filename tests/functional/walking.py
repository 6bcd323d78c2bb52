"""A person who signs in, and a model of what each session is worth."""

from collections import Counter as Tally
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import pyotp
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
)
from sqlalchemy import text

from service.domain.assurance import AAL2_LIFE
from service.domain.errors import LaminaError
from service.login.model import Begin, FlowKind, FlowStatus
from service.tokens.model import Credentials

SHORT = (1, 31, 59, 61, 240, 299, 1700, 3500)
LONG = (3601, 23 * 3600, 86_401, 7 * 86_400, 31 * 86_400, 147 * 86_400)
PICK = st.integers(min_value=0, max_value=2)
PROMPT = st.sampled_from([True, True, False])
"""Whether somebody goes on at once, as most do; the rest comes late, or never."""


@dataclass
class Shown:
    """One factor that verified: by which authenticator, when."""

    factor: str
    authenticator: UUID
    at: datetime


@dataclass
class Walked:
    """What the model knows of one session.

    Args:
        end: When it is over, whatever it is used for.
    """

    id: UUID
    evidence: list[Shown]
    end: datetime
    code: str
    completed: datetime
    replaces: "Walked | None"
    access: str = ""
    refresh: str = ""
    taken_up: bool = False
    over: bool = False
    access_revoked: bool = False
    spent: list[str] = field(default_factory=list)


class Walking(RuleBasedStateMachine):
    """One person, and everybody who holds one of the person's tokens."""

    service = None

    @initialize()
    def begin(self) -> None:
        """Register a person with password, TOTP and recovery codes."""
        Walking.number = getattr(Walking, "number", 0) + 1
        self.password = f"the pass phrase number {Walking.number}"
        body = {"identifiers": {"username": f"walker{Walking.number}"}, "password": self.password}
        self.name = f"walker{Walking.number}"
        self.service.bearer = self.service.access()
        self.subject = UUID(self.service.call("POST", "/v1/subjects", body).json["id"])
        self.caller = self.service.container.tokens.authorize(self.service.bearer)
        self.credentials = Credentials(self.service.client_id, self.service.secret)
        self.sessions: list[Walked] = []
        self.flows: list[tuple] = []
        self.grants: list[tuple] = []
        self.exchanged: Tally = Tally()
        self.suspended = False
        self.secrets: dict[UUID, str] = {}
        self.enroll_totp("")
        self.seen = self.counters()
        self.forgiving = False

    @property
    def container(self):
        """Return the features."""
        return self.service.container

    @property
    def now(self) -> datetime:
        """Return the present time."""
        return self.service.clock.now()

    def enroll_totp(self, grant: str) -> None:
        """Enroll a code generator; its first code is of the step before."""
        shown = self.container.enrolling.enroll(
            self.caller, self.subject, kind="totp", values={}, grant=grant
        )
        secret = shown["secret"]
        code = pyotp.TOTP(secret).at(int(self.now.timestamp()) - 30)
        number = UUID(shown["id"])
        self.container.enrolling.confirm(self.caller, self.subject, number, {"code": code})
        self.secrets[number] = secret

    def alive(self) -> dict[UUID, str]:
        """Return what is active, by the table."""
        query = text(
            "SELECT id, type FROM authenticator WHERE subject_id = :s AND status = 'active'"
        )
        with self.container.store.transaction(read=True) as tx:
            rows = tx.execute(query, {"s": self.subject.hex}).all()
        return {UUID(row.id): row.type for row in rows}

    def of_type(self, kind: str) -> UUID:
        """Return the newest active authenticator of a type; raises StopIteration if none is."""
        alive = sorted(self.alive().items(), reverse=True)
        return next(number for number, found in alive if found == kind)

    def counters(self) -> dict[tuple[str, str], int]:
        """Return every attempt counter of the person."""
        query = text("SELECT lane, knowledge, other, face, total FROM throttle WHERE bucket = :b")
        with self.container.store.transaction() as tx:
            bucket = self.container.throttling.bucket(tx, f"subject:{self.subject}")
            rows = tx.execute(query, {"b": bucket}).all()
        return {
            (row.lane, name): getattr(row, name)
            for row in rows
            for name in ("knowledge", "other", "face", "total")
        }

    def worth(self, evidence: list[Shown], within: timedelta) -> set[str]:
        """Return the factors that evidence within an age still proves."""
        alive = self.alive()
        return {
            item.factor
            for item in evidence
            if item.authenticator in alive and self.now - item.at <= within
        }

    def pick(self, number: int) -> Walked:
        """Choose one of the last sessions."""
        return self.sessions[-1 - number % len(self.sessions)]

    # ---------------------------------------------------------------- time

    @rule(seconds=st.sampled_from(SHORT))
    def wait(self, seconds: int) -> None:
        """Let some time pass."""
        self.service.clock.advance(seconds=seconds)

    @rule(seconds=st.sampled_from(LONG))
    def wait_long(self, seconds: int) -> None:
        """Let hours, days or months pass."""
        self.service.clock.advance(seconds=seconds)

    @precondition(lambda self: any(item.refresh for item in self.sessions))
    @rule(turns=st.sampled_from([2, 20, 30]), raising=st.booleans())
    def stay(self, turns: int, *, raising: bool) -> None:
        """Use a session for hours, so that it is not idle, and maybe raise it again and again."""
        for turn in range(turns):
            self.service.clock.advance(minutes=55)
            session = self.live()
            self.refresh_of(session)
            if raising and turn % 5 == 4:
                begin = Begin(kind=FlowKind.STEP_UP, access_token=session.access)
                self.start(begin, session, prompt=False)
                self.exchange_of(self.sessions[-1])

    # ---------------------------------------------------------------- flows

    def start(self, begin: Begin, session: Walked | None, *, prompt: bool) -> None:
        """Begin a flow and note it, or what it gave at once."""
        try:
            outcome = self.container.login.begin(self.caller, begin)
        except LaminaError:
            return
        brought = list(session.evidence) if session else []
        kept = (outcome.flow, outcome.flow_token, session, brought, [])
        self.took(outcome, kept)
        if prompt:
            self.go_on(outcome.flow_token)

    def go_on(self, token: str) -> None:
        """Show all that a flow asks for, and take what it gives."""
        codes = len(self.sessions)
        while kept := next((item for item in self.flows if item[1] == token), None):
            if self.show(kept, right=True) is None:
                break
        if len(self.sessions) > codes:
            self.exchange_of(self.sessions[-1])

    def holder(self, number: int, *, renewed: bool) -> Walked:
        """Return any session, or the newest in force with a fresh access token."""
        if not renewed or not any(item.refresh for item in self.sessions):
            return self.pick(number)
        session = self.live()
        self.refresh_of(session)
        return session

    def live(self) -> Walked:
        """Return a session that has tokens, the newest in force if there is one."""
        held = [item for item in self.sessions if item.refresh]
        return next((item for item in reversed(held) if not item.over), held[-1])

    def took(self, outcome, kept) -> None:
        """Note what an answer gave; hold it to what the flow has shown."""
        _, token, session, brought, own = kept
        self.flows = [item for item in self.flows if item[1] != token]
        flow = outcome.flow
        if flow.status is FlowStatus.PENDING:
            self.flows.append((flow, token, session, brought, own))
            return
        fresh = {"password", "totp"} <= {item.factor for item in own}
        if outcome.device_token:
            assert fresh, "a device token without a fresh proof"
        if flow.status is FlowStatus.COMPLETED:
            assert {"password", "totp"} <= self.worth(brought + own, AAL2_LIFE)
            self.forgiving = self.forgiving or fresh
        if outcome.grant:
            self.grants.append((outcome.grant, flow.terms.act, session))
        if outcome.completion_code:
            self.completed(outcome.completion_code, session, brought + own)

    def completed(self, code: str, session: Walked | None, evidence: list[Shown]) -> None:
        """Note a session that waits for its exchange."""
        newest = {}
        for item in sorted(evidence, key=lambda item: item.at):
            if item.authenticator in self.alive():
                newest[item.factor] = item
        end = min(newest["password"].at, newest["totp"].at) + AAL2_LIFE
        query = text("SELECT id FROM session WHERE subject_id = :s ORDER BY id DESC LIMIT 1")
        with self.container.store.transaction(read=True) as tx:
            number = UUID(tx.execute(query, {"s": self.subject.hex}).scalar())
        kept = list(newest.values())
        self.sessions.append(Walked(number, kept, end, code, self.now, session))
