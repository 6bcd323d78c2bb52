"""A clock that is set a year ahead for two minutes, or a day back, gives and blocks nothing."""

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import select, text

from service.domain.caller import Caller
from service.domain.clock import FrozenClock, in_force, passed
from service.domain.errors import Conflict, Forbidden, Throttled
from service.domain.ids import new_id
from service.jobs.actions.readings import Readings
from service.jobs.actions.worker import Jobs, Task
from service.sessions.store import SessionRow
from service.signals.login_context import population
from service.signals.login_context import store as context
from service.throttling.model import Counter, Lane
from tests.functional.conftest import PASSWORD

YEAR = {"days": 365}
BACK = {"days": -365}


def jobs_of(service, *tasks, readings=None):
    """Return the background work of another process."""
    return Jobs(
        database=service.container.store, tasks=tasks, clock=service.clock, readings=readings
    )


def counted(service, times=1, counter=Counter.OTHER):
    """Count attempts at an account; return whether the last was let through."""
    for _ in range(times):
        try:
            with service.container.store.transaction() as tx:
                service.container.throttling.reserve(tx, "somebody", Lane.STRANGER, counter)
        except Throttled:
            return False
    return True


@pytest.mark.parametrize("off", [YEAR, {"days": -1}, {"hours": 2}], ids=str)
def test_a_lease_from_another_time_is_free_within_its_length(service, off):
    """The process that led is gone; the next leads at once, or as soon as a lease may last."""
    service.clock.jump(**off)
    assert jobs_of(service, Task(name="one", every=timedelta(0), run=lambda *_: 1)).run_due() == {
        "one": 1
    }
    service.clock.jump(**{name: -value for name, value in off.items()})
    service.clock.advance(seconds=31)
    assert jobs_of(service, Task(name="two", every=timedelta(0), run=lambda *_: 1)).run_due() == {
        "two": 1
    }


def test_a_lease_that_runs_is_not_free(service):
    """Clocks that differ by less than the lease's own length take it from nobody."""
    one, two = (
        jobs_of(service, Task(name="x", every=timedelta(0), run=lambda *_: 1)) for _ in range(2)
    )
    assert one.run_due()
    service.clock.jump(seconds=-20)
    assert two.run_due() == {}


def test_a_task_is_due_again_after_the_clock_came_back(service):
    """What ran in the future is not waited for until then."""
    jobs = jobs_of(service, Task(name="hourly", every=timedelta(hours=1), run=lambda *_: 1))
    service.clock.jump(**YEAR)
    assert jobs.run_due() == {"hourly": 1}
    service.clock.jump(**BACK)
    assert jobs.run_due() == {"hourly": 1}
    assert jobs.run_due() == {}


@pytest.mark.parametrize("counter", list(Counter))
def test_a_wait_of_a_year_holds_nobody_up_and_the_failures_stay(service, counter):
    """Begun while the clock was ahead: one attempt goes on, and begins the wait of its number."""
    service.clock.jump(**YEAR)
    counted(service, 11, counter=counter)
    assert not counted(service, counter=counter)
    service.clock.jump(**BACK)
    assert counted(service, counter=counter)
    with service.container.store.transaction() as tx, pytest.raises(Throttled) as refused:
        service.container.throttling.reserve(tx, "somebody", Lane.STRANGER, counter)
    assert refused.value.retry_after <= 3601
    service.clock.advance(hours=1)
    assert counted(service, counter=counter)


def test_what_was_begun_in_the_future_is_not_in_force_now(service):
    """Flows, completion codes, sessions and grants of a clock a year ahead."""
    person = service.register()
    service.clock.jump(**YEAR)
    service.bearer = service.access()
    left = service.begin(person.name).json
    code = service.login(person)["completion_code"]
    service.clock.advance(seconds=31)
    tokens = service.exchange(service.login(person)["completion_code"]).json
    service.clock.advance(seconds=31)
    flow = service.begin(
        None, "enrollment", access_token=tokens["access_token"], act="enroll:totp"
    ).json
    assert flow["status"] == "completed"
    service.clock.jump(**BACK)
    service.bearer = service.access()
    acted = service.act(left, "password", {"password": PASSWORD})
    assert (acted.status_code, acted.json["code"]) == (410, "flow_expired")
    assert service.exchange(code).status_code == 400
    refreshed = service.oauth(
        "token", grant_type="refresh_token", refresh_token=tokens["refresh_token"]
    )
    assert refreshed.status_code == 400
    assert service.oauth("introspect", token=tokens["access_token"]).json == {"active": False}
    refused = service.enroll(person, "totp", grant=flow["grant"])
    assert (refused.status_code, refused.json["code"]) == (403, "grant_invalid")
    # A year later it is an old thing, and no better.
    service.clock.advance(days=366)
    service.bearer = service.access()
    assert service.exchange(code).status_code == 400


