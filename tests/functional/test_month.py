"""A simulated month of use: every table keeps within its stated bound, and all that ends is gone.

The clock moves by steps; in each, people sign in, fail, enroll, ask and revoke, as a service at ten
logins a second has it at every moment, sampled. Tasks run as they are due. What may be there at the
end follows from how long it is kept and how often it comes: `BOUNDS` says both for each table.
"""

import itertools
import os
from dataclasses import dataclass
from datetime import timedelta

import pytest
from sqlalchemy import func, select

import service.app.container  # noqa: F401 - so that every table is known
from service.jobs.actions.worker import ROUND, TICK
from service.store.base import Base
from service.store.dropping import PAGE
from tests.depth import DEEP
from tests.functional.conftest import CONSENT, PASSWORD

STEP = timedelta(hours=float(os.environ.get("LAMINA_TEST_MONTH_STEP", "12" if DEEP else "48")))
MONTH = timedelta(days=31)
PEOPLE = 2
LOGINS = 200
"""Logins a second that the worker must keep up with."""
DAY, TURN = 24.0, 2
"""Hours, and the steps that are under way or wait for the turn of their task."""
FOR_ITS_LIFE = "as long as what it belongs to"
ALWAYS = "always, by design"


@dataclass(frozen=True)
class Bound:
    """How many rows a table may have.

    Args:
        hours: How long a row is kept.
        each: How many a step adds.
        fixed: How many there are however long it goes on.
        after: What may be left when nobody has used the service for years; None: nothing.
    """

    hours: float = 0
    each: int = 0
    fixed: int = 0
    after: str | None = None

    def rows(self):
        """Return the number."""
        steps = min(self.hours * 3600 / STEP.total_seconds(), MONTH / STEP) + TURN
        return self.fixed + (int(self.each * steps) if self.each else 0)


OWNED = PEOPLE + 3
"""The people with the decoy and two who operate."""
BOUNDS = {
    "approval": Bound(24 * 401, each=1),
    "audit_checkpoint": Bound(fixed=80, after=ALWAYS),
    "audit_leaf": Bound(24 * 400, each=27, fixed=100, after=ALWAYS),
    "audit_link": Bound(24 * 400, each=27, fixed=100, after=ALWAYS),
    "authenticator": Bound(1.2, each=1, fixed=3 * OWNED, after=FOR_ITS_LIFE),
    "behavior_profile": Bound(fixed=4 * OWNED),
    "bootstrap_token": Bound(25, fixed=1),
    "audit_notice": Bound(fixed=4, after=ALWAYS),
    "canary": Bound(fixed=0),
    "client": Bound(fixed=2, after=FOR_ITS_LIFE),
    "completion_code": Bound(0.1, each=3),
    "consent": Bound(fixed=OWNED, after=FOR_ITS_LIFE),
    "data_generation": Bound(fixed=40, after=FOR_ITS_LIFE),
    "dek": Bound(fixed=12 * OWNED + 40, after=FOR_ITS_LIFE),
    "face_template_secret": Bound(fixed=OWNED),
    "flow": Bound(0.5, each=10),
    "grant": Bound(0.2, each=1),
    "index_key": Bound(fixed=2, after=FOR_ITS_LIFE),
    "job_lease": Bound(DAY, each=1, fixed=12),
    "kek": Bound(fixed=20, after=FOR_ITS_LIFE),
    "kept_answer": Bound(DAY, each=4),
    "key_export": Bound(fixed=0),
    "key_instance": Bound(fixed=2, after=FOR_ITS_LIFE),
    "known_device": Bound(fixed=20 * OWNED),
    "legal_hold": Bound(fixed=0),
    "limit_count": Bound(25, each=3, fixed=4 * OWNED),
    "login_context_failure": Bound(1, each=5),
    "login_context_history": Bound(fixed=OWNED),
    "login_context_population": Bound(fixed=8192, after="the values of 90 days of logins"),
    "login_context_seen": Bound(0.1, each=5),
    "login_context_tally": Bound(fixed=24 * 14, after="two windows"),
    "long_job": Bound(400 * DAY, each=1),
    "operator_role": Bound(fixed=3 * OWNED, after=FOR_ITS_LIFE),
    "outbox": Bound(30 * DAY, each=1, fixed=10),
    "delivery": Bound(30 * DAY, each=1, fixed=10),
    "webhook": Bound(fixed=0),
    "policy_decision": Bound(180 * DAY, each=6),
    "policy_document": Bound(fixed=2, after=FOR_ITS_LIFE),
    "policy_state": Bound(fixed=1, after=FOR_ITS_LIFE),
    "record_key": Bound(fixed=2, after=ALWAYS),
    "recovery_code": Bound(fixed=10 * OWNED, after=FOR_ITS_LIFE),
    "refresh_token": Bound(31 * DAY, each=2),
    "revoked_token": Bound(0.2, each=1),
    "root_version": Bound(fixed=10, after=FOR_ITS_LIFE),
    "row_mark": Bound(fixed=1, after=ALWAYS),
    "session": Bound(31 * DAY, each=1),
    "signing_key": Bound(fixed=4, after=FOR_ITS_LIFE),
    "subject": Bound(fixed=OWNED, after=FOR_ITS_LIFE),
    "subject_export": Bound(1, each=1),
    "subject_index": Bound(fixed=2 * OWNED, after=FOR_ITS_LIFE),
    "subject_recovery": Bound(fixed=0),
    "subject_risk": Bound(fixed=OWNED),
    "suspension": Bound(fixed=2 * OWNED),
    "throttle": Bound(30 * DAY, each=2, fixed=4 * OWNED),
    "tombstone": Bound(fixed=0, after=ALWAYS),
    "totp_used_step": Bound(0.2, each=3, fixed=2 * OWNED, after="the newest of each authenticator"),
    "used_assertion": Bound(0.2, each=1),
    "verification_code": Bound(1.2, each=1),
}


