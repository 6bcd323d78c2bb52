"""The log: what was decided stays as it was decided, and in its order."""

import uuid

import pytest
from sqlalchemy import text

from crypto.errors import ChainBroken
from service.audit.store import Leaf, Link

REMOVE_LEAF = "DELETE FROM audit_leaf WHERE position = :at"
REMOVE_LINK = "DELETE FROM audit_link WHERE position = :at"
MOVE_LINK = "UPDATE audit_link SET position = :to WHERE position = :at"


def append(container, count=1, **data):
    """Leave leaves, each at a time of its own."""
    with container.store.transaction() as tx:
        for number in range(count):
            container.audit.append(tx, "test.done", actor="tester", number=number, **data)
            container.clock.advance(seconds=1)


def sequence(container, *limit):
    """Give waiting leaves their place."""
    with container.store.transaction() as tx:
        return container.audit.sequence(tx, *limit)


def verify(container):
    """Return the length of the chain."""
    with container.store.transaction(read=True) as tx:
        return container.audit.verify(tx)


def broken_at(container):
    """Return the position at which the chain is found broken."""
    with pytest.raises(ChainBroken) as found:
        verify(container)
    return found.value.position


def tampered(container, *statements):
    """Return where the chain breaks after statements, which are then rolled back."""
    with pytest.raises(ChainBroken) as found, container.store.transaction() as tx:
        for statement, values in statements:
            assert tx.execute(text(statement), values).rowcount == 1
        container.audit.verify(tx)
    return found.value.position


@pytest.fixture
def chained(container):
    """A house whose log has five leaves in the chain."""
    append(container, 5)
    assert sequence(container) == 5
    return container


def test_leaves_wait_and_get_their_place_in_order(container):
    """Sequencing numbers leaves by their time, as many at once as it is told, each once."""
    assert (sequence(container), verify(container)) == (0, 0)
    append(container, 5)
    assert verify(container) == 0
    assert [sequence(container, 2) for _ in range(4)] == [2, 2, 1, 0]
    assert verify(container) == 5
    append(container, 2)
    assert (sequence(container), verify(container)) == (2, 7)
    with container.store.transaction(read=True) as tx:
        leaves = tx.query(Leaf).order_by(Leaf.position).all()
        assert [leaf.data["number"] for leaf in leaves] == [0, 1, 2, 3, 4, 0, 1]
        assert [leaf.position for leaf in leaves] == list(range(1, 8))


def test_a_leaf_commits_or_rolls_back_with_its_decision(container):
    """What did not happen is not in the log."""
    with pytest.raises(ZeroDivisionError), container.store.transaction() as tx:
        container.audit.append(tx, "test.done")
        _ = 1 / 0
    assert sequence(container) == 0


def test_a_sequencing_that_is_rolled_back_leaves_the_leaves_waiting(container):
    """The chain and the places of its leaves are written together."""
    append(container, 3)
    with pytest.raises(ZeroDivisionError), container.store.transaction() as tx:
        container.audit.sequence(tx)
        _ = 1 / 0
    assert verify(container) == 0
    assert sequence(container) == 3
    assert verify(container) == 3


def test_data_of_every_json_kind_verifies(container):
    """Nested members, numbers and text of any script come back the same from both databases."""
    data = {
        "list": [1, 2.5, None, True],
        "map": {"z": 1, "a": {"b": "x"}},
        "text": "\u00e9\U0001f600\u2028",
    }
    append(container, 1, **data)
    sequence(container)
    assert verify(container) == 1


def test_a_chain_longer_than_a_page_verifies(container):
    """Chains are read page by page, and a hole at the seam is found like any other."""
    append(container, 502)
    assert [sequence(container), sequence(container)] == [500, 2]
    assert verify(container) == 502
    with container.store.transaction() as tx:
        tx.delete(tx.query(Leaf).filter_by(position=501).one())
    assert broken_at(container) == 501


def test_a_changed_leaf_is_found(chained):
    """No member of a leaf can be changed without breaking the chain at its place."""
    for change in (
        "UPDATE audit_leaf SET kind = 'test.undone' WHERE position = :at",
        "UPDATE audit_leaf SET actor = 'another' WHERE position = :at",
        "UPDATE audit_leaf SET actor = NULL WHERE position = :at",
        "UPDATE audit_leaf SET data = '[7]' WHERE position = :at",
        "UPDATE audit_leaf SET at = '2020-01-01 00:00:00' WHERE position = :at",
    ):
        for position in (1, 3, 5):
            assert tampered(chained, (change, {"at": position})) == position, change
    assert verify(chained) == 5


def test_a_leaf_of_another_subject_is_found(chained):
    """Whom a decision was about cannot be exchanged."""
    with chained.store.transaction() as tx:
        tx.query(Leaf).filter_by(position=2).update({"subject_id": uuid.UUID(int=1)})
    assert broken_at(chained) == 2


def test_a_removed_leaf_is_found(chained):
    """At the beginning, in the middle and at the end."""
    for position in (1, 3, 5):
        removal = (REMOVE_LEAF, {"at": position})
        assert tampered(chained, removal) == position
    assert verify(chained) == 5


def test_a_leaf_removed_with_its_link_is_found(chained):
    """Positions have no hole; one that is closed by counting anew gives other heads."""
    for position in (1, 3):
        removal = [(REMOVE_LEAF, {"at": position}), (REMOVE_LINK, {"at": position})]
        assert tampered(chained, *removal) == position
        closing = [(MOVE_LINK, {"at": later, "to": later - 1}) for later in range(position + 1, 6)]
        assert tampered(chained, *removal, *closing) == position
    assert verify(chained) == 5


def test_reordered_leaves_are_found(chained):
    """Two leaves that change places break the chain at the first of them."""
    spare = uuid.UUID(int=1)
    with chained.store.transaction() as tx:
        places = {link.position: link.leaf_id for link in tx.query(Link).all()}
        for position, leaf in ((2, spare), (4, places[2]), (2, places[4])):
            tx.query(Link).filter_by(position=position).update({"leaf_id": leaf})
    assert broken_at(chained) == 2


def test_a_changed_head_is_found(chained):
    """A head that does not follow from what is before it is no head."""
    with chained.store.transaction() as tx:
        tx.query(Link).filter_by(position=4).update({"head": b"\x00" * 32})
    assert broken_at(chained) == 4


def test_a_leaf_put_into_the_chain_by_hand_is_found(chained):
    """Who can write rows and cannot rewrite every head cannot add to the past."""
    append(chained)
    with chained.store.transaction() as tx:
        leaf = tx.query(Leaf).filter_by(position=None).one()
        leaf.position = 6
        tx.add(Link(position=6, leaf_id=leaf.id, head=b"\x01" * 32))
    assert broken_at(chained) == 6


def test_what_features_log_holds_no_personal_data(container):
    """A registration, its refusal and a change leave neither names nor addresses in the log."""
    account = container.register(username="canary", email="canary@example.com")
    with container.store.transaction() as tx:
        container.accounts.update(
            tx, container.caller, account.id, identifiers={"username": "canary2"}
        )
        container.suspensions.suspend(
            tx, account.id, capability="login", reason="fraud", actor="operator"
        )
    with container.store.transaction(read=True) as tx:
        leaves = tx.query(Leaf).all()
        kinds = {leaf.kind for leaf in leaves}
        assert {"subject.registered", "subject.changed", "subject.suspended"} <= kinds
        assert "canary" not in repr([(leaf.kind, leaf.actor, leaf.data) for leaf in leaves])
    sequence(container)
    assert verify(container) == len(leaves)
