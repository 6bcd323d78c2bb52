"""Walks logins, sessions, revocations and time at random, and holds every answer to the rules.

The model beside the service knows only what was shown when, by which authenticator, and what ended;
`LAMINA_TEST_WALKS` sets how many walks there are (15 unless it says otherwise).
"""

import os
from collections import Counter as Tally
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import pyotp
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text

from service.domain.assurance import AAL1_LIFE, AAL2_LIFE, Acr
from service.domain.errors import LaminaError, OAuthError
from service.login.model import Begin, FlowKind, FlowStatus
from service.tokens.model import FLOW_GRANT, Credentials

WALKS = int(os.environ.get("LAMINA_TEST_WALKS", "15"))
STEPS = 30
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


class Walk(RuleBasedStateMachine):
    """One person, and everybody who holds one of the person's tokens."""

    service = None

    @initialize()
    def begin(self) -> None:
        """Register a person with password, TOTP and recovery codes."""
        Walk.number = getattr(Walk, "number", 0) + 1
        self.password = f"the pass phrase number {Walk.number}"
        body = {"identifiers": {"username": f"walker{Walk.number}"}, "password": self.password}
        self.name = f"walker{Walk.number}"
        self.service.bearer = self.service.access()
        self.subject = UUID(self.service.call("POST", "/v1/subjects", body).json["id"])
        self.caller = self.service.container.tokens.authorize(self.service.bearer)
        self.credentials = Credentials(self.service.client_id, self.service.secret)
        self.sessions: list[Walked] = []
        self.flows: list[tuple] = []
        self.grants: list[tuple] = []
        self.exchanged: Tally = Tally()
        self.suspended = False
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
        shown = self.container.enrolling.enroll(self.caller, self.subject, "totp", {}, grant)
        secret = shown["secret"]
        code = pyotp.TOTP(secret).at(int(self.now.timestamp()) - 30)
        number = UUID(shown["id"])
        self.container.enrolling.confirm(self.caller, self.subject, number, {"code": code})
        self.secret = secret

    def alive(self) -> dict[UUID, str]:
        """Return what is active, by the table."""
        query = text(
            "SELECT id, type FROM authenticator WHERE subject_id = :s AND status = 'active'"
        )
        with self.container.store.transaction(read=True) as tx:
            rows = tx.execute(query, {"s": self.subject.hex}).all()
        return {UUID(row.id): row.type for row in rows}

    def of_type(self, kind: str) -> UUID:
        """Return the one active authenticator of a type."""
        return next(number for number, found in self.alive().items() if found == kind)

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
                begin = Begin(FlowKind.STEP_UP, access_token=session.access)
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

    @rule(prompt=PROMPT, places=st.sampled_from([1, 2, 3]))
    def login(self, places: int, *, prompt: bool) -> None:
        """Begin to sign in, in several places."""
        for _ in range(places):
            self.start(Begin(FlowKind.LOGIN, self.name), None, prompt=prompt)

    @precondition(lambda self: self.sessions)
    @rule(
        number=PICK,
        max_age=st.sampled_from([None, None, 0, 60, 3600]),
        renewed=PROMPT,
        prompt=PROMPT,
    )
    def step_up(self, number: int, max_age: int | None, *, renewed: bool, prompt: bool) -> None:
        """Begin a step-up with an access token, in force or not."""
        session = self.holder(number, renewed=renewed)
        begin = Begin(FlowKind.STEP_UP, access_token=session.access, max_age=max_age)
        self.start(begin, session, prompt=prompt)

    @precondition(lambda self: self.sessions)
    @rule(
        number=PICK,
        renewed=PROMPT,
        prompt=PROMPT,
        act=st.sampled_from(["enroll:password", "enroll:totp", "revoke:authenticator"]),
    )
    def enrollment(self, number: int, act: str, *, renewed: bool, prompt: bool) -> None:
        """Ask for a grant with an access token, in force or not, and maybe use it at once."""
        session, grants = self.holder(number, renewed=renewed), len(self.grants)
        begin = Begin(FlowKind.ENROLLMENT, access_token=session.access, act=act)
        self.start(begin, session, prompt=prompt)
        if prompt and len(self.grants) > grants:
            self.change_by(*self.grants.pop())

    @precondition(lambda self: self.flows)
    @rule(number=PICK, right=PROMPT, rest=PROMPT)
    def act(self, number: int, *, right: bool, rest: bool) -> None:
        """Show the factor that a flow asks for, rightly or not, and maybe all that is left."""
        kept = self.flows[-1 - number % len(self.flows)]
        if right and rest:
            self.go_on(kept[1])
        else:
            self.show(kept, right=right)

    def show(self, kept, *, right: bool):
        """Show one factor; return the flow where it goes on."""
        flow, token, _, _, own = kept
        name = next((item for item in ("password", "totp") if item in flow.actions), None)
        if name is None:
            return None
        values = {"password": self.password if right else "wrong"}
        if name == "totp":
            self.service.clock.advance(seconds=31)
            app = pyotp.TOTP(self.secret)
            values = {"code": app.at(int(self.now.timestamp()) + (0 if right else 86_400))}
        alive, at = self.of_type(name) if name in self.alive().values() else None, self.now
        try:
            outcome = self.container.login.act(self.caller, flow.id, token, name, values)
        except LaminaError:
            return None
        if outcome.refusal is None and right and alive:
            own.append(Shown(name, alive, at))
        self.took(outcome, kept)
        return next((item for item in self.flows if item[1] == token), None)

    # ---------------------------------------------------------------- tokens

    def token(self, **form: str):
        """Ask at the token endpoint; return None where it refuses."""
        try:
            return self.container.tokens.token(self.credentials, form)
        except OAuthError:
            return None

    @precondition(lambda self: self.sessions)
    @rule(number=PICK)
    def exchange(self, number: int) -> None:
        """Exchange a code, maybe again, maybe late."""
        self.exchange_of(self.pick(number))

    def exchange_of(self, session: Walked) -> None:
        """Exchange the code of a session."""
        before = self.replaced_in_force(session)
        answer = self.token(grant_type=FLOW_GRANT, code=session.code)
        if answer is None:
            return
        self.exchanged[session.code] += 1
        assert self.exchanged[session.code] == 1
        assert self.now - session.completed < timedelta(seconds=60)
        assert not session.over
        assert before
        session.taken_up = True
        session.access, session.refresh = answer["access_token"], answer["refresh_token"]
        if session.replaces:
            session.replaces.over = True

    def replaced_in_force(self, session: Walked) -> bool:
        """Tell whether a session replaces none, or one that is in force."""
        old = session.replaces
        return old is None or (old.taken_up and not old.over and self.now < old.end)

    @precondition(lambda self: any(item.refresh for item in self.sessions))
    @rule(number=PICK, again=st.booleans())
    def refresh(self, number: int, *, again: bool) -> None:
        """Refresh, maybe with a token that was used long ago."""
        self.refresh_of(self.pick(number), again=again)

    def refresh_of(self, session: Walked, *, again: bool = False) -> None:
        """Refresh a session."""
        reused = again and bool(session.spent)
        shown = session.spent[-1] if reused else session.refresh
        if reused:
            self.service.clock.advance(seconds=61)
        answer = self.token(grant_type="refresh_token", refresh_token=shown)
        if reused:
            assert answer is None
            session.over = True
        elif answer is not None:
            assert not session.over
            assert self.now < session.end
            session.spent.append(session.refresh)
            session.access, session.refresh = answer["access_token"], answer["refresh_token"]
            session.access_revoked = False

    @precondition(lambda self: any(item.refresh for item in self.sessions))
    @rule(number=PICK, whole=st.booleans())
    def revoke(self, number: int, *, whole: bool) -> None:
        """Revoke an access token, or with the refresh token the session."""
        session = self.pick(number)
        if not session.refresh:
            return
        self.container.tokens.revoke(self.credentials, session.refresh if whole else session.access)
        if whole:
            session.over = True
        else:
            session.access_revoked = True

    # ---------------------------------------------------------------- what ends access

    @precondition(lambda self: self.grants)
    @rule(number=PICK)
    def change(self, number: int) -> None:
        """Use a grant for its act: another password, another code generator, or none."""
        self.change_by(*self.grants.pop(number % len(self.grants)))

    def change_by(self, grant: str, act: str, session: Walked) -> None:
        """Change an authenticator by a grant."""
        new = f"another pass phrase {len(self.sessions)} {self.now.timestamp()}"
        try:
            if act == "enroll:password":
                values = {"password": new}
                self.container.enrolling.enroll(
                    self.caller, self.subject, "password", values, grant
                )
                self.password = new
            elif act == "enroll:totp":
                self.enroll_totp(grant)
            else:
                number = self.of_type("totp")
                self.container.enrolling.revoke(self.caller, self.subject, number, grant)
        except (LaminaError, StopIteration):
            return
        acting = self.acting(session)
        assert acting is not None, "a grant of a session that is over"
        for other in self.sessions:
            other.over = other.over or other is not acting
        self.restore()

    def acting(self, session: Walked) -> Walked | None:
        """Return a session, or the one that took its place, if it is in force."""
        while session is not None and session.over:
            heirs = [item for item in self.sessions if item.replaces is session and item.taken_up]
            session = heirs[0] if heirs else None
        return session

    def restore(self) -> None:
        """Give the person a code generator again, as the front desk would."""
        if "totp" not in self.alive().values():
            with self.container.store.transaction() as tx:
                issue = self.container.authenticators.issue_grant
                grant = issue(tx, self.subject, self.caller.client, "enroll:totp")
            self.enroll_totp(grant)

    @rule()
    def suspend(self) -> None:
        """Suspend signing in, and lift it at once: what ended stays ended."""
        path = f"/v1/subjects/{self.subject}/suspensions"
        self.service.bearer = self.service.access()
        body = {"capability": "login", "reason": "odd"}
        assert self.service.call("POST", path, body).status_code == 201
        assert self.service.call("DELETE", f"{path}/login").status_code == 204
        for session in self.sessions:
            session.over = True

    @rule()
    def sign_out(self) -> None:
        """End every session."""
        self.service.bearer = self.service.access()
        path = f"/v1/subjects/{self.subject}/sessions"
        assert self.service.call("DELETE", path).status_code == 204
        for session in self.sessions:
            session.over = True

    # ---------------------------------------------------------------- the rules

    @invariant()
    def counters_fall_only_after_a_fresh_proof(self) -> None:
        """Neither time nor what a session brought along gives an attempt back."""
        if not hasattr(self, "seen"):
            return
        now = self.counters()
        if not self.forgiving:
            fallen = {name for name, value in self.seen.items() if now[name] < value}
            assert not fallen, fallen
        self.seen, self.forgiving = now, False

    @invariant()
    def answers_rest_on_what_is_worth_something(self) -> None:
        """Level and life of each session are bounded by what was shown, when and by what."""
        for session in getattr(self, "sessions", ()):
            if not session.refresh:
                continue
            told = self.container.tokens.introspect(self.credentials, session.refresh)
            if session.over or not session.taken_up or self.now >= session.end:
                assert told == {"active": False}, session
            if told["active"]:
                self.holds(session, told)
            access = self.container.tokens.introspect(self.credentials, session.access)
            if session.over or session.access_revoked or self.now >= session.end:
                assert access == {"active": False}, session
            elif access["active"]:
                self.holds(session, access)

    def holds(self, session: Walked, told: dict) -> None:
        """Hold a level to the evidence."""
        if told.get("acr") == Acr.AAL2.urn:
            assert {"password", "totp"} <= self.worth(session.evidence, AAL2_LIFE)
        if "acr" in told:
            assert told["acr"] in {Acr.AAL1.urn, Acr.AAL2.urn}
            assert {"password", "totp"} & self.worth(session.evidence, AAL1_LIFE)


@pytest.fixture
def url(migrated, tmp_path):
    """A file of SQLite: the walk is about the rules, and locks are raced elsewhere."""
    with migrated.url("sqlite", tmp_path) as url:
        yield url


def test_a_walk_never_leaves_the_rules(service):
    """Every answer on the way holds to the rules of age, revocation, counting and ending."""
    service.container.login._dependencies.signals.signals = ()
    Walk.service = service
    limits = settings(
        max_examples=WALKS,
        stateful_step_count=STEPS,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Walk, settings=limits)
