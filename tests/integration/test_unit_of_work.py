"""Rows that are read ahead, and writes that wait for each other, in one transaction."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import bindparam, delete, insert, select, update

from service.domain.errors import Conflict
from service.risk.runner import Signals
from service.signals.login_context.store import SeenRow, TallyRow
from service.store.ahead import PlannedRead, read_ahead, rows_ahead
from service.store.base import table_of
from service.store.driver_sql import driver_sql
from service.store.engine import changed
from service.store.later import later, queued

TALLY = table_of(TallyRow)
SEEN = table_of(SeenRow)
ADD = insert(TALLY)
SET = (
    update(TALLY)
    .where(TALLY.c.window == bindparam("b_window"))
    .values(failures=bindparam("b_failures"))
    .returning(TALLY.c.window)
)
FIND = select(TALLY.c.failures, TALLY.c.window).where(TALLY.c.window == bindparam("b_window"))
LOCK = FIND.with_for_update()
COUNT = select(SEEN.c.id, SEEN.c.digests).where(SEEN.c.at <= bindparam("b_at"))
DAY = datetime(2026, 11, 30, tzinfo=UTC)
NEXT = DAY + timedelta(days=1)


def wanted(day=DAY):
    return PlannedRead(FIND, {"b_window": day})


def found(tx, day=DAY):
    row = tx.execute(FIND, {"b_window": day}).first()
    return None if row is None else (row.failures, row.window)


@pytest.fixture
def store(container):
    """A store whose table of tallies has one row."""
    with container.store.transaction() as tx:
        tx.execute(ADD, {"window": DAY, "failures": 1})
    return container.store


def test_what_is_read_ahead_is_what_its_statement_reads(store):
    """Every row comes with the names and types that it would have, and none for none."""
    with store.transaction(read=True) as tx:
        usual = [found(tx), found(tx, NEXT), tx.execute(COUNT, {"b_at": DAY}).all()]
    with store.transaction(read=True) as tx:
        read_ahead(tx, [wanted(), wanted(NEXT), PlannedRead(COUNT, {"b_at": DAY})])
        assert [found(tx), found(tx, NEXT), tx.execute(COUNT, {"b_at": DAY}).all()] == usual
        assert (tx.execute(FIND, {"b_window": DAY}).scalar_one(), usual[1]) == (1, None)
        if tx.get_bind().dialect.name == "postgresql":
            assert rows_ahead(tx, FIND, {"b_window": DAY}) == [(1, DAY)]
            assert rows_ahead(tx, FIND, {"b_window": NEXT}) == []


@pytest.mark.parametrize(
    "happening",
    [
        lambda tx: tx.execute(SET, {"b_window": DAY, "b_failures": 7}),
        lambda tx: later(tx, SET, {"b_window": DAY, "b_failures": 7}),
        lambda tx: setattr(tx.get(TallyRow, DAY), "failures", 7),
        lambda tx: tx.execute(update(TALLY).values(failures=7)),
    ],
    ids=["executed", "queued", "flushed", "of-all"],
)
def test_a_change_of_a_table_is_seen_by_what_was_read_ahead(store, happening):
    """However it is written, the next reader sees it."""
    with store.transaction() as tx:
        read_ahead(tx, [wanted(), PlannedRead(COUNT, {"b_at": DAY})])
        assert found(tx) == (1, DAY)
        happening(tx)
        assert found(tx) == (7, DAY)


def test_what_waited_for_a_lock_is_read_anew(store):
    """A row may have changed while another was waited for."""
    with store.transaction() as tx:
        read_ahead(tx, [wanted()])
        tx.execute(LOCK, {"b_window": DAY})
        assert rows_ahead(tx, FIND, {"b_window": DAY}) is None
        read_ahead(tx, [wanted()])
        with pytest.raises(ZeroDivisionError), tx.begin_nested():
            raise ZeroDivisionError
        assert rows_ahead(tx, FIND, {"b_window": DAY}) is None


def test_queued_writes_are_seen_by_the_next_statement_and_committed(store):
    """Nothing that was queued is lost, and a row may change twice."""
    with store.transaction() as tx:
        later(tx, ADD, {"window": NEXT, "failures": 2})
        later(tx, SET, {"b_window": NEXT, "b_failures": 3})
        later(tx, SET, {"b_window": NEXT, "b_failures": 4}, else_raise=changed)
        assert queued(tx) == 3
        assert found(tx, NEXT) == (4, NEXT)
        assert queued(tx) == 0
        later(tx, SET, {"b_window": DAY, "b_failures": 5})
        later(tx, delete(TALLY).where(TALLY.c.window == NEXT), {})
    with store.transaction(read=True) as tx:
        assert (found(tx), found(tx, NEXT)) == ((5, DAY), None)


def test_a_write_that_meets_no_row_ends_the_transaction(store):
    """Its error comes at the latest at the end, and nothing of the transaction stays."""
    with pytest.raises(Conflict), store.transaction() as tx:
        later(tx, ADD, {"window": DAY + timedelta(days=2), "failures": 1})
        later(tx, SET, {"b_window": DAY, "b_failures": 9}, else_raise=changed)
        later(tx, SET, {"b_window": NEXT, "b_failures": 9}, else_raise=changed)
    with store.transaction(read=True) as tx:
        assert (found(tx), found(tx, DAY + timedelta(days=2))) == ((1, DAY), None)


@pytest.mark.parametrize("asks", [True, False])
def test_a_part_that_fails_takes_its_own_writes_along_only(store, asks):
    """What was queued before it stays, whether or not it ran a statement."""
    with store.transaction() as tx:
        later(tx, ADD, {"window": NEXT, "failures": 2})
        with pytest.raises(ZeroDivisionError), tx.begin_nested():
            later(tx, SET, {"b_window": DAY, "b_failures": 8})
            if asks:
                assert found(tx) == (8, DAY)
            raise ZeroDivisionError
        with tx.begin_nested():
            later(tx, SET, {"b_window": NEXT, "b_failures": 6})
            if asks:
                assert found(tx, NEXT) == (6, NEXT)
    with store.transaction(read=True) as tx:
        assert (found(tx), found(tx, NEXT)) == ((1, DAY), (6, NEXT))


def test_a_statement_with_a_list_is_not_joined(store):
    """Its text depends on how long the list is."""
    listed = select(TALLY.c.failures).where(TALLY.c.window.in_([DAY, NEXT]))
    dialect = store.engine.dialect
    with pytest.raises(ValueError, match="cannot be joined"):
        driver_sql(listed, dialect, "a0_", ())


def test_what_a_part_queued_goes_with_it_after_a_statement(store):
    """The statement sent what had been queued before the part, so that its own come first."""
    with store.transaction() as tx:
        later(tx, SET, {"b_window": DAY, "b_failures": 3})
        with pytest.raises(ZeroDivisionError), tx.begin_nested():
            assert found(tx, NEXT) is None
            later(tx, ADD, {"window": NEXT, "failures": 1})
            raise ZeroDivisionError
        assert queued(tx) == 0
    with store.transaction(read=True) as tx:
        assert (found(tx), found(tx, NEXT)) == ((3, DAY), None)


class Reads:
    """A signal whose learning runs a statement."""

    name = "reads"

    def learn(self, tx, _facts):
        """Ask the database, which sends what was queued before."""
        tx.execute(FIND, {"b_window": NEXT}).first()


def test_a_guard_of_the_login_is_no_fault_of_a_signal(store):
    """It ends the transaction, though a signal sent it, whose own faults are let be."""
    signals = Signals((Reads(),), SimpleNamespace(signal_budget_ms=1e9))
    with pytest.raises(Conflict), store.transaction() as tx:
        later(tx, SET, {"b_window": NEXT, "b_failures": 7}, else_raise=changed)
        signals.learn(tx, None)


def test_many_writes_go_as_several_statements(store):
    """A driver takes so many values at once, and no more."""
    with store.transaction() as tx:
        for number in range(100):
            later(tx, ADD, {"window": NEXT + timedelta(days=number), "failures": number})
    with store.transaction(read=True) as tx:
        assert found(tx, NEXT + timedelta(days=99)) == (99, NEXT + timedelta(days=99))
