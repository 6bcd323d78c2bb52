"""What the database ends because of others is done again, then 503; a unique index is a 409."""

import sqlite3
import threading
from datetime import timedelta

import pytest
from sqlalchemy import create_engine, text

from crypto.errors import KeyUnavailable
from service.domain.errors import Busy, Conflict
from service.store import connecting
from service.store import engine as engines
from service.store.engine import Store, make_engine

ENDED = ["40P01", "40001"]


@pytest.fixture
def postgres(container):
    """The features on PostgreSQL, which has locks of rows."""
    if container.store.engine.dialect.name != "postgresql":
        pytest.skip("SQLite has one writer at a time, and no such end")
    return container


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    """Do not wait between two tries, but where two threads must come apart."""
    monkeypatch.setattr(engines, "_PAUSE_MS", 1.0)


def refuse(tx, state):
    """Let the database refuse a statement as it does in a state."""
    tx.execute(text(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{state}'; END $$"))


class Refused:
    """Work that the database ends a number of times before it lets it through."""

    def __init__(self, times, state="40P01"):
        self.left, self.state, self.runs = times, state, 0

    def __call__(self, tx):
        self.runs += 1
        if self.left:
            self.left -= 1
            refuse(tx, self.state)
        return "done"


@pytest.mark.parametrize("state", ENDED)
def test_a_unit_of_work_that_was_ended_is_done_again(postgres, state):
    """Four times at most, and then it is told that the database is busy."""
    work = Refused(4, state)
    assert (postgres.store.unit(work), work.runs) == ("done", 5)
    work = Refused(5, state)
    with pytest.raises(Busy) as busy:
        postgres.store.unit(work)
    assert (work.runs, busy.value.code, busy.value.retry_after) == (5, "database_busy", 1)


def test_two_that_lock_each_other_out_are_both_done(postgres):
    """A real deadlock: each locks one of two rows and wants the other; both get through."""
    ids = [postgres.register(username=name).id for name in ("alice", "bob")]
    barrier, done = threading.Barrier(2), []

    def act(mine, other):
        first = True

        def work(tx):
            nonlocal first
            postgres.accounts.lock(tx, mine)
            if first:
                first = False
                barrier.wait(120)
            postgres.accounts.lock(tx, other)

        postgres.store.unit(work)
        done.append(mine)

    threads = [threading.Thread(target=act, args=order) for order in (ids, ids[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == sorted(ids)


def test_a_request_is_done_again_until_something_of_it_is_kept(postgres):
    """What has committed may not be done twice: then it is 503 at once."""
    store, runs = postgres.store, []

    def view(kept):
        runs.append(kept)
        if kept:
            with store.transaction() as tx:
                tx.execute(text("SELECT 1"))
        with store.transaction() as tx:
            refuse(tx, "40P01")

    with pytest.raises(Busy):
        store.repeat(lambda: view(kept=False))
    with pytest.raises(Busy):
        store.repeat(lambda: view(kept=True))
    assert runs == [False] * 5 + [True]


def test_a_wait_that_was_long_enough_is_not_begun_again(postgres):
    """A lock that is not to be had in its time is told at once."""
    work = Refused(1, "55P03")
    with pytest.raises(Busy):
        postgres.store.unit(work)
    assert work.runs == 1


def test_a_unique_index_is_a_conflict(postgres):
    """Two of what there may be one of: 409, whichever index says so."""
    with pytest.raises(Conflict) as refused:
        postgres.store.unit(Refused(1, "23505"))
    assert refused.value.code == "changed_meanwhile"


def test_a_second_row_of_one_key_is_a_conflict(container):
    """On SQLite too."""
    statement = text(
        "INSERT INTO revoked_token (jti, expires_at)"
        " VALUES ('00000000000000000000000000000001', '2026-11-24 12:00:00')"
    )
    with pytest.raises(Conflict), container.store.transaction() as tx:
        tx.execute(statement)
        tx.execute(statement)


def test_a_row_that_is_gone_is_a_conflict(container):
    """An object whose row another request has deleted meanwhile is no fault of this program."""
    from service.accounts.store.subjects import VerificationCode

    account = container.register(email="alice@example.com")
    with container.store.transaction() as tx:
        container.accounts.send_code(tx, account.id, "email")
    with pytest.raises(Conflict), container.store.transaction() as tx:
        row = tx.query(VerificationCode).one()
        tx.execute(text("DELETE FROM verification_code"))
        row.expires_at += timedelta(minutes=1)
        tx.flush()


def test_a_full_pool_is_busy(container):
    """Whoever finds no connection in time is told to come again."""
    url = container.store.engine.url
    small = create_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.05)
    store = Store(small, container.key_store)
    with small.connect(), pytest.raises(Busy), store.transaction(read=True) as tx:
        tx.execute(text("SELECT 1"))
    small.dispose()


def test_a_locked_file_is_busy(container, monkeypatch):
    """SQLite's one writer takes too long: 503 `database_busy`, not a lost database."""
    if container.store.engine.dialect.name != "sqlite":
        pytest.skip("a file is SQLite's")
    monkeypatch.setattr(connecting, "_BUSY_MS", 20)
    engine = make_engine(str(container.store.engine.url))
    store, runs = Store(engine, container.key_store), []
    writer = sqlite3.connect(engine.url.database, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")

    def view():
        runs.append(1)
        with store.transaction() as tx:
            tx.execute(text("SELECT 1"))

    with pytest.raises(Busy) as busy:
        store.repeat(view)
    assert (runs, busy.value.code) == ([1], "database_busy")
    writer.close()
    store.repeat(view)
    engine.dispose()


def test_a_value_whose_key_went_meanwhile_is_read_once_more(container):
    """An erasure between a value and its key is no alarm; what never opens stays one."""
    store, runs = container.store, []

    def view(last, keep):
        runs.append(1)
        if keep:
            with store.transaction():
                pass
        if len(runs) < last:
            raise KeyUnavailable("contact 1")
        return "read"

    assert store.repeat(lambda: view(2, keep=False)) == "read"
    runs.clear()
    with pytest.raises(KeyUnavailable):
        store.repeat(lambda: view(3, keep=False))
    assert len(runs) == 2
    runs.clear()
    with pytest.raises(KeyUnavailable):
        store.repeat(lambda: view(2, keep=True))
    assert len(runs) == 1


def test_what_waited_for_a_lock_is_read_anew(postgres):
    """An object that was read before the lock shows what another has committed meanwhile."""
    from service.accounts.store.subjects import Subject

    account = postgres.register(username="alice")
    with postgres.store.transaction() as tx:
        row = tx.get(Subject, account.id)
        before = row.updated_at

        def change():
            postgres.clock.advance(hours=1)
            with postgres.store.transaction() as other:
                postgres.accounts.update(other, postgres.caller, account.id, profile={"n": 1})

        thread = threading.Thread(target=change)
        thread.start()
        thread.join()
        postgres.accounts.lock(tx, account.id)
        assert row.updated_at > before