def test_a_session_that_was_seen_in_the_future_idles_from_its_beginning(service):
    """It may go on within its idle time, and not for a year."""
    person = service.register()
    tokens = service.exchange(service.login(person)["completion_code"]).json
    with service.container.store.transaction() as tx:
        ahead = service.clock.now() + timedelta(days=365)
        for row in tx.scalars(select(SessionRow)):
            row.last_seen_at = ahead
    assert service.oauth("introspect", token=tokens["access_token"]).json["active"]
    service.clock.advance(minutes=61)
    answer = service.oauth(
        "token", grant_type="refresh_token", refresh_token=tokens["refresh_token"]
    )
    assert answer.status_code == 400


def test_the_right_of_the_registering_client_is_not_of_the_future(service):
    """Registered a year ahead: a grant is needed, as it will be for ever."""
    service.clock.jump(**YEAR)
    service.bearer = service.access()
    person = service.register()
    service.clock.jump(**BACK)
    service.bearer = service.access()
    container = service.container
    with container.store.transaction() as tx, pytest.raises(Forbidden, match="grant_required"):
        account = container.accounts.get(tx, UUID(person.id))
        container.authenticators.grants.authorize(
            tx, Caller(client=account.client, scopes=frozenset()), account, act="x", grant=""
        )


def test_a_kept_answer_of_the_future_is_no_answer(service):
    """Its key can be used again now."""
    body = {"identifiers": {"username": "one"}}
    service.clock.jump(**YEAR)
    service.bearer = service.access()
    assert service.call("POST", "/v1/subjects", body, Idempotency_Key="k").status_code == 201
    service.clock.jump(**BACK)
    service.bearer = service.access()
    body = {"identifiers": {"username": "two"}}
    assert service.call("POST", "/v1/subjects", body, Idempotency_Key="k").status_code == 201


def test_nothing_is_dropped_for_good_while_clocks_disagree(service):
    """A revoked token stays revoked; after an hour of agreement work goes on, after one alarm."""
    person, container = service.register(), service.container
    tokens = service.exchange(service.login(person)["completion_code"]).json
    service.oauth("revoke", token=tokens["access_token"])
    assert container.jobs.run_due()["audit.sequence"]
    service.clock.jump(**YEAR)
    for _ in range(3):
        service.clock.advance(seconds=40)
        done = container.jobs.run_due()
        assert {name for name in done if name.endswith(("drop", "destroy"))} == set()
        assert "audit.sequence" in done
    service.clock.jump(**BACK)
    service.clock.advance(seconds=31)
    assert not any(name.endswith("drop") for name in container.jobs.run_due())
    assert service.oauth("introspect", token=tokens["access_token"]).json == {"active": False}
    with container.store.transaction(read=True) as tx:
        kinds = [row["kind"] for row in container.outbox.waiting(tx)]
    assert kinds.count("alarm.clocks_disagree") == 1
    service.clock.advance(minutes=61)
    assert "tokens.drop" in container.jobs.run_due()


def test_each_reading_is_compared(service):
    """The count of time that passes, the database's clock, and the last entry of the log."""
    container, clock = service.container, service.clock
    told = {"now": clock.now()}
    readings = Readings(
        clock=clock,
        audit=container.audit,
        outbox=container.outbox,
        database=lambda _tx: told["now"],
    )

    def agree():
        with container.store.transaction() as tx:
            return readings.agree(tx)

    def off():
        with container.store.transaction() as tx:
            return {item.name for item in readings.findings(tx) if not item.agrees}

    container.jobs.run_due()
    assert agree()
    assert off() == set()
    told["now"] += timedelta(minutes=6)
    assert not agree()
    assert off() == {"database"}
    told["now"] -= timedelta(minutes=6)
    # Agreed again, but not yet for long.
    assert not agree()
    clock.advance(minutes=59)
    told["now"] += timedelta(minutes=59)
    assert not agree()
    clock.advance(minutes=2)
    told["now"] += timedelta(minutes=2)
    assert agree()
    clock.jump(days=-1)
    assert off() == {"monotonic", "database", "log"}


def test_a_clock_behind_the_ledger_is_found_after_a_restore(service):
    """The log went back with the database; what stands outside it did not."""
    container, clock = service.container, service.clock
    clock.jump(days=2)
    container.memory.restored()
    clock.jump(days=-2)
    readings = Readings(
        clock=clock,
        audit=container.audit,
        outbox=container.outbox,
        database=None,
        ledger=container.memory.last_at,
    )
    with container.store.transaction() as tx:
        wrong = {item.name: item.seconds for item in readings.findings(tx) if not item.agrees}
        assert wrong == {"ledger": -2 * 86_400}
        assert not readings.agree(tx)
    with container.store.transaction() as tx:
        found = {item.name: item.agrees for item in container.jobs.readings.findings(tx)}
    assert found["ledger"] is False


