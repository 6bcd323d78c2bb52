"""What the database alone cannot hide: a chain under keys that are not in it."""

import itertools
import threading
from datetime import timedelta

import pytest
from sqlalchemy import text

from crypto import chain
from crypto.errors import ChainBroken
from service.audit import model
from service.audit.actions.audit_log import AuditLog
from service.audit.actions.leaves import covered
from service.audit.model import Point
from service.audit.store import CheckpointRow, Leaf, Link
from tests.integration.test_audit_log import append, sequence, verify

EVERYTHING = [
    "DELETE FROM audit_checkpoint WHERE number = :number",
    "UPDATE audit_checkpoint SET position = position - 1 WHERE number = :number",
    "UPDATE audit_checkpoint SET head = mac WHERE number = :number",
    "UPDATE audit_checkpoint SET adopted = 'accepted' WHERE number = :number",
    "UPDATE audit_checkpoint SET adopted = 'upgrade' WHERE number = :number",
    "UPDATE audit_checkpoint SET signature = 'x' WHERE number = :number",
    "UPDATE audit_checkpoint SET at = '2020-01-01 00:00:00' WHERE number = :number",
    "UPDATE audit_checkpoint SET start = start + 1 WHERE number = :number",
    "UPDATE audit_checkpoint SET number = number + 7 WHERE number = :number",
]


def run(container, *statements, **values):
    """Do what somebody does who can write the database."""
    with container.store.transaction() as tx:
        for statement in statements:
            tx.execute(text(statement), values)


def found(container, remembered=()):
    """Return where verification and the check at a start find the log changed."""
    with container.store.transaction(read=True) as tx:
        light = container.audit.disagreement(tx, list(remembered))
        try:
            container.audit.verify(tx, remembered)
        except ChainBroken as error:
            return error.position, light.position if light else None
    return None, light.position if light else None


def rows(container):
    """Return the numbers and places of the checkpoints."""
    with container.store.transaction(read=True) as tx:
        query = tx.query(CheckpointRow).order_by(CheckpointRow.number)
        return [(row.number, row.position) for row in query]


@pytest.fixture
def logged(container):
    """A house with 50 leaves under five checkpoints."""
    for _ in range(5):
        append(container, 10)
        sequence(container)
        container.clock.advance(minutes=2)
    assert rows(container) == [(1, 10), (2, 20), (3, 30), (4, 40), (5, 50)]
    assert found(container) == (None, None)
    return container


def recompute(container, start, key=None):
    """Compute the chain anew from a position on, as far as the key that one has goes."""
    with container.store.transaction() as tx:
        links = {link.position: link for link in tx.query(Link).all()}
        head = links[start - 1].head if start > 1 else chain.GENESIS
        for position in range(start, len(links) + 1):
            leaf = tx.query(Leaf).filter_by(position=position).one()
            head = chain.link(head, covered(leaf))
            links[position].head = head
            if key:
                links[position].mac = chain.link_mac(key, position, head)


def test_one_checkpoint_moves_on_for_a_minute(container):
    """Rounds do not leave a row each; what is over a minute old stays where it is."""
    for count in (1, 2, 3):
        append(container, count)
        sequence(container)
    assert rows(container) == [(1, 6)]
    sequence(container)
    container.clock.advance(minutes=1)
    sequence(container)
    assert rows(container) == [(1, 6)]
    append(container)
    sequence(container)
    append(container)
    sequence(container)
    assert rows(container) == [(1, 6), (2, 8)]
    assert verify(container) == 8


def test_a_clock_that_goes_back_begins_another_checkpoint(container):
    """One that began in the future is not open until then."""
    container.clock.advance(days=365)
    append(container)
    sequence(container)
    container.clock.advance(days=-365)
    append(container)
    sequence(container)
    assert rows(container) == [(1, 1), (2, 2)]
    assert verify(container) == 2


@pytest.mark.parametrize("gone", [1, 5, 15, 20, 49])
def test_an_end_that_is_cut_off_is_found(logged, gone):
    """The last leaves with their links; the checkpoints say how far it had come."""
    run(
        logged,
        "DELETE FROM audit_link WHERE position > :left",
        "DELETE FROM audit_leaf WHERE position > :left",
        left=50 - gone,
    )
    assert found(logged) == (51 - gone, 51 - gone)
    append(logged)
    sequence(logged)
    assert found(logged)[0] is not None