def counts(container):
    """Return how many rows each table has."""
    with container.store.transaction(read=True) as tx:
        return {
            name: tx.scalar(select(func.count()).select_from(table))
            for name, table in Base.metadata.tables.items()
        }


def test_every_table_has_a_bound():
    """A new table fails here until somebody has said when its rows end."""
    assert set(BOUNDS) == set(Base.metadata.tables)


def test_the_worker_drops_what_200_logins_a_second_add(service):
    """Of each table a page in each round, whatever else waits, is more than logins bring."""
    person = service.register()
    service.clock.advance(minutes=1)
    before = counts(service.container)
    done = service.login(person)
    assert service.exchange(done["completion_code"]).status_code == 200
    after = counts(service.container)
    added = {name: after[name] - before[name] for name in after if after[name] > before[name]}
    dropped = {name for name in added if BOUNDS[name].after not in {ALWAYS, FOR_ITS_LIFE}}
    assert {"flow", "session", "refresh_token", "policy_decision", "totp_used_step"} <= dropped
    least = PAGE / (ROUND + TICK)
    fast = {name: added[name] * LOGINS for name in dropped}
    assert {name: rate for name, rate in fast.items() if rate > least} == {}


class Month:
    """People who use the service."""

    def __init__(self, service):
        self.service = service
        self.people = [
            service.register(
                identifiers={"username": f"p{number}", "email": f"p{number}@example.org"},
                consents=[CONSENT | {"purpose": "behavior"}],
            )
            for number in range(PEOPLE)
        ]
        for number, person in enumerate(self.people):
            person.name = f"p{number}"
        self.turn = itertools.count()

    def call(self, *arguments, status, **named):
        """Call the API and hold the status of the answer."""
        answer = self.service.call(*arguments, **named)
        assert answer.status_code == status, (arguments, answer.json)
        return answer.json

    def step(self):
        """Let everything happen once, in the name of one of the people."""
        service, number = self.service, next(self.turn)
        service.bearer = service.access()
        person = self.people[number % PEOPLE]
        tokens = self.signed_in(person)
        self.fails(person, number)
        self.changes(person, number)
        self.asks(person, tokens, number)
        service.container.jobs.run_due()
        service.container.key_admin.jobs.run_queued()
        service.clock.advance(hours=STEP.total_seconds() / 3600)

    def signed_in(self, person):
        """Sign in on another device each time, refresh once, begin a flow that is left."""
        service = self.service
        flow = service.begin(person.name).json
        service.act(flow, "password", {"password": PASSWORD})
        done = service.act(flow, "totp", {"code": service.code(person)}).json
        assert done["status"] == "completed", done
        tokens = service.exchange(done["completion_code"]).json
        fresh = service.oauth(
            "token", grant_type="refresh_token", refresh_token=tokens["refresh_token"]
        )
        assert fresh.status_code == 200, fresh.json
        service.oauth("revoke", token=tokens["access_token"])
        service.begin(person.name)
        return fresh.json

    def fails(self, person, number):
        """Fail with a password, also under names that nobody has."""
        service = self.service
        for name in (person.name, f"nobody{number}", f"stranger{number}"):
            flow = service.begin(name).json
            answer = service.act(flow, "password", {"password": "not the right one"})
            assert answer.status_code == 422, answer.json

    def changes(self, person, number):
        """Ask for a code, give the same consent again, begin an enrollment that is left."""
        path = f"/v1/subjects/{person.id}"
        verification = f"{path}/identifiers/email/verification"
        self.call("POST", verification, {}, status=200, Idempotency_Key=f"a{number}")
        consent = CONSENT | {"purpose": "behavior"}
        self.call("POST", f"{path}/consents", consent, status=201, Idempotency_Key=f"b{number}")

    def asks(self, person, tokens, number):
        """Begin an enrollment with a grant and leave it; now and then have an export made."""
        service = self.service
        flow = service.begin(
            None, "enrollment", access_token=tokens["access_token"], act="enroll:totp"
        ).json
        assert flow["status"] == "completed", flow
        added = service.enroll(person, "totp", grant=flow["grant"])
        assert added.status_code == 201, added.json
        if number % 10:
            return
        flow = service.begin(
            None, "enrollment", access_token=tokens["access_token"], act="export:data"
        ).json
        self.call("POST", f"/v1/subjects/{person.id}/export", status=202, Grant=flow["grant"])


