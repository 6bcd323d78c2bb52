"""The clock is set between any two acts, from a day back to a year ahead; a model says what counts.

Time that passes and time that is shown are two: whoever waits long enough gets on, whatever was
shown meanwhile, and what is of another time is worth nothing. `make clock` walks 5,000 steps.
"""

import itertools
import os
from datetime import timedelta
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text

from service.domain.caller import Caller
from service.domain.errors import Forbidden, Throttled
from service.jobs.actions.readings import Readings
from service.jobs.actions.worker import Jobs, Task
from service.login.model import Begin, FlowKind, FlowStatus
from service.throttling.model import Counter, Lane
from tests.depth import depth

WALKS = int(os.environ.get("LAMINA_TEST_CLOCK_WALKS", depth(6, least=2)))
STEPS = 50
SKEW = timedelta(minutes=5)
GRANT = timedelta(minutes=5)
LONGEST = timedelta(hours=1)
BUCKETS = itertools.count()
AHEAD = st.integers(-86_400, 31_536_000).map(lambda seconds: timedelta(seconds=seconds))
PASSING = st.sampled_from([1, 29, 61, 299, 601, 3601, 90_000])


class Walk(RuleBasedStateMachine):
    """One subject, two processes, and a clock that nobody can trust."""

    grants = Bundle("grants")
    flows = Bundle("flows")

    def __init__(self, service, person):
        super().__init__()
        self.container, self.clock = service.container, service.clock
        self.start = self.clock.now()
        self.person, self.name = UUID(person.id), person.name
        self.caller = Caller(client=UUID(int=9), scopes=frozenset(), segments=("default",))
        self.bucket = f"walk-{next(BUCKETS)}"
        self.failures = 0
        self.ran = []
        task = Task(
            name="final", every=timedelta(0), run=lambda *_: self.ran.append(1) or 1, final=True
        )
        other = Task(name="other", every=timedelta(hours=1), run=lambda *_: 1)
        self.one, self.two = (
            Jobs(
                database=self.container.store,
                tasks=(task, other),
                clock=self.clock,
                readings=self.readings(),
            )
            for _ in range(2)
        )
        self.unsteady = None

    def readings(self):
        """Return the readings of a process that begins now."""
        return Readings(
            clock=self.clock,
            audit=self.container.audit,
            outbox=self.container.outbox,
            database=None,
        )

    def teardown(self):
        """Show the time again that would have been shown."""
        self.clock.jump(seconds=(self.start - self.clock.now()).total_seconds())
        self.clock.advance(days=1)

    @rule(off=AHEAD)
    def set_clock(self, off):
        """Set the clock; processes are started anew less often than that."""
        self.clock.jump(seconds=off.total_seconds())
        if abs(off) > SKEW:
            self.unsteady = self.clock.passed()

    @rule(seconds=PASSING)
    def let_time_pass(self, seconds):
        """Wait."""
        self.clock.advance(seconds=seconds)

    @rule(target=grants)
    def give(self):
        """Give a grant."""
        with self.container.store.transaction() as tx:
            token = self.container.authenticators.grants.issue(
                tx, self.person, client=self.caller.client, act="x"
            )
        return token, self.clock.now()

    @rule(grant=consumes(grants))
    def use(self, grant):
        """A grant counts in the five minutes from when it was given, but for what clocks differ."""
        token, given = grant
        now = self.clock.now()
        try:
            with self.container.store.transaction() as tx:
                account = self.container.accounts.get(tx, self.person)
                grants = self.container.authenticators.grants
                grants.authorize(tx, self.caller, account, act="x", grant=token)
        except Forbidden:
            used = False
        else:
            used = True
        assert used == (given - SKEW <= now < given + GRANT)

    @rule(target=flows)
    def begin(self):
        """Begin a flow."""
        outcome = self.container.login.begin(
            self.caller, Begin(kind=FlowKind.LOGIN, identifier=self.name)
        )
        return outcome.flow, outcome.flow_token, self.clock.now()

    @rule(begun=flows)
    def look(self, begun):
        """A flow is pending from when it began to its end, and neither before nor after."""
        flow, token, began = begun
        now = self.clock.now()
        found = self.container.login.get(self.caller, flow.id, token)
        pending = began - SKEW <= now < flow.expires_at
        assert (found.status is FlowStatus.PENDING) == pending

    def reserve(self):
        """Count an attempt; return the seconds to wait where it was not let through."""
        try:
            with self.container.store.transaction() as tx:
                self.container.throttling.reserve(tx, self.bucket, Lane.STRANGER, Counter.OTHER)
        except Throttled as refused:
            return refused.retry_after
        self.failures += 1
        return 0

    @rule()
    def fail(self):
        """Attempts are counted, never more than a hundred."""
        assert 0 <= self.reserve() <= LONGEST.total_seconds() + 1
        assert self.failures <= 100

    @rule()
    def wait_and_try(self):
        """Whoever waits what the refusal says may try, whatever the clock showed before."""
        if seconds := self.reserve():
            self.clock.advance(seconds=seconds)
            assert self.reserve() == 0 or self.failures == 100

    @rule(number=st.integers(0, 1))
    def lead(self, number):
        """Either process leads after as long as two leases last, whatever the clock showed."""
        jobs = (self.one, self.two)[number]
        self.expect_final(jobs)
        if not self.leads(jobs):
            self.clock.advance(seconds=61)
            self.expect_final(jobs)
            assert self.leads(jobs)

    def leads(self, jobs):
        """Tell whether a process holds the lease."""
        with self.container.store.transaction(read=True) as tx:
            held = tx.execute(text("SELECT holder FROM job_lease WHERE name = 'worker'"))
            return held.scalar() == jobs._holder

    @rule()
    def turn(self):
        """A task has its turn an hour after the process that does it was asked, at the latest."""
        if "other" not in self.one.run_due():
            self.clock.advance(seconds=3_661)
            assert "other" in self.one.run_due()

    def expect_final(self, jobs):
        """What cannot be undone runs only when the clock was not set within the last hour."""
        before = len(self.ran)
        jobs.run_due()
        steady = self.unsteady is None or self.clock.passed() - self.unsteady >= 3_600
        if not steady:
            assert len(self.ran) == before

    @rule()
    def run(self):
        """Let the background work run now."""
        self.expect_final(self.one)


def test_nothing_of_another_time_counts_and_nobody_waits_for_it(service):
    """Walks of fifty steps over one database, each compared with the model."""
    person = service.register("walker")
    run_state_machine_as_test(
        lambda: Walk(service, person),
        settings=settings(
            max_examples=WALKS,
            stateful_step_count=STEPS,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(f"{WALKS} walks of up to {STEPS} steps, 0 violations")  # noqa: T201 - shown with -rP