@pytest.mark.parametrize("gone", [1, 5, 15])
def test_an_end_that_is_cut_off_with_its_checkpoints_is_found(logged, gone):
    """Unless it is cut at a checkpoint: that is a state of before, which the ledger tells."""
    run(
        logged,
        "DELETE FROM audit_link WHERE position > :left",
        "DELETE FROM audit_leaf WHERE position > :left",
        "DELETE FROM audit_checkpoint WHERE position > :left",
        left=50 - gone,
    )
    assert found(logged)[0] is not None
    assert found(logged)[1] is not None


def test_a_return_to_a_checkpoint_is_told_by_the_ledger(logged):
    """A whole database of before is in order by itself."""
    with logged.store.transaction(read=True) as tx:
        here = Point(*logged.audit.checkpoint(tx), sealed=True)
    assert found(logged, [here]) == (None, None)
    run(
        logged,
        "DELETE FROM audit_link WHERE position > 30",
        "DELETE FROM audit_leaf WHERE position > 30",
        "DELETE FROM audit_checkpoint WHERE position > 30",
    )
    assert found(logged) == (None, None)
    assert found(logged, [here]) == (31, 31)
    append(logged, 30)
    sequence(logged)
    assert found(logged, [here]) == (50, 50)


@pytest.mark.parametrize("at", [1, 7, 10, 11, 49, 50])
def test_a_leaf_changed_and_the_chain_recomputed_is_found(logged, at):
    """Anybody can compute the hashes; nobody without the key the MACs."""
    run(logged, "UPDATE audit_leaf SET actor = 'nobody' WHERE position = :at", at=at)
    recompute(logged, at)
    deep, light = found(logged)
    assert deep == at
    assert light is not None


def test_a_link_without_its_mac_is_found(logged):
    """A chain does not go back to the version that had none."""
    run(logged, "UPDATE audit_link SET mac = NULL WHERE position >= 12")
    assert found(logged) == (12, 41)
    run(logged, "UPDATE audit_link SET mac = NULL", "DELETE FROM audit_checkpoint")
    assert found(logged) == (1, 1)


@pytest.mark.parametrize(
    ("statement", "number"), list(itertools.product(EVERYTHING, [1, 2, 5])), ids=str
)
def test_a_checkpoint_removed_or_changed_is_found(logged, statement, number):
    """By itself, and still after the log has gone on."""
    run(logged, statement, number=number)
    assert None not in found(logged)
    append(logged)
    sequence(logged)
    assert None not in found(logged)


def test_all_checkpoints_removed_are_found_for_ever(logged):
    """The log goes on, and never hides that there were some."""
    run(logged, "DELETE FROM audit_checkpoint")
    assert found(logged) == (1, 1)
    append(logged)
    sequence(logged)
    assert found(logged) == (1, 1)


def test_a_checkpoint_of_another_number_is_found(logged):
    """None can be put where another was."""
    run(
        logged,
        "DELETE FROM audit_checkpoint WHERE number = 2",
        "UPDATE audit_checkpoint SET number = 2 WHERE number = 3",
        "UPDATE audit_checkpoint SET number = 3 WHERE number = 4",
        "UPDATE audit_checkpoint SET number = 4 WHERE number = 5",
    )
    assert found(logged) == (11, 11)


def test_a_chain_of_the_first_version_is_adopted_once(container, url):
    """It has no MAC and no checkpoint; it verifies as before, and what follows is under keys."""
    plain = AuditLog(container.clock)
    append(container, 7)
    with container.store.transaction() as tx:
        assert plain.sequence(tx) == 7
        old = Point(*plain.checkpoint(tx))
    assert found(container) == (1, 1)
    sequence(container)
    assert rows(container) == [(1, 7)]
    assert found(container, [old]) == (None, None)
    append(container, 3)
    sequence(container)
    assert rows(container) == [(1, 7), (2, 10)]
    assert verify(container) == 10
    assert found(container, [old, Point(old.position, bytes(32))]) == (7, 7)
    for at in (2, 7, 8):
        with pytest.raises(ChainBroken) as broken, container.store.transaction() as tx:
            change = "UPDATE audit_leaf SET actor = 'nobody' WHERE position = :at"
            tx.execute(text(change), {"at": at})
            container.audit.verify(tx)
        assert broken.value.position == at