@pytest.fixture
def month(service):
    """A month that was lived through, and what was stored at its end."""
    lived = Month(service)
    for _ in range(int(MONTH / STEP)):
        lived.step()
    return lived


def test_a_month_keeps_every_table_in_its_bound_and_the_years_after_end_it(month):
    """Within the bounds at the end; of what ends nothing is left when nobody comes any more."""
    container = month.service.container
    found = counts(container)
    over = {
        name: (rows, BOUNDS[name].rows())
        for name, rows in found.items()
        if rows > BOUNDS[name].rows()
    }
    print({name: (rows, BOUNDS[name].rows()) for name, rows in found.items()})  # noqa: T201 - shown with -rP
    assert over == {}
    used = {
        "flow",
        "kept_answer",
        "outbox",
        "session",
        "throttle",
        "known_device",
        "long_job",
        "refresh_token",
        "policy_decision",
        "totp_used_step",
        "job_lease",
    }
    assert {name for name in used if not found[name]} == set(), "the month made none of them"
    # More than a lease and a turn of each task, one year at a time.
    for _ in range(4):
        month.service.clock.advance(days=400)
        container.jobs.run_due()
    left = {name for name, rows in counts(container).items() if rows}
    assert left <= {name for name, bound in BOUNDS.items() if bound.after} | {"job_lease"}