@pytest.mark.parametrize(
    "act",
    [
        lambda key_admin, tx: key_admin.retire(tx, "signing", None, "cli"),
        lambda key_admin, tx: key_admin.promote(tx, "index", None, "cli"),
        lambda key_admin, tx: key_admin.promote(tx, "signing", None, "cli"),
        lambda key_admin, tx: key_admin.promote(tx, "kek", "factor", "cli"),
        lambda key_admin, tx: key_admin.retire(tx, "kek", "factor", "cli"),
        lambda key_admin, tx: key_admin.destroy(
            tx, key_class="factor", version=1, days=30, actor="cli"
        ),
    ],
    ids=["old signing keys", "index", "signing", "kek in use", "old kek", "end of a kek"],
)
def test_what_an_operator_ends_by_the_time_waits_for_clocks_to_agree(service, act):
    """A clock that is wrong would end a grace period early; the refusal names the reading."""
    container, clock = service.container, service.clock
    with container.store.transaction() as tx:
        container.audit.append(tx, "somebody.wrote")
    with container.store.transaction() as tx:
        container.audit.sequence(tx, 10)
    clock.jump(days=-2)
    with container.store.transaction() as tx, pytest.raises(Conflict) as refused:
        act(container.key_admin, tx)
    assert refused.value.code == "clocks_disagree"
    assert "log -172800 s" in refused.value.detail


def test_a_clock_that_was_set_ahead_stays_refused_until_it_has_run_for_an_hour(service):
    """To ask a second time is no reading; the hour after which clocks count as steady is."""
    container, clock = service.container, service.clock

    def retire():
        with container.store.transaction() as tx:
            return container.key_admin.retire(tx, "signing", None, "cli")

    assert retire() == []
    clock.jump(days=2)
    for said in ("monotonic +172800 s", "within the last hour", "within the last hour"):
        with pytest.raises(Conflict) as refused:
            retire()
        assert refused.value.code == "clocks_disagree"
        assert said in refused.value.detail
        clock.advance(minutes=19)
    clock.advance(minutes=5)
    assert retire() == []


def test_a_start_after_a_gap_waits_until_time_has_passed(service):
    """A process that starts a year after the last entry cannot tell a rest from a wrong clock."""
    container, clock = service.container, service.clock
    service.register()
    container.jobs.run_due()
    clock.jump(**YEAR)
    readings = Readings(clock=clock, audit=container.audit, outbox=container.outbox, database=None)
    with container.store.transaction() as tx:
        assert not readings.agree(tx)
    clock.advance(hours=1)
    with container.store.transaction() as tx:
        assert readings.agree(tx)


def test_a_clock_without_a_count_of_its_own_is_compared_with_the_machines():
    """Whatever it shows, time passes as it does."""

    class Shown:
        def now(self):
            raise NotImplementedError

    assert passed(Shown()) <= passed(Shown())
    frozen = FrozenClock(None)
    assert passed(frozen) == 0


def test_what_lives_so_long_is_in_force_from_now_to_its_end(clock):
    """Neither over nor further ahead than it lives, but for what clocks differ."""
    now, life = clock.now(), timedelta(minutes=10)
    assert in_force(now + life, now, life)
    assert in_force(now + life + timedelta(minutes=5), now, life)
    assert not in_force(now + life + timedelta(minutes=6), now, life)
    assert not in_force(now, now, life)


def test_a_start_after_a_gap_waits_whatever_is_logged_meanwhile(service):
    """The first entry of a process that began after a gap makes its clock no surer."""
    container, clock = service.container, service.clock
    service.register()
    container.jobs.run_due()
    clock.jump(**YEAR)
    readings = Readings(clock=clock, audit=container.audit, outbox=container.outbox, database=None)
    for _ in range(2):
        with container.store.transaction() as tx:
            assert not readings.agree(tx)
        with container.store.transaction() as tx:
            container.audit.append(tx, "somebody.wrote")
            container.audit.sequence(tx)
        clock.advance(seconds=2)
    clock.advance(hours=1)
    with container.store.transaction() as tx:
        assert readings.agree(tx)


def test_the_population_is_not_folded_by_a_clock_that_is_ahead(service):
    """A fold divides by age what everybody is compared with, and that cannot be taken back."""
    container, clock = service.container, service.clock
    service.register()
    container.jobs.run_due()
    weight = population.weight(clock.now())
    with container.store.transaction() as tx:
        context.fold(tx, {bytes([1]) + n.to_bytes(8, "big"): weight for n in range(100)})

    def kept():
        with container.store.transaction(read=True) as tx:
            return tx.execute(text("SELECT count(*) FROM login_context_population")).scalar()

    before = kept()
    clock.jump(**YEAR)
    with container.store.transaction() as tx:
        context.note_seen(tx, new_id(clock.now()), clock.now(), bytes([1]) + bytes(8))
    clock.advance(seconds=61)
    assert "login_context.fold" not in container.jobs.run_due()
    assert kept() == before == 100
