"""The log: what was decided stays as it was decided, and in its order."""

import uuid

import pytest
from sqlalchemy import text

from crypto.errors import ChainBroken
from service.audit.store import Leaf, Link

REMOVE_LEAF = "DELETE FROM audit_leaf WHERE position = :at"
REMOVE_LINK = "DELETE FROM audit_link WHERE position = :at"
MOVE_LINK = "UPDATE audit_link SET position = :to WHERE position = :at"


def append(house, count=1, **data):
    """Leave leaves, each at a time of its own."""
    with house.store.transaction() as tx:
        for number in range(count):
            house.audit.append(tx, "test.done", actor="tester", number=number, **data)
            house.clock.advance(seconds=1)


def sequence(house, *limit):
    """Give waiting leaves their place."""
    with house.store.transaction() as tx:
        return house.audit.sequence(tx, *limit)


def verify(house):
    """Return the length of the chain."""
    with house.store.transaction(read=True) as tx:
        return house.audit.verify(tx)


def broken_at(house):
    """Return the position at which the chain is found broken."""
    with pytest.raises(ChainBroken) as found:
        verify(house)
    return found.value.position


def tampered(house, *statements):
    """Return where the chain breaks after statements, which are then rolled back."""
    with pytest.raises(ChainBroken) as found, house.store.transaction() as tx:
        for statement, values in statements:
            assert tx.execute(text(statement), values).rowcount == 1
        house.audit.verify(tx)
    return found.value.position


@pytest.fixture
def chained(house):
    """A house whose log has five leaves in the chain."""
    append(house, 5)
    assert sequence(house) == 5
    return house


def test_leaves_wait_and_get_their_place_in_order(house):
    """Sequencing numbers leaves by their time, as many at once as it is told, each once."""
    assert (sequence(house), verify(house)) == (0, 0)
    append(house, 5)
    assert verify(house) == 0
    assert [sequence(house, 2) for _ in range(4)] == [2, 2, 1, 0]
    assert verify(house) == 5
    append(house, 2)
    assert (sequence(house), verify(house)) == (2, 7)
    with house.store.transaction(read=True) as tx:
        leaves = tx.query(Leaf).order_by(Leaf.position).all()
        assert [leaf.data["number"] for leaf in leaves] == [0, 1, 2, 3, 4, 0, 1]
        assert [leaf.position for leaf in leaves] == list(range(1, 8))


def test_a_leaf_commits_or_rolls_back_with_its_decision(house):
    """What did not happen is not in the log."""
    with pytest.raises(ZeroDivisionError), house.store.transaction() as tx:
        house.audit.append(tx, "test.done")
        _ = 1 / 0
    assert sequence(house) == 0


def test_a_sequencing_that_is_rolled_back_leaves_the_leaves_waiting(house):
    """The chain and the places of its leaves are written together."""
    append(house, 3)
    with pytest.raises(ZeroDivisionError), house.store.transaction() as tx:
        house.audit.sequence(tx)
        _ = 1 / 0
    assert verify(house) == 0
    assert sequence(house) == 3
    assert verify(house) == 3


def test_data_of_every_json_kind_verifies(house):
    """Nested members, numbers and text of any script come back the same from both databases."""
    data = {
        "list": [1, 2.5, None, True],
        "map": {"z": 1, "a": {"b": "x"}},
        "text": "\u00e9\U0001f600\u2028",
    }
    append(house, 1, **data)
    sequence(house)
    assert verify(house) == 1


def test_a_chain_longer_than_a_page_verifies(house):
    """Chains are read page by page, and a hole at the seam is found like any other."""
    append(house, 502)
    assert [sequence(house), sequence(house)] == [500, 2]
    assert verify(house) == 502
    with house.store.transaction() as tx:
        tx.delete(tx.query(Leaf).filter_by(position=501).one())
    assert broken_at(house) == 501


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


def test_what_features_log_holds_no_personal_data(house):
    """A registration, its refusal and a change leave neither names nor addresses in the log."""
    account = house.register(username="canary", email="canary@example.com")
    with house.store.transaction() as tx:
        house.accounts.update(tx, house.caller, account.id, identifiers={"username": "canary2"})
        house.accounts.suspend(tx, account.id, "login", "fraud", "operator")
    with house.store.transaction(read=True) as tx:
        leaves = tx.query(Leaf).all()
        kinds = {leaf.kind for leaf in leaves}
        assert {"subject.registered", "subject.changed", "subject.suspended"} <= kinds
        assert "canary" not in repr([(leaf.kind, leaf.actor, leaf.data) for leaf in leaves])
    sequence(house)
    assert verify(house) == len(leaves)