def test_a_chain_under_checkpoints_is_not_adopted_as_an_old_one(logged):
    """The ledger remembers that there were checkpoints, whatever the database says now."""
    with logged.store.transaction(read=True) as tx:
        early = Point(20, logged.audit.head_at(tx, 20), sealed=True)
    run(logged, "DELETE FROM audit_checkpoint", "UPDATE audit_link SET mac = NULL")
    sequence(logged)
    assert rows(logged) == [(1, 50)]
    assert found(logged) == (None, None)
    assert found(logged, [early])[0] == 20


def test_an_accepted_log_holds_from_then_on(logged):
    """What an operator took as it stood is no finding again; a change since then is."""
    run(
        logged,
        "UPDATE audit_leaf SET actor = 'nobody' WHERE position = 12",
        "DELETE FROM audit_leaf WHERE position = 30",
        "DELETE FROM audit_checkpoint WHERE number = 2",
    )
    assert found(logged)[0] == 11
    with logged.store.transaction() as tx:
        point = logged.audit.accept(tx, "cli", "looked into it")
    assert point.position == 51
    assert found(logged) == (None, None)
    append(logged, 4)
    sequence(logged)
    assert found(logged, [point]) == (None, None)
    assert verify(logged) == 55
    for at in (5, 12, 51, 53):
        with pytest.raises(ChainBroken), logged.store.transaction() as tx:
            change = "UPDATE audit_leaf SET actor = 'else' WHERE position = :at"
            tx.execute(text(change), {"at": at})
            logged.audit.verify(tx)
    run(logged, "DELETE FROM audit_checkpoint WHERE adopted = 'accepted'")
    assert found(logged)[0] == 11


def test_a_chain_that_grows_while_it_is_read_is_in_order(logged, monkeypatch):
    """Another process sequences after the checkpoints were read, and while the chain is."""
    told = model.in_force

    def meanwhile(rows, key):
        if logged.store.engine.dialect.name != "sqlite":
            thread = threading.Thread(target=lambda: (append(logged, 3), sequence(logged)))
            thread.start()
            thread.join()
        return told(rows, key)

    monkeypatch.setattr(model, "in_force", meanwhile)
    assert found(logged) == (None, None)
    assert found(logged) == (None, None)


def test_leaves_that_wait_are_counted(container):
    """Ten seconds are allowed; a time of the future is as late as one long past."""
    with container.store.transaction(read=True) as tx:
        assert container.audit.waiting(tx).count == 0
    append(container, 3)
    with container.store.transaction(read=True) as tx:
        young = container.audit.waiting(tx)
    assert (young.count, young.late, young.oldest) == (3, 0, timedelta(seconds=3))
    container.clock.advance(seconds=7)
    with container.store.transaction(read=True) as tx:
        assert container.audit.waiting(tx).late == 1
    container.clock.advance(days=-1)
    with container.store.transaction(read=True) as tx:
        assert container.audit.waiting(tx).late == 3
    sequence(container)
    with container.store.transaction(read=True) as tx:
        assert container.audit.waiting(tx).count == 0


def test_a_round_takes_all_that_waits(container):
    """More than a page, in order."""
    append(container, 1203)
    with container.store.transaction() as tx:
        assert container.audit.sequence_waiting(tx) == 1203
        assert container.audit.sequence_waiting(tx) == 0
    assert verify(container) == 1203


def test_what_was_told_is_told_again_in_time(container):
    """Once within a time; a note of the future does not silence it."""
    told = []
    for step in (0, 30, 31, 0, -3600, 0):
        container.clock.advance(seconds=step)
        with container.store.transaction() as tx:
            told.append(container.audit.due(tx, "late", timedelta(minutes=1)))
    assert told == [True, False, True, False, True, False]
