"""Walks logins, sessions, revocations and time at random, and holds every answer to the rules.

The model beside the service knows only what was shown when, by which authenticator, and what ended;
`LAMINA_TEST_WALKS` sets how many walks there are.
"""

import os
from datetime import timedelta

import pyotp
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from service.domain.assurance import AAL1_LIFE, AAL2_LIFE, Acr
from service.domain.errors import LaminaError, OAuthError
from service.login.model import Begin, FlowKind
from service.tokens.model import FLOW_GRANT
from tests.depth import depth
from tests.functional.walking import PICK, PROMPT, Shown, Walked, Walking

WALKS = int(os.environ.get("LAMINA_TEST_WALKS", depth(15)))
STEPS = 30


class Walk(Walking):
    """One person, and everybody who holds one of the person's tokens."""

    @rule(prompt=PROMPT, places=st.sampled_from([1, 2, 3]))
    def login(self, places: int, *, prompt: bool) -> None:
        """Begin to sign in, in several places."""
        for _ in range(places):
            self.start(Begin(kind=FlowKind.LOGIN, identifier=self.name), None, prompt=prompt)

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
        begin = Begin(kind=FlowKind.STEP_UP, access_token=session.access, max_age=max_age)
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
        begin = Begin(kind=FlowKind.ENROLLMENT, access_token=session.access, act=act)
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
        alive = self.of_type(name) if name in self.alive().values() else None
        if name == "totp":
            self.service.clock.advance(seconds=31)
            app = pyotp.TOTP(self.secrets[alive or max(self.secrets)])
            values = {"code": app.at(int(self.now.timestamp()) + (0 if right else 86_400))}
        at = self.now
        try:
            outcome = self.container.login.act(
                self.caller, flow_id=flow.id, token=token, name=name, values=values
            )
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
                    self.caller, self.subject, kind="password", values=values, grant=grant
                )
                self.password = new
            elif act == "enroll:totp":
                self.enroll_totp(grant)
            else:
                number = self.of_type("totp")
                self.container.enrolling.revoke(self.caller, self.subject, number, grant)
        except (LaminaError, StopIteration):
            return
        if act == "enroll:totp":
            return  # one more code generator replaces nothing, so it ends no session
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
                grant = self.container.authenticators.grants.issue(
                    tx, self.subject, client=self.caller.client, act="enroll:totp"
                )
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
